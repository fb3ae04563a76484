"""The results of shards: a file for each, written whole, and one predictions file of them all at the end."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeAlias

from rbox_formats import files
from rbox_formats._records import ImageRecord
from rbox_formats.detection import Scene, Steps
from rbox_formats.errors import ImageError, PredictionsError
from rbox_formats.files._temporaries import sweep
from rbox_formats.predictions import Header, Writer
from rbox_formats.predictions._header import first_line
from rbox_formats.predictions._reading import content_of
from rbox_formats.predictions._schema import decode_line, to_line, to_record
from rbox_formats.progress import progress_bar
from rbox_formats.sharding._running import Found, detect_shards
from rbox_formats.sharding._shards import Piece, Shard, shared
from rbox_formats.tiling import Window

_logger = logging.getLogger("rbox_formats")

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


def share_of_environment() -> tuple[int, int] | None:
    """Return which of the processes that torchrun started this is, as a share; None where it started none.

    >>> share_of_environment()
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    return (int(os.environ["RANK"]), count) if count > 1 else None


class Outcome(NamedTuple):
    """What came of some shards.

    >>> Outcome.total([Outcome(Counter(boxes=2), {}), Outcome(Counter(boxes=1, empty=1), {})]).statuses["boxes"]
    3

    Attributes:
        statuses: How many images have each status; those that are divided among shards count with each part.
        broken: What is wrong with the images that are broken, by their ids.
    """

    statuses: Counter[str]
    broken: dict[str, str]

    @classmethod
    def total(cls, outcomes: Iterable[Outcome]) -> Outcome:
        """Return what came of them together.

        Args:
            outcomes: Of some shards each.
        """
        statuses: Counter[str] = Counter()
        broken: dict[str, str] = {}
        for outcome in outcomes:
            statuses += outcome.statuses
            broken |= outcome.broken
        return cls(statuses, broken)


def detect_parts(steps: Steps, plan: Sequence[Shard], parts: Parts, *, skip_broken: bool = False) -> Outcome:
    """Detect the objects of shards, and write the part of each.

    >>> detect_parts(detector.steps(), parts.left(plan), parts)  # doctest: +SKIP

    Args:
        steps: How the detector detects.
        plan: The shards.
        parts: Where the parts go.
        skip_broken: Leaves out images whose files turn out to be broken.

    Returns:
        What came of them.

    Raises:
        ImageError: If a file is broken, unless those are left out.
    """
    outcome = Outcome(Counter(), {})

    def on_broken(scene: Scene, error: ImageError) -> None:
        outcome.broken[scene.image_id] = str(error).splitlines()[0]

    with progress_bar("predicting", sum(shard.windows for shard in plan)) as advance:
        for shard, found in detect_shards(steps, plan, on_broken if skip_broken else None):
            parts.write(shard, records_of(steps, found, outcome.statuses, advance))
    return outcome


def complete(
    parts: Parts,
    plan: Sequence[Shard],
    run: Callable[[list[Shard]], Outcome],
    merge: Merge,
    *,
    share: tuple[int, int] | None = None,
    skip_broken: bool = False,
) -> tuple[Outcome, bool]:
    """Have the shards done that are left, and join all parts; of several processes that share them, the last one joins.

    >>> complete(parts, plan, lambda shards: detect_parts(steps, shards, parts), merge)  # doctest: +SKIP

    Args:
        parts: The parts.
        plan: All shards of the run.
        run: Does some of them.
        merge: As in `Parts.join`.
        share: As in `Parts.mine`.
        skip_broken: As in `Parts.left`.

    Returns:
        What came of the shards that this call has done, and whether all are joined: not where other shares are still to
        be done. The call that joins names all broken images.

    Raises:
        PredictionsError: As in `Parts.join`.
    """
    mine = parts.mine(plan, share, skip_broken=skip_broken)
    windows = sum(shard.windows for shard in mine)
    if share is None and len(mine) < len(plan):
        done = sum(shard.windows for shard in plan) - windows
        _logger.info("%s: %d of %d windows are done already", parts.out, done, done + windows)
    begin = time.monotonic()
    outcome = run(mine)
    seconds = time.monotonic() - begin
    if mine:
        _logger.info("%d windows took %.1f s: %.1f in a second", windows, seconds, windows / max(seconds, 1e-9))
    with files.locked(parts.folder, wait=True):
        parts.look()
        if left := parts.left(plan, skip_broken=skip_broken):
            _logger.info("Parts are in %s; %d of %d shards are left to others", parts.folder, len(left), len(plan))
            return outcome, False
        missing = parts.join(plan, merge, skip_broken=skip_broken)
    earlier = {name: f"{name}: broken, as an earlier run found" for name in missing}
    return outcome._replace(broken=earlier | outcome.broken), True


def records_of(
    steps: Steps, found: Iterable[Found], statuses: Counter[str], advance: Callable[[int], None] = lambda count: None
) -> Iterator[ImageRecord]:
    """Yield the records of a part file.

    >>> list(records_of(steps, detect_shard(steps, shard, windows), Counter()))  # doctest: +SKIP

    Args:
        steps: How the detector detects.
        found: What was detected in each piece of a shard.
        statuses: Counts the statuses.
        advance: Called with how many windows are done.
    """
    for piece, results in found:
        if piece.is_whole:
            records: list[ImageRecord] = [steps.join(piece.scene, results)]
        else:
            numbered = zip(piece.numbers, results, strict=True)
            records = [
                replace(steps.record(piece.scene, number, result), image_id=piece.scene.window_name(number))
                for number, result in numbered
            ]
        for record in records:
            statuses[str(record.metadata.get("status", "boxes"))] += 1
            yield record
        advance(len(piece.numbers))


def _window_names(scene: Scene) -> list[str]:
    return [scene.window_name(number) for number in range(len(scene.windows))]
