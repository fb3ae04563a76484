"""LabelMe: a JSON file per image, beside it, with the shapes that were drawn.

    {"version": "5.5.0", "flags": {}, "imagePath": "P0001.png", "imageData": null,
     "imageHeight": 768, "imageWidth": 1024,
     "shapes": [{"label": "ship", "points": [[10, 20], [30, 20], [30, 40], [10, 40]], "shape_type": "polygon",
                 "group_id": null, "flags": {}}, ...]}

Points are in pixels. By `shape_type`, an object's quad is

- "polygon" (also the default, in files of old versions): its four points; for any other number of at least three
  points, the corners of the least rectangle around them;
- "rectangle": of two opposite points the upright rectangle between them; of four, as X-AnyLabeling writes it, these;
- "rotation" (X-AnyLabeling) and "oriented_rectangle" (LabelMe 5.6): its four points;
- "circle", the centre and a point on it: the upright square around it;
- "mask", a pixel mask and two opposite points: the upright rectangle between these.

"point", "points", "line" and "linestrip" have no area, and are skipped; `inspect` and `convert` count them. A JSON
file without shapes, such as a list of classes, is not an annotation: it is skipped, and named in the log.

`imagePath` is relative to the JSON file, with '/' or Windows' backslash between folders; it may lead out of the file's
folder, but not out of the dataset's. Where no image is there, the one beside the JSON file with its name is taken, and
without that the annotation stands alone, with the size that it says. The id of an image is the JSON file's path in the
dataset's folder, without suffix.

An object is difficult where its flag `difficult` is set, or X-AnyLabeling's key of that name; it is written as a flag.
`version` and `flags` are the record's metadata and written back, as is what else the file says of the image; what else
is said of a shape (`group_id`, `description`) is not kept, and neither is the image's copy in `imageData`. There is no
place for scores.

On disk: `<root>[/<split>]/<image_id>.json`, images beside; folders within are read if they have images.
Without a list of classes they are the labels in the files, sorted: each file is parsed once more for that when the
dataset is opened.

Source: wkentaro/labelme, labelme/_label_file.py and examples; CVHub520/X-AnyLabeling.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rbox_formats import files
from rbox_formats._geometry import quad_around, upright_quad
from rbox_formats._records import ClassNames, Dataset, ImageRecord, Unmatched
from rbox_formats.datasets import _names
from rbox_formats.datasets._folders import (
    ImageFile,
    files_beside_images,
    id_in,
    image_file,
    images_beside,
    split_folder,
    unmatched,
)
from rbox_formats.datasets._images import find_named, image_name
from rbox_formats.errors import DatasetError, listed
from rbox_formats.images import stem_of
from rbox_formats.parsing import json_values
from rbox_formats.parsing.json_values import Value
from rbox_formats.parsing.lines import CORRECT_OR_NAME

__all__ = ["images", "read", "write"]

_logger = logging.getLogger("rbox_formats")

_VERSION = "5.5.0"

# The numbers of points that each type may have; a polygon has three or more.
_POINTS: dict[str, tuple[int, ...]] = {
    "polygon": (),
    "rectangle": (2, 4),
    "rotation": (4,),
    "oriented_rectangle": (4,),
    "circle": (2,),
    "mask": (2,),
}
_WITHOUT_AREA = ("point", "points", "line", "linestrip")
_KNOWN = ("shapes", "imagePath", "imageData", "imageHeight", "imageWidth")


def read(root: Path, split: str | None, class_names: ClassNames | None) -> Dataset:
    """Open a folder of LabelMe's files; see `rbox_formats.datasets.read`."""
    base = split_folder(root, split)
    found = _annotations(files_beside_images(base, ".json"))
    names = _labels_in(found) if class_names is None else class_names
    beside = images_beside(found, base)
    load = partial(_load, root=root, base=base, beside=beside, class_names=names)
    return Dataset(names, found, load, _unmatched(found, beside, base))


def _unmatched(found: Sequence[Path], beside: dict[str, Path], base: Path) -> Unmatched:
    """Return the images beside the files that no file claims, by its name or by its `imagePath`."""
    apart = unmatched(found, beside, ids={path: id_in(path, base) for path in found})
    if not apart.images:
        return replace(apart, labels=())  # their images may be elsewhere
    claimed = set()
    for path in apart.labels:
        document = json_values.read(path).value
        name = document.get("imagePath") if isinstance(document, dict) else None
        claimed.add(stem_of(name) if isinstance(name, str) else None)
    return replace(apart, images=tuple(path for path in apart.images if path.stem not in claimed), labels=())


def images(root: Path, split: str | None) -> Path:
    """Return where a split's images belong; see `Format.images`."""
    return root / files.safe_name(split, root) if split else root


def _annotations(paths: Sequence[Path]) -> list[Path]:
    """Return the JSON files that are annotations; the others are named in the log.

    Raises:
        DatasetError: If none of them is.
    """
    found: list[Path] = []
    others: list[Path] = []
    for path in paths:
        (found if _may_be_annotation(path) else others).append(path)
    if not found:
        raise json_values.read(others[0]).error(
            "an annotation of LabelMe, an object with a key 'shapes'", "Name another format (--format)."
        )
    if others:
        names = listed(path.name for path in others)
        _logger.warning("%d of %d JSON files are no annotations of LabelMe: %s", len(others), len(paths), names)
    return found


def _may_be_annotation(path: Path) -> bool:
    """Return whether a JSON file is an annotation, or is unreadable, which its reader reports."""
    try:
        document = json_values.read(path).value
    except DatasetError:
        return True
    return isinstance(document, dict) and "shapes" in document


def _labels_in(found: Iterable[Path]) -> ClassNames:
    shapes = (shape for path in found for shape in json_values.read(path)["shapes"].items())
    return _names.used({shape["label"].text() for shape in shapes if _without_area(shape) is None})


def _without_area(shape: Value) -> str | None:
    """Return the type of a shape that has no area; None for others."""
    kind = shape["shape_type"].value if shape.has("shape_type") else None
    return kind if isinstance(kind, str) and kind in _WITHOUT_AREA else None


def _load(path: Path, root: Path, base: Path, beside: dict[str, Path], class_names: ClassNames) -> ImageRecord:
    document = json_values.read(path)
    image_id = id_in(path, base)
    quads, labels, difficult = [], [], []
    passed_over: Counter[str] = Counter()
    for shape in document["shapes"].items():
        if (kind := _without_area(shape)) is not None:
            passed_over[f"shapes without an area, {kind!r}"] += 1
            continue
        label = class_names.find(shape["label"].text())
        if label is None:
            raise shape["label"].error(f"a class among {listed(class_names)}", CORRECT_OR_NAME.replace("line", "label"))
        quads.append(_quad(shape))
        labels.append(label)
        difficult.append(_is_difficult(shape))
    image = _image(document, path, root) or image_file(beside, image_id)
    width, height = (document[key].side() if document.has(key) else None for key in ("imageWidth", "imageHeight"))
    return ImageRecord.from_quads(
        image_id=image_id,
        quads=np.array(quads, dtype=np.float64).reshape(-1, 4, 2),
        labels=np.array(labels, dtype=np.int64),
        difficult=np.array(difficult, dtype=bool),
        path=image.path,
        width=image.width if image.path else width,
        height=image.height if image.path else height,
        metadata={key: value for key, value in document.value.items() if key not in _KNOWN},
        stated_size=None if width is None or height is None else (width, height),
        passed_over=passed_over,
    )


def _image(document: Value, path: Path, root: Path) -> ImageFile | None:
    """Return the image that the file names, if it is there."""
    image = find_named(document["imagePath"], root, [path.parent]) if document.has("imagePath") else ImageFile()
    return None if image.path is None else image


def _is_difficult(shape: Value) -> bool:
    flags = shape["flags"] if shape.has("flags") else None
    return any(place["difficult"].flag() for place in (shape, flags) if place is not None and place.has("difficult"))


def _quad(shape: Value) -> list[float]:
    kind = shape["shape_type"].text() if shape.has("shape_type") else "polygon"
    if kind not in _POINTS:
        remedy = "Remove the shape, or draw it as a polygon."
        raise shape["shape_type"].error(f"a shape with an area, among {', '.join(_POINTS)}", remedy)
    points = []
    for point in shape["points"].items():
        numbers = point.numbers()
        if len(numbers) != 2:
            raise point.error("x and y")
        points.append(numbers)
    json_values.require_few_corners(shape["points"], len(points))
    counts = _POINTS[kind]
    if len(points) not in counts if counts else len(points) < 3:
        wanted = " or ".join(map(str, counts)) or "at least 3"
        raise DatasetError(
            f"{shape.where}.points: expected {wanted} points of a {kind}, got {len(points)}", path=shape.path
        )
    if kind == "circle":
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        return upright_quad(x - radius, y - radius, x + radius, y + radius)
    if len(points) == 2:
        (x0, y0), (x1, y1) = points
        return upright_quad(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    return quad_around([number for point in points for number in point])


def write(records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames) -> Path:
    """Write a file per record, each object as a polygon; see `rbox_formats.datasets.write`."""
    folder = images(root, split)
    folder.mkdir(parents=True, exist_ok=True)
    for record in records:
        name = files.safe_path(f"{record.image_id}.json", folder)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        files.write_text(folder / name, json_values.dump(_document(record, class_names)) + "\n")
    return folder


def _document(record: ImageRecord, class_names: ClassNames) -> dict[str, Any]:
    quads = record.corners
    shapes = [
        {
            "label": class_names[label],
            "points": [json_values.plain(point) for point in quad],
            "group_id": None,
            "shape_type": "polygon",
            "flags": {"difficult": True} if difficult else {},
        }
        for quad, label, difficult in zip(quads.tolist(), record.labels, record.difficult, strict=True)
    ]
    others = {key: value for key, value in json_values.holdable(record.metadata).items() if key not in _KNOWN}
    return {
        "version": _VERSION,
        "flags": {},
        **others,
        "shapes": shapes,
        "imagePath": image_name(record).rpartition("/")[2],
        "imageData": None,
        "imageHeight": record.height,
        "imageWidth": record.width,
    }
