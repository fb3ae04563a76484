"""VEDAI: vehicles on aerial images, a text file per image.

    x_centre y_centre orientation class contained occluded x1 x2 x3 x4 y1 y2 y3 y4

Pixels and, for the orientation, radians; all x of the corners stand before all y. `class` is a number (`NUMBERS`);
`contained` and `occluded` are 0 or 1. Copies have the corners before the class and its marks, as the makers' one file
for all images does: the corners are those whose middle is the centre. Read are corners and class; what repeats them and
the two marks is not kept. Written are 1 for `contained` and 0 for `occluded`. There is no place for what is difficult,
for scores and for metadata.

On disk: `<root>/Annotations1024/<image_id>.txt` (or `Annotations512`, `Annotations`, `labelTxt`) and
`<root>/Vehicules1024/<image_id>_co.png` (or `Vehicules512`, `images`); the name may also be the id alone, or end in
"_ir", as the infrared image's does, which is taken where there is no other. Splits are lists of ids beside the
annotations, `fold01.txt` and `fold01test.txt`; these and the file of all images, `annotation1024.txt`, are no image's
annotations. A split may also be a folder. Written is the first of these folders, and a list for a split.

Source: downloads.greyc.fr/vedai; Razakarivony and Jurie, Vehicle detection in aerial imagery: a small target detection
benchmark, JVCIR 34 (2016); jinmingteo/VEDAI_FAIR1M_processing, VEDAI2DOTA.py, for the order of the fields.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from rbox_formats import files
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets._folders import annotation_files, annotation_folder, image_file, image_index, split_folder
from rbox_formats.errors import DatasetError, listed, quoted
from rbox_formats.parsing.lines import (
    LineError,
    find_class,
    parse_lines,
    parse_numbers,
    read_text,
    shortest,
    split_lines,
)

__all__ = ["CLASS_NAMES", "NUMBERS", "images", "read", "write"]

NUMBERS = {
    1: "car",
    2: "truck",
    4: "tractor",
    5: "camping-car",
    7: "motorcycle",
    8: "bus",
    9: "van",
    10: "other",
    11: "pickup",
    23: "boat",
    31: "plane",
}
"""The classes by their numbers in the files."""

CLASS_NAMES = ClassNames(NUMBERS.values())

_ANNOTATIONS = ("Annotations1024", "Annotations512", "Annotations", "labelTxt")
_IMAGES = ("Vehicules1024", "Vehicules512", "images")
_SUFFIXES = ("", "_co", "_ir")  # of an image's name, after the id
_LINE = "A line reads: x_centre y_centre orientation class contained occluded x1 x2 x3 x4 y1 y2 y3 y4"
_FIELDS = 14
# How far the middle of the corners may be from the centre, as a share of the object's diagonal, plus 2 px.
_CENTRE = 0.5


def read(root: Path, split: str | None, class_names: ClassNames | None) -> Dataset:
    """Open a dataset in VEDAI's layout; see `rbox_formats.datasets.read`."""
    base = split_folder(root, split if split and (root / files.safe_name(split, root)).is_dir() else None)
    folder = annotation_folder(base, _ANNOTATIONS)
    found = [path for path in annotation_files(folder, ".txt") if not _is_list(path)]
    if base == root and split is not None:
        found = _listed(folder, split, found)
    if not found:
        raise DatasetError("expected annotation files (*.txt), found none", path=folder)
    pictures = next((index for name in _IMAGES if (index := image_index([base / name]))), {})
    names = CLASS_NAMES if class_names is None else class_names
    return Dataset(names, found, partial(_load, image_files=pictures, class_names=names))


def images(root: Path, split: str | None) -> Path:
    """Return where the images belong; see `Format.images`."""
    return root / _IMAGES[0]


def _is_list(path: Path) -> bool:
    """Return whether a file is one of the lists, or the one of all images."""
    return path.stem.startswith(("fold", "annotation"))


def _listed(folder: Path, split: str, found: Sequence[Path]) -> list[Path]:
    path = folder / files.safe_name(f"{split}.txt", folder)
    if not path.is_file():
        lists = [other.stem for other in files.visible(folder) if other.stem.startswith("fold")]
        remedy = f"It has the lists {listed(lists)}." if lists else "Leave the split out (--split)."
        raise DatasetError("expected a list of a split's images, found none", path=path, remedy=remedy)
    by_id = {other.stem: other for other in found if other != path}

    def file(line: str) -> Path:
        if line.strip() not in by_id:
            raise LineError(f"expected an image with a file in {folder}, got {quoted(line.strip())}")
        return by_id[line.strip()]

    return parse_lines(split_lines(read_text(path)), file, path)


def _load(path: Path, image_files: dict[str, Path], class_names: ClassNames) -> ImageRecord:
    objects = parse_lines(split_lines(read_text(path)), partial(_object, class_names=class_names), path)
    names = [f"{path.stem}{suffix}" for suffix in _SUFFIXES]
    image = image_file(image_files, next((name for name in names if name in image_files), path.stem))
    return ImageRecord.from_quads(
        path.stem,
        np.array([quad for quad, _ in objects], dtype=np.float64).reshape(-1, 4, 2),
        np.array([label for _, label in objects], dtype=np.int64),
        path=image.path,
        width=image.width,
        height=image.height,
    )


def _object(line: str, class_names: ClassNames) -> tuple[list[list[float]], int]:
    """Return a line's quad and label."""
    fields = line.split()
    if len(fields) != _FIELDS:
        raise LineError(f"expected {_FIELDS} numbers, got {len(fields)} fields", _LINE)
    numbers = parse_numbers(fields, f"{_FIELDS} numbers", _LINE)
    orders = [(numbers[3], numbers[6:]), (numbers[11], numbers[3:11])]
    number, places = min(orders, key=lambda order: _off_centre(numbers[:2], order[1]))
    quad = [[x, y] for x, y in zip(places[:4], places[4:], strict=True)]
    if _off_centre(numbers[:2], places) > _CENTRE * math.dist(quad[0], quad[2]) + 2:
        raise LineError(f"expected corners around {fields[0]} {fields[1]}, got others", _LINE)
    if number not in NUMBERS:
        raise LineError(f"expected a class among {listed(NUMBERS)}, got {number:g}", _LINE)
    return quad, find_class(NUMBERS[int(number)], class_names)


def _off_centre(centre: Sequence[float], places: Sequence[float]) -> float:
    return math.dist(centre, (sum(places[:4]) / 4, sum(places[4:]) / 4))


def write(records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames) -> Path:
    """Write a file per record, and the split's list; see `rbox_formats.datasets.write`.

    Raises:
        DatasetError: If a class is not one of VEDAI's, or an image has the name of a list.
    """
    numbers = {label: number for number, name in NUMBERS.items() if (label := class_names.find(name)) is not None}
    if unknown := [name for label, name in enumerate(class_names) if label not in numbers]:
        raise DatasetError(f"expected classes among {listed(CLASS_NAMES)}, got {listed(unknown)}")
    folder = root / _ANNOTATIONS[0]
    folder.mkdir(parents=True, exist_ok=True)
    ids = []
    for record in records:
        path = folder / files.safe_name(f"{record.image_id}.txt", folder)
        if _is_list(path) or record.image_id.strip() != record.image_id or len(record.image_id.splitlines()) != 1:
            raise DatasetError(f"expected an image name that is not the name of a list, got {quoted(record.image_id)}")
        lines = [
            " ".join(
                [*map(shortest, _centre(quad)), str(numbers[label]), "1", "0", *map(shortest, quad.T.ravel().tolist())]
            )
            for quad, label in zip(record.corners, record.labels.tolist(), strict=True)
        ]
        files.write_text(path, "".join(f"{line}\n" for line in lines))
        ids.append(record.image_id)
    if split is not None:
        files.write_text(folder / files.safe_name(f"{split}.txt", folder), "".join(f"{name}\n" for name in ids))
    return folder


def _centre(quad: np.ndarray) -> list[float]:
    """Return centre and orientation."""
    x, y = quad[1] - quad[0]
    return [*quad.mean(axis=0).tolist(), math.atan2(y, x)]
