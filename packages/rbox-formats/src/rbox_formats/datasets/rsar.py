"""RSAR: rotated boxes in radar (SAR) images, as DOTA's text with other classes and folders.

    x1 y1 x2 y2 x3 y3 x4 y4 class difficult

The corners are in pixels; there are no header lines. `difficult` is a whole number, 0 for an object that is not
difficult. The makers' reader compares it with a threshold (100, so that nothing is left out); here any other number is
read as difficult. It may be missing; it is written as 0 or 1.

On disk: `<root>/<split>/annfiles/<image_id>.txt` and `<root>/<split>/images/<image_id>.png` (or .jpg, as it comes),
with the splits train, val and test.

Source of the layout and of the six classes, in their order: zhasion/RSAR, `mmrotate/datasets/rsar.py` and
`configs/_base_/datasets/rsar.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets import dota

__all__ = ["CLASS_NAMES", "read", "write"]

CLASS_NAMES = ClassNames(["ship", "aircraft", "car", "tank", "bridge", "harbor"])

_LABEL_FOLDERS = ("annfiles",)
_DIFFICULT = {str(level): level > 0 for level in range(101)}  # up to the makers' threshold


def read(
    root: Path,
    split: str | None,
    class_names: ClassNames | None,
    *,
    label_folders: tuple[str, ...] = _LABEL_FOLDERS,
) -> Dataset:
    """Open a dataset in RSAR's layout; see `rbox_formats.datasets.read`."""
    names = CLASS_NAMES if class_names is None else class_names
    return dota.open_folders(root, split, names, label_folders, partial(dota.parse, difficult=_DIFFICULT))


def write(records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames) -> Path:
    """Write a label file per record; see `rbox_formats.datasets.write`."""
    return dota.write_folder(_without_headers(records), root, split, class_names, _LABEL_FOLDERS[0])


def _without_headers(records: Iterable[ImageRecord]) -> Iterable[ImageRecord]:
    from dataclasses import replace

    return (replace(record, metadata={}) for record in records)
