"""Where the commands write datasets and reports: folders that can be written to, and hold nothing that is read."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rbox_formats.errors import DatasetError, RboxError

if TYPE_CHECKING:
    from rbox_formats import Dataset

ANOTHER = "Choose another --out."


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Yields the path to write a dataset to in place of `out`: in a hidden folder beside it, or in it where it exists.

    What was written there is removed at the end of the block: `move` takes it to its place before. So a failure leaves
    nothing, and what a killed process leaves is in a folder that no format reads, and that the next one removes. Errors
    name `out`.

    Raises:
        DatasetError: If there is a file at `out`, or nothing can be written there.
    """
    with _new_folder(out) as temporary:
        path = temporary / (out.name if out.name not in {"", ".."} else "out")
        try:
            yield path
        except RboxError as error:
            if str(path) not in str(error):
                raise
            raise type(error)(str(error).replace(str(path), str(out))) from error


def move(source: Path, target: Path) -> None:
    """Moves a file or a folder; a folder that is there already keeps what it has and gets the other's files as well."""
    if source.is_dir() and target.is_dir():
        for path in sorted(source.iterdir()):
            move(path, target / path.name)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)


def require_writable(out: Path) -> None:
    """Makes sure that a folder can be written to, or made, before any work is done for it; nothing is left there.

    Raises:
        DatasetError: If not.
    """
    with _new_folder(out):
        pass


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Yields a new hidden folder in `out`, or in the nearest folder above it that is there."""
    from rbox_formats import files

    if out.exists() and not out.is_dir():
        raise DatasetError("expected a folder to write to, got a file", path=out, remedy=ANOTHER)
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(files.temporary_folder(there))
        except OSError as error:
            raise DatasetError(
                f"expected a folder that can be written to, got: {error.strerror}", path=out, remedy=ANOTHER
            ) from error
        yield folder


class Placed:
    """A note, beside what is written, of what is being put there: it shows what a killed run has put there.

    A dataset that came whole is refused where another is to be written; half of one, or one that is not yet
    compared with its source, must not be.

    Args:
        out: The dataset that is written.
        part: The split of it.
    """

    def __init__(self, out: Path, part: str | None) -> None:
        self._base = out.absolute().parent
        if out.is_dir() and not os.access(self._base, os.W_OK):
            self._base = out.absolute()
        digits = hashlib.sha256(f"{out.absolute().name}/{part or ''}".encode(errors="surrogateescape")).hexdigest()[:8]
        self._path = self._base / f".rbox-convert-{digits}.json"

    def remove_stopped(self) -> int:
        """Remove what a stopped run has put there, except what was changed since, and return how many files."""
        try:
            noted = json.loads(self._path.read_text(encoding="utf-8"))
            files = [(self._base / name, mark) for name, mark in noted.items()]
        except FileNotFoundError:
            return 0
        except (ValueError, AttributeError, TypeError) as error:
            raise DatasetError(
                f"expected a note of what a stopped run has put beside it, got {error}", path=self._path, remedy=ANOTHER
            ) from error
        base, removed = self._base.resolve(), 0
        for path, mark in files:
            folder = path.parent.resolve()
            if base in (folder, *folder.parents) and mark is not None and _mark(path) == mark:
                path.unlink()
                removed += 1
        self._path.unlink()
        return removed

    def begin(self, *moves: tuple[Path, Path]) -> None:
        """Notes the files that are about to be moved; one that takes the place of another is not noted.

        Args:
            moves: Files and folders with their targets.
        """
        from rbox_formats import files

        new: dict[str, list[int] | None] = {}
        for source, target in moves:
            below = source.rglob("*") if source.is_dir() else [source]
            for path in sorted(path for path in below if path.is_symlink() or path.is_file()):
                final = target / path.relative_to(source) if path != source else target
                if not os.path.lexists(final):
                    new.setdefault(os.path.relpath(final, self._base), _mark(path))
        files.write_text(self._path, json.dumps(new) + "\n")

    def end(self) -> None:
        """Notes that all is there."""
        self._path.unlink()


def _mark(path: Path) -> list[int] | None:
    """What a file keeps when it is moved, and loses when it is changed; None if there is none, or a folder."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return None if stat.S_ISDIR(found.st_mode) else [found.st_size, found.st_mtime_ns]


def refuse_inputs(out: Path, data: Path, split: str | None, dataset: Dataset) -> None:
    """Makes sure that the folder to write to neither holds what is read nor lies among it.

    Raises:
        DatasetError: If it does.
    """
    from rbox_formats import inspection

    folder = out.resolve()
    sources = (inspection.file_of(source) for source in dataset.sources)
    for path in (data, *sorted({source.parent for source in sources if source is not None})):
        if folder in (path.resolve(), *path.resolve().parents):
            raise DatasetError(
                f"expected a folder for the new dataset that holds nothing of the old one, which is in {path}",
                path=out,
                remedy=ANOTHER,
            )
    base = data / split if split and (data / split).is_dir() else data
    if base.is_dir() and base.resolve() in folder.parents:
        raise DatasetError(
            f"expected a folder for the new dataset outside of the old one, which is in {base}",
            path=out,
            remedy=ANOTHER,
        )
