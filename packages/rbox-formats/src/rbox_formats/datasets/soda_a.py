"""SODA-A: small objects in aerial images, a JSON file per image.

    {"annotations": [{"poly": [x1, y1, x2, y2, x3, y3, x4, y4], "area": 800.0, "category_id": 7}, ...],
     "images": {"file_name": "00001.jpg", "height": 2700, "width": 4800, "id": 0},
     "categories": [{"id": 0, "name": "airplane"}, ...]}

Corners are in pixels; of an outline of another number of corners the least rectangle around it is taken. `category_id`
is one of `categories`, where the file has them, else the place in the makers' list. The makers' windows have `cat_id`
and `trunc` in place of it: both are read. Objects of the class "ignore", the tenth of ten, are left out, as the makers'
benchmark does. An empty file is an image without objects. There is no place for what is difficult, for scores and for
metadata.

On disk: `<root>/Annotations/<split>/<image_id>.json` and `<root>/Images/<split>/<image_id>.jpg`; images may also be in
`<root>/Images` itself. Also read: `<root>/<split>/Annotations` and `<root>/<split>/Images`.

Source: shaunyuan22.github.io/SODA; shaunyuan22/SODA-mmrotate, mmrotate/datasets/sodaa.py (`load_ori_annotations`,
`load_annotations`); microsoft/torchgeo, torchgeo/datasets/soda.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from rbox_formats import files
from rbox_formats._geometry import quad_area, quad_around
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets._folders import annotation_files, annotation_folder, image_file, image_index, split_folder
from rbox_formats.datasets._images import image_name
from rbox_formats.errors import listed
from rbox_formats.parsing import json_values
from rbox_formats.parsing.json_values import Value
from rbox_formats.parsing.lines import CORRECT_OR_NAME

__all__ = ["CLASS_NAMES", "images", "read", "write"]

CLASS_NAMES = ClassNames(
    [
        "airplane",
        "helicopter",
        "small-vehicle",
        "large-vehicle",
        "ship",
        "container",
        "storage-tank",
        "swimming-pool",
        "windmill",
    ]
)
_IGNORE = "ignore"
_ANNOTATIONS, _IMAGES = "Annotations", "Images"


def read(root: Path, split: str | None, class_names: ClassNames | None) -> Dataset:
    """Open a dataset in SODA-A's layout; see `rbox_formats.datasets.read`."""
    names = CLASS_NAMES if class_names is None else class_names
    if split is None:
        folder, places = annotation_folder(split_folder(root, None), (_ANNOTATIONS,)), [root / _IMAGES]
    else:
        name = files.safe_name(split, root)
        inner = f"{_ANNOTATIONS}/{name}"
        if (root / name / _ANNOTATIONS).is_dir():
            folder = root / name / _ANNOTATIONS
        else:
            folder = annotation_folder(split_folder(root, None), (inner,))
        places = [root / _IMAGES / name, root / name / _IMAGES, root / _IMAGES]
    found = annotation_files(folder, ".json")
    image_files = next((index for place in places if (index := image_index([place]))), {})
    return Dataset(names, found, partial(_load, image_files=image_files, class_names=names))


def images(root: Path, split: str | None) -> Path:
    """Return where a split's images belong; see `Format.images`."""
    return root / _IMAGES / files.safe_name(split, root) if split else root / _IMAGES


def _load(path: Path, image_files: dict[str, Path], class_names: ClassNames) -> ImageRecord:
    image = image_file(image_files, path.stem)
    quads, labels = [], []
    width = height = None
    if path.stat().st_size:
        document = json_values.read(path)
        by_id = _categories(document)
        for annotation in document["annotations"].items():
            label = _label(annotation, by_id, class_names)
            if label is not None:
                labels.append(label)
                quads.append(_quad(annotation["poly"]))
        if document.has("images") and isinstance(document.value["images"], dict):
            about = document["images"]
            width, height = (about[key].side() if about.has(key) else None for key in ("width", "height"))
    return ImageRecord.from_quads(
        path.stem,
        np.array(quads, dtype=np.float64).reshape(-1, 4, 2),
        np.array(labels, dtype=np.int64),
        path=image.path,
        width=image.width if image.path else width,
        height=image.height if image.path else height,
        stated_size=None if width is None or height is None else (width, height),
    )


def _categories(document: Value) -> dict[int, str]:
    """Return the names of the classes by their numbers."""
    if document.has("categories"):
        return {entry["id"].integer(): entry["name"].text() for entry in document["categories"].items()}
    return dict(enumerate([*CLASS_NAMES, _IGNORE]))


def _label(annotation: Value, by_id: dict[int, str], class_names: ClassNames) -> int | None:
    """Return the label of an object; None for one to be left out."""
    key = "category_id" if annotation.has("category_id") else "cat_id"
    name = by_id.get(annotation[key].integer())
    if name is None:
        raise annotation[key].error(f"a category among {listed(sorted(by_id))}")
    label = class_names.find(name)
    if label is None and name != _IGNORE:
        remedy = CORRECT_OR_NAME.replace("line", "category")
        raise annotation[key].error(f"a class among {listed(class_names)}", remedy)
    return label


def _quad(outline: Value) -> list[float]:
    corners = outline.numbers()
    json_values.require_few_corners(outline, len(corners) // 2)
    if len(corners) < 6 or len(corners) % 2:
        raise outline.error("x and y of at least 3 corners")
    return quad_around(corners)


def write(records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames) -> Path:
    """Write a file per record; see `rbox_formats.datasets.write`."""
    folder = root / _ANNOTATIONS / files.safe_name(split, root) if split else root / _ANNOTATIONS
    folder.mkdir(parents=True, exist_ok=True)
    categories = [{"id": label, "name": name} for label, name in enumerate(class_names)]
    for number, record in enumerate(records):
        name = files.safe_name(f"{record.image_id}.json", folder)
        corners = record.corners
        annotations = [
            {"poly": json_values.plain(quad), "area": area, "category_id": label}
            for quad, area, label in zip(
                corners.reshape(-1, 8).tolist(), quad_area(corners).tolist(), record.labels.tolist(), strict=True
            )
        ]
        sides = {"height": record.height, "width": record.width}
        about = {"file_name": image_name(record), **{k: v for k, v in sides.items() if v is not None}, "id": number}
        document = {"annotations": annotations, "images": about, "categories": categories}
        files.write_text(folder / name, json_values.dump(document) + "\n")
    return folder
