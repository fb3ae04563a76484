"""Where the commands write datasets and reports: folders that can be written to, and hold nothing that is read."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
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
    nothing, and what a killed process leaves is in a folder that no format reads. Errors name `out`.

    Raises:
        DatasetError: If there is a file at `out`, or nothing can be written there.
    """
    temporary = _new_folder(out)
    path = temporary / (out.name if out.name not in {"", ".."} else "out")
    try:
        yield path
    except RboxError as error:
        if str(path) not in str(error):
            raise
        raise type(error)(str(error).replace(str(path), str(out))) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
    _new_folder(out).rmdir()


def _new_folder(out: Path) -> Path:
    """A new hidden folder in `out`, or in the nearest folder above it that is there."""
    if out.exists() and not out.is_dir():
        raise DatasetError("expected a folder to write to, got a file", path=out, remedy=ANOTHER)
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    try:
        return Path(tempfile.mkdtemp(dir=there, prefix=f".{out.name}."))
    except OSError as error:
        raise DatasetError(
            f"expected a folder that can be written to, got: {error.strerror}", path=out, remedy=ANOTHER
        ) from error


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
