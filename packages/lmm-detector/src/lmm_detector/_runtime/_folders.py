"""Folders that appear when all of their files are written, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rbox_formats import files

from lmm_detector.errors import ModelError


def check_new(out: Path, source: Path) -> None:
    """Make sure that a folder can be made.

    Args:
        out: The folder; it may exist if it is empty.
        source: The one that is read.

    Raises:
        ModelError: If it has files in it, or is the source.
    """
    if out.resolve() == source.resolve():
        raise ModelError("expected another folder to write to: this one is read", path=out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        found = "one with files in it" if out.is_dir() else "a file"
        raise ModelError(f"expected a new or an empty folder to write to, got {found}", path=out)


@contextmanager
def appearing(out: Path) -> Iterator[Path]:
    """Yield a temporary folder that replaces `out` when the block ends without an error.

    The counterpart for folders of `rbox_formats.files.replacing`: readers see nothing, or all of it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with files.temporary_folder(out.parent) as temporary:
        folder = temporary / "new"
        folder.mkdir()
        yield folder
        if out.is_dir():
            out.rmdir()  # empty, as was made sure before; not if it was filled meanwhile
        folder.rename(out)
