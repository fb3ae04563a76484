"""SRSDD-v1.0: ships of six kinds in radar (SAR) images, as DOTA's text with other classes and folders.

    imagesource:...
    gsd:...
    x1 y1 x2 y2 x3 y3 x4 y4 class difficult

Two header lines, the corners in pixels, and `difficult` 0 or 1 (described in `rbox_formats.datasets.dota`). Quads and
headers are written back unchanged.

On disk: `<root>/<split>/labels/<image_id>.txt` and `<root>/<split>/images/<image_id>.png`, with the splits train and
test. Also read: `labelTxt` and `annfiles` in place of `labels`.

Source: Lei et al., SRSDD-v1.0, Remote Sensing 13 (2021) 5104, for the classes; for the folders and the header lines, a
converter in a public repository and MMRotate-based configurations: no file of the makers' was at hand, so that what the
header lines say is not verified. The classes are in alphabetical order, as LMMRotate has them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets import dota

__all__ = ["CLASS_NAMES", "read", "write"]

CLASS_NAMES = ClassNames(["Cell-Container", "Container", "Dredger", "Fishing", "LawEnforce", "ore-oil"])

_LABEL_FOLDERS = ("labels", *dota.LABEL_FOLDERS)


def read(
    root: Path,
    split: str | None,
    class_names: ClassNames | None,
    *,
    label_folders: tuple[str, ...] = _LABEL_FOLDERS,
) -> Dataset:
    """Open a dataset in SRSDD's layout; see `rbox_formats.datasets.read`."""
    names = CLASS_NAMES if class_names is None else class_names
    return dota.open_folders(root, split, names, label_folders, dota.parse)


def write(records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames) -> Path:
    """Write a label file per record; see `rbox_formats.datasets.write`."""
    return dota.write_folder(records, root, split, class_names, _LABEL_FOLDERS[0])
