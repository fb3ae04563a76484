"""Write files whole or not at all, by one run at a time, and under names that stay inside their folder."""

from __future__ import annotations

import os
from pathlib import Path

from rbox_formats.errors import DatasetError, RboxError
from rbox_formats.files._locks import locked
from rbox_formats.files._paths import as_path, encoded, reaching, safe_name, safe_path
from rbox_formats.files._temporaries import replacing, temporary_folder

__all__ = [
    "as_path",
    "locked",
    "not_an_input",
    "reaching",
    "replacing",
    "require_writable",
    "require_writable_file",
    "safe_name",
    "safe_path",
    "temporary_folder",
    "visible",
    "write_text",
]


def write_text(path: str | Path, text: str) -> None:
    r"""Write a whole text file (UTF-8, line ends as given) or none.

    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import files
    >>> with TemporaryDirectory() as folder:
    ...     files.write_text(Path(folder) / "classes.txt", "plane\nship\n")
    ...     print((Path(folder) / "classes.txt").read_text().split())
    ['plane', 'ship']

    Raises:
        DatasetError: If the text has half surrogate pairs, which UTF-8 cannot hold, or the path cannot be written to.
    """
    content = encoded(text)
    if content is None:
        raise DatasetError("expected text that UTF-8 can hold, got half of a surrogate pair", path=path)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def not_an_input(path: str | Path, *inputs: Path | None) -> Path:
    """Check and return the path of a file to write, which must not replace a file that is read.

    >>> from rbox_formats import files
    >>> files.not_an_input("runs/merged.jsonl", Path("runs/a.jsonl"), Path("runs/b.jsonl")).name
    'merged.jsonl'

    Raises:
        DatasetError: If the path is one of the inputs.
    """
    path = as_path(path)
    if any(source is not None and Path(path).resolve() == source.resolve() for source in inputs):
        raise DatasetError(
            "expected another file to write to: this one is read", path=path, remedy="Choose another --out."
        )
    return Path(path)


def require_writable(folder: str | Path) -> None:
    """Check, before any long work, that a folder exists and can be written to, or that it can be made.

    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import files
    >>> with TemporaryDirectory() as folder:
    ...     files.require_writable(Path(folder) / "runs" / "dota")

    Raises:
        RboxError: If the folder can be neither written to nor made.
    """
    folder = as_path(folder)
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        remedy = "Choose another place to write to (--out)."
        raise RboxError("expected a folder that can be written to", path=there, remedy=remedy)


def require_writable_file(path: str | Path) -> None:
    """Check, before any long work, that a file can be written, as `require_writable` does for a folder.

    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import files
    >>> with TemporaryDirectory() as folder:
    ...     files.require_writable_file(Path(folder) / "val.jsonl")

    Raises:
        RboxError: If the file cannot be written, or the path is a folder.
    """
    path = as_path(path)
    require_writable(path.parent)
    if path.is_dir():
        raise RboxError("expected a file to write, got a folder", path=path)


def visible(folder: Path) -> list[Path]:
    """Return the content of a folder, in order of the names; empty where there is no folder.

    Names that begin with a dot are skipped: they may be half-written files of a killed process.

    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import files
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("b.png", "a.png", ".cache"):
    ...         (Path(folder) / name).touch()
    ...     print([path.name for path in files.visible(Path(folder))])
    ['a.png', 'b.png']
    """
    return sorted(path for path in folder.glob("*") if not path.name.startswith("."))
