"""Files that are whole or not there, that one run at a time writes, and whose names stay inside their folder."""

from __future__ import annotations

import os
from pathlib import Path, PureWindowsPath

from rbox_formats.errors import DatasetError, RboxError
from rbox_formats.files._locks import locked
from rbox_formats.files._temporaries import replacing, temporary_folder

__all__ = [
    "locked",
    "not_an_input",
    "replacing",
    "require_writable",
    "safe_name",
    "temporary_folder",
    "visible",
    "write_text",
]


def write_text(path: str | Path, text: str) -> None:
    """Writes a whole text file (UTF-8, line ends as given) or none.

    Raises:
        DatasetError: If it has half surrogate pairs, which UTF-8 cannot hold.
    """
    content = _encoded(text)
    if content is None:
        raise DatasetError("expected text that UTF-8 can hold, got half of a surrogate pair", path=path)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


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


def require_writable(folder: str | Path) -> None:
    """Makes sure, before any long work, that a folder is there and can be written to, or that it can be made.

    Raises:
        RboxError: If not.
    """
    folder = Path(folder)
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        remedy = "Choose another place to write to (--out)."
        raise RboxError("expected a folder that can be written to", path=there, remedy=remedy)


def visible(folder: Path) -> list[Path]:
    """What is in a folder, in order of the names; none where there is no folder.

    Names that begin with a dot are left out: among them are files that a killed process left half written.
    """
    return sorted(path for path in folder.glob("*") if not path.name.startswith("."))


def safe_name(name: str, folder: Path) -> str:
    """A file name from outside, once it is sure that it names something directly inside the folder.

    Raises:
        DatasetError: If it has a separator or a Windows drive, is a dot name, is empty, or is no text that UTF-8 can
            hold (Python reads file names in another encoding so, with half surrogate pairs for their bytes).
    """
    apart = any(character in name for character in "/\\\0") or bool(PureWindowsPath(name).drive)
    if not name or name in {".", ".."} or apart:
        raise DatasetError(f"expected a plain file name inside {folder}, got {name!r}")
    if _encoded(name) is None:
        raise DatasetError(f"expected a file name in UTF-8 inside {folder}, got {name!r}", remedy="Rename the file.")
    return name


def _encoded(text: str) -> bytes | None:
    """A text in UTF-8; None for one with half surrogate pairs."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return None
