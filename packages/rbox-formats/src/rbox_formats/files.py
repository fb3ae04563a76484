"""Files that are whole or not there, and names that stay inside their folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rbox_formats.errors import DatasetError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yields the path of a temporary file that takes the place of `path` when the block ends without an error.

    Readers see the old file or the new one, never half of it, also when the process is killed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        # mkstemp's files are for their owner alone; what is written here is as readable as any new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes a whole text file (UTF-8, line ends as given) or none."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def not_an_input(path: str | Path, *inputs: Path | None) -> Path:
    """The path of a file to write, once it is sure that it takes the place of none that is read.

    Raises:
        DatasetError: If it is one of the inputs.
    """
    if any(source is not None and Path(path).resolve() == source.resolve() for source in inputs):
        raise DatasetError(
            "expected another file to write to: this one is read", path=path, remedy="Choose another --out."
        )
    return Path(path)


def visible(folder: Path) -> list[Path]:
    """What is in a folder, in order of the names; none where there is no folder.

    Names that begin with a dot are left out: among them are files that a killed process left half written.
    """
    return sorted(path for path in folder.glob("*") if not path.name.startswith("."))


def safe_name(name: str, folder: Path) -> str:
    """A file name from outside, once it is sure that it names something directly inside the folder.

    Raises:
        DatasetError: If it has a separator, is a dot name, or is empty.
    """
    if not name or name in {".", ".."} or any(character in name for character in "/\\\0"):
        raise DatasetError(f"expected a plain file name inside {folder}, got {name!r}")
    return name
