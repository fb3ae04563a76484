"""The results of shards: a file for each, written whole, and one predictions file of them all at the end."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, TypeAlias

from rbox_formats import files
from rbox_formats._records import ImageRecord
from rbox_formats.detection import Scene
from rbox_formats.errors import PredictionsError
from rbox_formats.files._temporaries import sweep
from rbox_formats.predictions import Header, Writer
from rbox_formats.predictions._header import first_line
from rbox_formats.predictions._reading import content_of
from rbox_formats.predictions._schema import decode_line, to_line, to_record
from rbox_formats.sharding._shards import Piece, Shard, shared
from rbox_formats.tiling import Window

SUFFIX = ".parts"
"""What the name of a run's folder of part files adds to that of its predictions file."""

_TRIES = ".tries"

#: Makes the record of an image out of those of its windows, which are in pixels of the window.
Merge: TypeAlias = Callable[[Scene, Sequence[tuple[Window, ImageRecord]]], ImageRecord]

_Place: TypeAlias = tuple[Path, int, int]


class Parts:
    """What a run has found so far: its predictions file, and beside it a part file for each shard that is done.

    A part is an ordinary predictions file with the header of the run. It has a line for each image of its shard; of an
    image that is divided among shards it has a line for each window, in pixels of the window, under the window's name
    (`rbox_formats.tiling.window_name`). It is written whole or not at all and named by its shard's fingerprint, so that
    a shard may be computed twice, by any process, in any order.

    >>> parts = Parts("found.jsonl", header)  # doctest: +SKIP
    >>> for shard in parts.left(plan):  # doctest: +SKIP
    ...     parts.write(shard, compute(shard))
    >>> parts.join(plan, merge)  # doctest: +SKIP

    Attributes:
        out: The predictions file.
        folder: The folder of the part files, `<out>.parts`.
        header: The header of the run.

    Args:
        out: The predictions file.
        header: The header of the run.

    Raises:
        PredictionsError: If a file is of another run (the message names what differs), or breaks the schema.
    """

    def __init__(self, out: str | Path, header: Header) -> None:
        self.out = files.as_path(out, PredictionsError)
        self.folder = self.out.with_name(self.out.name + SUFFIX)
        self.header = header
        self._places: dict[str, _Place] = {}
        self._done: set[str] = set()
        self._is_whole = False
        self.look()

    def look(self) -> None:
        """Look at what is there now: other processes write parts too.

        Raises:
            PredictionsError: As the class says.
        """
        self._places, self._done = {}, set()
        for path in (self.out, *self._files()):
            content = content_of(path, self.header)
            for name, span in ({} if content is None else content.spans).items():
                self._places.setdefault(name, (path, *span))
            if path != self.out:
                self._done.add(path.stem)
            else:
                self._is_whole = content is not None and content.torn == 0

    @property
    def names(self) -> Collection[str]:
        """The ids of the images that are held, and the names of windows."""
        return self._places.keys()

    def left(self, plan: Sequence[Shard], *, skip_broken: bool = False) -> list[Shard]:
        """Return the shards that are still to be done: those with a piece that is not held.

        Args:
            plan: All shards of the run.
            skip_broken: What a part lacks counts as done: its images are broken.
        """
        return [
            shard
            for shard in plan
            if not (skip_broken and shard.fingerprint in self._done)
            and not all(self._holds(piece) for piece in shard.pieces)
        ]

    def _holds(self, piece: Piece) -> bool:
        return piece.scene.image_id in self._places or all(name in self._places for name in piece.names)

    def mine(self, plan: Sequence[Shard], share: tuple[int, int] | None, *, skip_broken: bool = False) -> list[Shard]:
        """Return the shards of a share that are still to be done; shares are the same whatever was done before.

        Args:
            plan: All shards of the run.
            share: The number of the share, from 0, and how many there are. None: all is one share.
            skip_broken: As in `left`.
        """
        left = self.left(plan, skip_broken=skip_broken)
        if share is None:
            return left
        owners = shared([shard.windows for shard in plan], share[1])
        own = {shard for shard, owner in zip(plan, owners, strict=True) if owner == share[0]}
        return [shard for shard in left if shard in own]

    def begin(self, shard: Shard) -> int:
        """Note that a shard is begun, where its process may die of it, and return how often it was begun before.

        Args:
            shard: The shard.
        """
        with self._tries(shard).open("ab") as file:
            file.write(b".")
            return file.tell() - 1

    def give_up(self, shard: Shard) -> None:
        """Forget how often a shard was begun.

        Args:
            shard: The shard.
        """
        self._tries(shard).unlink(missing_ok=True)

    def _tries(self, shard: Shard) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{shard.fingerprint}{_TRIES}"

    def write(self, shard: Shard, records: Iterable[ImageRecord]) -> Path:
        """Write the part of a shard.

        Args:
            shard: The shard.
            records: What was found, by the names of its pieces; images that are broken are missing.

        Returns:
            The file.

        Raises:
            PredictionsError: If a record could not be read back.
        """
        path = self.folder / f"{shard.fingerprint}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as temporary, Writer(temporary, self.header) as writer:
            for record in records:
                writer.write(record)
        self.give_up(shard)
        return path

    def join(self, plan: Sequence[Shard], merge: Merge, *, skip_broken: bool = False) -> list[str]:
        """Join all parts into the predictions file, and remove them.

        The file is replaced as a whole before the parts are removed, so that a stopped call can be repeated. Images are
        in the order of the plan; others that the file held already come last.

        Args:
            plan: All shards of the run.
            merge: Makes the record of an image that was divided among shards.
            skip_broken: As in `left`.

        Returns:
            The ids of the images of the plan that are missing in the file.

        Raises:
            PredictionsError: If shards are still to be done, a part is of another run, or breaks the schema. All files
                are then unchanged.
        """
        self.look()
        if left := self.left(plan, skip_broken=skip_broken):
            raise PredictionsError(
                f"expected the parts of {len(plan)} shards, {len(left)} of them are missing",
                path=self.folder,
                remedy="Give the command again that computes them.",
            )
        scenes = {piece.scene.image_id: piece.scene for shard in plan for piece in shard.pieces}
        if self._is_whole and not self._files():  # nothing is new: the file keeps its time
            return [image_id for image_id in scenes if image_id not in self._places]
        missing: list[str] = []
        windows = {name for scene in scenes.values() for name in _window_names(scene)} - scenes.keys()
        with files.replacing(self.out) as temporary, temporary.open("wb") as whole, _Lines(self._places) as lines:
            whole.write(first_line(self.header, self.out))
            for image_id, scene in scenes.items():
                if image_id in self._places:
                    whole.write(lines[image_id])
                elif (parts := _window_names(scene)) and all(name in self._places for name in parts):
                    whole.write(to_line(self._merged(scene, [lines[name] for name in parts], merge)))
                else:
                    missing.append(image_id)
            for name in self._places:
                if name not in scenes and name not in windows:
                    whole.write(lines[name])
        self.remove()
        return missing

    def remove(self) -> None:
        """Remove the part files, and those that killed processes have left among them."""
        for path in (*self._files(), *self.folder.glob(f"*{_TRIES}")):
            path.unlink(missing_ok=True)
        sweep(self.folder)
        with suppress(OSError):  # somebody else's files are in it, or it is not there
            self.folder.rmdir()

    def _files(self) -> list[Path]:
        return [path for path in files.visible(self.folder) if path.suffix == ".jsonl"]

    def _merged(self, scene: Scene, lines: Sequence[bytes], merge: Merge) -> ImageRecord:
        records = [
            to_record(decode_line(line), len(self.header.class_names)) for line in lines
        ]  # `look` has checked them
        found = merge(scene, list(zip(scene.windows, records, strict=True)))
        width, height = scene.size
        return replace(found, image_id=scene.image_id, width=width, height=height)


class _Lines:
    """The lines of records, read where they are asked for.

    Args:
        places: The file, the start and the end of each line, by its id.
    """

    def __init__(self, places: dict[str, _Place]) -> None:
        self._places = places
        self._path: Path | None = None
        self._file: BinaryIO | None = None
        self._stack = ExitStack()

    def __getitem__(self, name: str) -> bytes:
        path, begin, end = self._places[name]
        if path != self._path or self._file is None:  # neighbours are in one file, and there may be very many files
            self._stack.close()
            self._path, self._file = path, self._stack.enter_context(path.open("rb"))
        self._file.seek(begin)
        return self._file.read(end - begin)

    def __enter__(self) -> _Lines:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()


def _window_names(scene: Scene) -> list[str]:
    return [scene.window_name(number) for number in range(len(scene.windows))]
