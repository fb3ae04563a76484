"""WHU buildings: rasters beside the images that say which pixels are building, whose connected parts are the objects.

A label file is an image of one band, as large as its image: 0 is background, any other value building (in a palette or
in colours: black and any other colour). Each part connected by sides of pixels is an object, as in RSPrompter's
`whu2coco.py`; touching buildings are one. Its mask is what the raster says, its box the minimum-area rectangle of that.
Label files are read some rows at a time, so that only the outlines are held; large ones need rasterio (extra `geo`).

Options (`datasets.read(..., options=)`, `--format-option`): `connectivity`, 4 or 8: 8 joins pixels that meet at a
corner, too; `fill_holes`, true or false: whether what a part encloses belongs to it; `min_area`: parts of fewer pixels
are left out. The defaults, 4, false and 0, are the original's.

On disk: `<root>/<split>/image/<image_id>.tif` and `<root>/<split>/label/<image_id>.tif` with the splits train, val and
test, or both below `imgs/<split>`, as RSPrompter has them; without a split these two folders are in `root`. Images may
have any suffix; `Image`, `images`, `Label` and `labels` are found as well. Any one class can be read and written in
this way; there is no place for scores or for what is difficult. Written are 0 and 255; objects that touch become one.

Source: Ji et al., Fully Convolutional Networks for Multisource Building Extraction, IEEE TGRS 57 (2019) 574;
KyanChen/RSPrompter, tools/rsprompter/whu2coco.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rbox_formats import files
from rbox_formats import images as image_files
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets._folders import annotation_folder, image_index, split_folder, unmatched
from rbox_formats.errors import DatasetError, ImageError, listed, quoted
from rbox_formats.masks import Masks, RunMask, instances

__all__ = ["CLASS_NAMES", "OPTIONS", "images", "read", "write"]

CLASS_NAMES = ClassNames(["building"])
OPTIONS = ("connectivity", "fill_holes", "min_area")

_IMAGES = ("image", "Image", "images")
_LABELS = ("label", "Label", "labels")
_ROWS = 256


def read(
    root: Path,
    split: str | None,
    class_names: ClassNames | None,
    *,
    connectivity: int = 4,
    fill_holes: bool = False,
    min_area: int = 0,
) -> Dataset:
    """Open a dataset in WHU's layout; see `rbox_formats.datasets.read`."""
    if connectivity not in (4, 8):
        raise DatasetError(f"expected a connectivity of 4 or 8, got {quoted(connectivity)}")
    if not isinstance(fill_holes, bool):
        raise DatasetError(f"expected fill_holes as true or false, got {quoted(fill_holes)}")
    if type(min_area) is not int or min_area < 0:
        raise DatasetError(f"expected min_area as a whole number of pixels from 0, got {quoted(min_area)}")
    names = CLASS_NAMES if class_names is None else class_names
    label = _label(names, root)
    nested = root / "imgs" / files.safe_name(split, root) if split else root
    base = nested if split and nested.is_dir() else split_folder(root, split)
    folder = annotation_folder(base, _LABELS)
    labels = image_index([folder])
    if not labels:
        raise DatasetError("expected label images, found none", path=folder, remedy="Each image has one, of its name.")
    pictures = next((found for name in _IMAGES if (found := image_index([base / name]))), {})
    settings = {"connectivity": connectivity, "fill_holes": fill_holes, "min_area": min_area}
    load = partial(_load, pictures=pictures, label=label, settings=settings)
    return Dataset(names, list(labels.values()), load, unmatched(labels.values(), pictures))


def _label(names: ClassNames, root: Path) -> int:
    """Return the label of the only class; of several, that of the name building."""
    label = names.find(CLASS_NAMES[0]) if len(names) > 1 else 0
    if label is None:
        raise DatasetError(
            f"expected one class, or 'building' among them, got {listed(names)}",
            path=root,
            remedy="Name the class whose pixels these are (--class-names).",
        )
    return label


def _load(path: Path, pictures: Mapping[str, Path], label: int, settings: Mapping[str, Any]) -> ImageRecord:
    with image_files.open_nonzero(path) as rows:
        size = rows.width, rows.height
        bands = (rows.read(first, min(first + _ROWS, rows.height)) for first in range(0, rows.height, _ROWS))
        masks = instances(bands, **settings)
    picture = pictures.get(path.stem)
    if picture is not None and (seen := image_files.read_size(picture)) != size:
        raise DatasetError(
            f"expected a label image of {seen[0]}x{seen[1]} px, as its image {picture.name}, got {size[0]}x{size[1]}",
            path=path,
        )
    labels = np.full(len(masks), label, dtype=np.int64)
    return ImageRecord.from_masks(path.stem, masks, labels, path=picture, width=size[0], height=size[1])


def images(root: Path, split: str | None) -> Path:
    """Return where a split's images belong; see `Format.images`."""
    return (root / files.safe_name(split, root) if split else root) / _IMAGES[0]


def write(records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames) -> Path:
    """Write a label image per record; see `rbox_formats.datasets.write`.

    Raises:
        DatasetError: If there are several classes, for which a label image has no place.
        FormatsError: If a record's size is unknown.
        ImageError: If an image is too large to be held.
    """
    from PIL import Image

    if len(class_names) > 1:
        raise DatasetError(
            f"expected one class, got {listed(class_names)}", path=root, remedy="Drop the others (--drop NAME)."
        )
    folder = images(root, split).parent / _LABELS[0]
    folder.mkdir(parents=True, exist_ok=True)
    for record in records:
        width, height = record.size
        path = folder / files.safe_name(f"{record.image_id}.tif", folder)
        if width * height > image_files.largest_whole():
            raise ImageError(
                f"expected at most {image_files.largest_whole()} pixels, got {width}x{height}",
                path=path,
                remedy="Cut the images into windows first (rbox-formats split).",
            )
        whole = RunMask.joined(_masks(record)).to_array(width, height)
        with files.replacing(path) as temporary:
            Image.fromarray(whole.astype(np.uint8) * 255).save(temporary, format="TIFF", compression="tiff_deflate")
    return folder


def _masks(record: ImageRecord) -> Iterator[RunMask]:
    masks = Masks.of_quads(record.corners) if record.masks is None else record.masks
    return (mask.to_runs(*record.size) for mask in masks)
