"""Check paths, and turn the file system's errors into those of this package."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import Any

from rbox_formats.errors import DatasetError, RboxError, quoted, said

_LONGEST_NAME, _LONGEST = 255, 4_095  # bytes: of Linux and macOS


def as_path(path: Any, error: type[RboxError] = DatasetError) -> Path:
    """Return a path that a file system can hold, whether or not a file exists there.

    >>> as_path("runs/val.jsonl").name
    'val.jsonl'

    Args:
        path: A text or a path.
        error: The class of the error to raise.

    Raises:
        RboxError: Of the class `error`, if `path` is not a path, has a null character, or is too long, as a whole or in
            one of its names.
    """
    try:
        found = Path(path)
        lengths = [len(os.fsencode(part)) for part in found.parts]
        fits = max(lengths, default=0) <= _LONGEST_NAME and sum(lengths) + len(lengths) <= _LONGEST
        if fits and "\0" not in str(found):
            return found
    except (TypeError, UnicodeEncodeError):
        pass
    raise error(f"expected a path that a file system can hold, got {quoted(str(path))}")


@contextmanager
def reaching(path: Path, expected: str) -> Iterator[None]:
    """Turn what the system says of a path, such as that it may not be read, into an error of ours.

    >>> with reaching(Path("P0001.txt"), "an annotation file"):
    ...     print("read it here")
    read it here

    Args:
        path: The path.
        expected: What is expected there.

    Raises:
        DatasetError: Where the block raises an OSError.
    """
    try:
        yield
    except OSError as error:
        raise DatasetError(f"expected {expected}, got: {error.strerror or said(error)}", path=path) from error


def safe_name(name: str, folder: Path) -> str:
    """Check and return a file name from outside, which must name something directly inside the folder.

    >>> safe_name("P0001.png", Path("images"))
    'P0001.png'

    Raises:
        DatasetError: If the name has a separator or a Windows drive, is a dot name, is empty, or cannot be written in
            UTF-8 (Python reads file names in another encoding with half surrogate pairs for their bytes).
    """
    apart = any(character in name for character in "/\\\0") or bool(PureWindowsPath(name).drive)
    if not name or name in {".", ".."} or apart:
        raise DatasetError(f"expected a plain file name inside {folder}, got {quoted(name)}")
    if encoded(name) is None:
        message = f"expected a file name in UTF-8 inside {folder}, got {quoted(name)}"
        raise DatasetError(message, remedy="Rename the file.")
    return name


def safe_path(name: str, folder: Path) -> str:
    """Check and return a path from outside with '/' between folders, which must stay inside the folder.

    >>> safe_path("harbour/P0001.png", Path("images"))
    'harbour/P0001.png'

    Raises:
        DatasetError: If one of its parts is refused by `safe_name`.
    """
    for part in name.split("/"):
        safe_name(part, folder)
    return name


def encoded(text: str) -> bytes | None:
    """Return a text in UTF-8; None for one with half surrogate pairs."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return None
