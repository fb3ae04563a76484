"""UCAS-AOD: cars and airplanes on Google Earth images, a text file beside each image.

As distributed, a line has 13 numbers between tabs, such as 2.763971e+02, and the folder gives the class:

    x1 y1 x2 y2 x3 y3 x4 y4 theta x y w h

The corners are in pixels. theta is the direction of the edge from the first to the second corner, in degrees clockwise
on the screen from the x axis, 0 to 180; (x, y) is the upper left corner and w, h the size of an upright box around the
same centre. That follows from the published lines (the makers' own description names the columns alone). Only the
corners are read: the rest repeats them.

On disk, as distributed: `<root>/CAR/P0001.png` and `.txt`, `<root>/PLANE/P0001.png` and `.txt`; it has no splits. Both
folders count from 1, so that the ids are "CAR_P0001" and "PLANE_P0001". The 910 images of `Neg`, which have no text
files, are left out, as the benchmarks on it do.

On disk, as one folder: `<root>/AllImages/<image_id>.png`, `<root>/labelTxt/<image_id>.txt` (or `Annotations`), the
class as a 14th column before the others, and the splits as lists of ids, `<root>/ImageSets/<split>.txt`. This is
written: it holds images with both classes, splits, and other classes. There is no place for what is difficult, for
scores and for metadata.

The classes, "car" and "airplane", and the second layout: ming71/UCAS-AOD-benchmark, README.md and data_prepare.py. The
columns: Zhu et al., Orientation robust object detection in aerial images using deep convolutional neural network (ICIP
2015), as described with its copies.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from rbox_formats import files
from rbox_formats._records import ClassNames, Dataset, ImageRecord, Unmatched
from rbox_formats.datasets._folders import annotation_files, annotation_folder, image_file, image_index, unmatched
from rbox_formats.errors import DatasetError, listed, quoted
from rbox_formats.parsing.lines import (
    LineError,
    find_class,
    one_field,
    parse_lines,
    parse_numbers,
    read_text,
    shortest,
    split_lines,
)

__all__ = ["CLASS_NAMES", "images", "read", "write"]

CLASS_NAMES = ClassNames(["car", "airplane"])

# The folders as distributed, and the names that a list of classes may have for the class in each.
_FOLDERS = {"CAR": ("car",), "PLANE": ("airplane", "plane")}
_LABEL_FOLDERS = ("labelTxt", "Annotations")
_IMAGE_FOLDER = "AllImages"
_LINE = "A line reads: {name}x1 y1 x2 y2 x3 y3 x4 y4 [theta x y w h]"


def read(root: Path, split: str | None, class_names: ClassNames | None) -> Dataset:
    """Open the dataset in either layout; see `rbox_formats.datasets.read`."""
    if not root.is_dir():
        remedy = f"Give the folder that has {' or '.join(map(repr, (*_LABEL_FOLDERS, *_FOLDERS)))} in it."
        raise DatasetError("expected a dataset folder, found none", path=root, remedy=remedy)
    names = CLASS_NAMES if class_names is None else class_names
    folders = [root / name for name in _FOLDERS if (root / name).is_dir()]
    if folders and not (root / _IMAGE_FOLDER).is_dir():
        if split is not None:
            remedy = "Leave the split out (--split), or make the layout with AllImages and ImageSets."
            raise DatasetError(
                f"expected no split where the folders are CAR and PLANE, got {quoted(split)}", path=root, remedy=remedy
            )
        found = [path for folder in folders for path in annotation_files(folder, ".txt")]
        image_files = {folder.name: image_index([folder]) for folder in folders}
        by_folder = [unmatched(annotation_files(folder, ".txt"), image_files[folder.name]) for folder in folders]
        all_apart = Unmatched(
            images=tuple(path for each in by_folder for path in each.images),
            labels=tuple(path for each in by_folder for path in each.labels),
            image_count=sum(each.image_count for each in by_folder),
            label_count=sum(each.label_count for each in by_folder),
        )
        return Dataset(names, found, partial(_load_by_folder, image_files=image_files, class_names=names), all_apart)
    folder = annotation_folder(root, _LABEL_FOLDERS)
    found = annotation_files(folder, ".txt") if split is None else _listed(root, split, folder)
    of_all = image_index([root / _IMAGE_FOLDER])
    apart = unmatched(
        found, of_all if split is None else {path.stem: of_all[path.stem] for path in found if path.stem in of_all}
    )
    return Dataset(names, found, partial(_load, image_files=of_all, class_names=names), apart)


def images(root: Path, split: str | None) -> Path:
    """Return where the images belong; see `Format.images`."""
    return root / _IMAGE_FOLDER


def _listed(root: Path, split: str, folder: Path) -> list[Path]:
    """Return the label files that a split's list names, in its order."""
    path = root / "ImageSets" / files.safe_name(f"{split}.txt", root)
    if not path.is_file():
        lists = [found.stem for found in files.visible(path.parent) if found.suffix == ".txt"]
        remedy = f"It has the lists {listed(lists)}." if lists else "Leave the split out (--split)."
        raise DatasetError("expected a list of a split's images, found none", path=path, remedy=remedy)
    there = {file.name: file for file in annotation_files(folder, ".txt")}

    def file(line: str) -> Path:
        if f"{line.strip()}.txt" not in there:
            raise LineError(f"expected an image with a file in {folder}, got {quoted(line.strip())}")
        return there[f"{line.strip()}.txt"]

    return parse_lines(split_lines(read_text(path)), file, path)


def _load_by_folder(path: Path, image_files: dict[str, dict[str, Path]], class_names: ClassNames) -> ImageRecord:
    folder = path.parent.name
    labels = [label for name in _FOLDERS[folder] if (label := class_names.find(name)) is not None]
    if not labels:
        raise DatasetError(
            f"expected {' or '.join(map(repr, _FOLDERS[folder]))} among the classes for the folder {folder}, got "
            f"{listed(class_names)}",
            path=path,
            remedy="Leave the names out (--class-names, class_names=), or add it.",
        )
    quads = parse_lines(split_lines(read_text(path)), lambda line: _corners(line.split(), ""), path)
    return _record(f"{folder}_{path.stem}", path.stem, quads, [labels[0]] * len(quads), image_files[folder])


def _load(path: Path, image_files: dict[str, Path], class_names: ClassNames) -> ImageRecord:
    def parse(line: str) -> tuple[list[float], int]:
        fields = line.split()
        corners = _corners(fields[1:], "class ")
        return corners, find_class(fields[0], class_names)

    objects = parse_lines(split_lines(read_text(path)), parse, path)
    return _record(path.stem, path.stem, [quad for quad, _ in objects], [label for _, label in objects], image_files)


def _corners(fields: list[str], name: str) -> list[float]:
    remedy = _LINE.format(name=name)
    if len(fields) not in (8, 13):
        raise LineError(f"expected 13 numbers, got {len(fields)} fields", remedy)
    return parse_numbers(fields, "13 numbers", remedy)[:8]


def _record(
    image_id: str, stem: str, quads: list[list[float]], labels: list[int], image_files: dict[str, Path]
) -> ImageRecord:
    image = image_file(image_files, stem)
    return ImageRecord.from_quads(
        image_id=image_id,
        quads=np.array(quads, dtype=np.float64).reshape(-1, 4, 2),
        labels=np.array(labels, dtype=np.int64),
        path=image.path,
        width=image.width,
        height=image.height,
    )


def write(records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames) -> Path:
    """Write a label file per record and the split's list; see `rbox_formats.datasets.write`."""
    folder = root / _LABEL_FOLDERS[0]
    folder.mkdir(parents=True, exist_ok=True)
    if split is None:
        for record in records:
            _write_record(record, folder, class_names)
        return folder
    # Written one by one, since a list may have a million names.
    list_file = root / "ImageSets" / files.safe_name(f"{split}.txt", root)
    with files.replacing(list_file) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        for record in records:
            _write_record(record, folder, class_names)
            stream.write(f"{record.image_id}\n")
    return folder


def _write_record(record: ImageRecord, folder: Path, class_names: ClassNames) -> None:
    name = files.safe_name(f"{record.image_id}.txt", folder)
    if record.image_id != record.image_id.strip() or len(record.image_id.splitlines()) != 1:
        raise DatasetError(f"expected an image's name that fits a line of a list, got {quoted(record.image_id)}")
    quads = record.corners
    lines = [
        "\t".join([one_field(class_names[label]), *map(shortest, quad + _rest(quad))])
        for label, quad in zip(record.labels, quads.reshape(-1, 8).tolist(), strict=True)
    ]
    files.write_text(folder / name, "".join(f"{line}\n" for line in lines))


def _rest(quad: list[float]) -> list[float]:
    """Return theta, x, y, w, h of a quad; the upright box is the one around its corners."""
    theta = math.degrees(math.atan2(quad[3] - quad[1], quad[2] - quad[0])) % 180
    x0, y0 = min(quad[0::2]), min(quad[1::2])
    return [theta, x0, y0, max(quad[0::2]) - x0, max(quad[1::2]) - y0]
