"""Dataset formats: `read` and `write`, and a module for each format."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets import dota
from rbox_formats.datasets._format import Format
from rbox_formats.errors import DatasetError

__all__ = ["FORMATS", "Format", "read", "write"]

FORMATS: dict[str, Format] = {
    "dota": Format(dota.read, dota.write, dota.V1_0),
    "dota-v1.5": Format(dota.read, dota.write, dota.V1_5),
    "dota-v2.0": Format(dota.read, dota.write, dota.V2_0),
}


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise DatasetError(f"expected a dataset format among {', '.join(FORMATS)}, got {name!r}")
    return FORMATS[name]


def read(format: str, root: str | Path, split: str | None = None, class_names: Iterable[str] | None = None) -> Dataset:
    """Opens a dataset; its files are read one image at a time, when asked for.

    Args:
        format: A name in `FORMATS`.
        root: The dataset's folder.
        split: A part of it, such as "train"; what that means on disk is the format's. None: `root` has no parts.
        class_names: The classes, in the order of their labels. None: the format's own list, and where it has none,
            the names that the files themselves use.

    Raises:
        DatasetError: If the format is unknown or only written, the folder missing or empty; while iterating, if an
            annotation is not as the format says (with file and line).
    """
    chosen = _format(format)
    if chosen.read is None:
        readable = ", ".join(name for name, entry in FORMATS.items() if entry.read)
        raise DatasetError(f"expected a format that can be read, among {readable}, got {format!r}")
    return chosen.read(Path(root), split, chosen.class_names if class_names is None else ClassNames(class_names))


def write(
    format: str, records: Iterable[ImageRecord], root: str | Path, split: str | None, class_names: ClassNames
) -> Path:
    """Writes records' annotations in a format; images are the caller's.

    Args:
        format: A name in `FORMATS`.
        records: Annotated quads are written as they are, boxes of records without them as their corners.
        root: The dataset's folder, made where it is missing.
        split: As in `read`.
        class_names: What the records' labels index.

    Returns:
        The folder that the annotations are in.
    """
    return _format(format).write(records, Path(root), split, class_names)
