"""Dataset formats: `read` and `write`, and a module for each format."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets import dota
from rbox_formats.errors import DatasetError

__all__ = ["FORMATS", "read", "write"]

FORMATS: dict[str, ModuleType] = {
    "dota": dota,
}


def _format(name: str) -> ModuleType:
    if name not in FORMATS:
        raise DatasetError(f"expected a dataset format among {', '.join(FORMATS)}, got {name!r}")
    return FORMATS[name]


def read(format: str, root: str | Path, split: str | None = None, class_names: Iterable[str] | None = None) -> Dataset:
    """Opens a dataset; its files are read one image at a time, when asked for.

    Args:
        format: A name in `FORMATS`.
        root: The dataset's folder.
        split: A part of it, such as "train"; what that means on disk is the format's. None: `root` has no parts.
        class_names: The classes, in the order of their labels. None: the format's own list.

    Raises:
        DatasetError: If the format is unknown, the folder missing or empty; while iterating, if an annotation is not
            as the format says (with file and line).
    """
    module = _format(format)
    return module.read(Path(root), split, module.CLASS_NAMES if class_names is None else ClassNames(class_names))


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
