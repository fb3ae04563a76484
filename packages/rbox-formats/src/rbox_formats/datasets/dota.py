"""DOTA: a folder of images and a folder of text files, one per image.

A label file may begin with `imagesource:` and `gsd:` lines; every other line is an object,

    x1 y1 x2 y2 x3 y3 x4 y4 class difficult

with the corners in pixels, in any order around the object (DOTA's own are clockwise from the object's front), and
`difficult` 0 or 1, taken as 0 where it is left out, as DOTA's development kit does. Lines end in LF or CRLF.

On disk: `<root>[/<split>]/labelTxt/<image_id>.txt` and `<root>[/<split>]/images/<image_id>.png`. A label file may stand
without its image.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from rbox_formats import files
from rbox_formats._geometry import rbox_to_quad
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets._folders import annotation_files, annotation_folder, image_file, image_index, split_folder
from rbox_formats.errors import DatasetError

V1_0 = ClassNames(
    [
        "plane",
        "baseball-diamond",
        "bridge",
        "ground-track-field",
        "small-vehicle",
        "large-vehicle",
        "ship",
        "tennis-court",
        "basketball-court",
        "storage-tank",
        "soccer-ball-field",
        "roundabout",
        "harbor",
        "swimming-pool",
        "helicopter",
    ]
)
V1_5 = ClassNames([*V1_0, "container-crane"])
V2_0 = ClassNames([*V1_5, "airport", "helipad"])

_LABEL_FOLDERS = ("labelTxt", "annfiles")  # DOTA's own name, and MMRotate's for the windows that it splits
_HEADERS = ("imagesource", "gsd")
_LINE = "x1 y1 x2 y2 x3 y3 x4 y4 class [difficult]"


def read(root: Path, split: str | None, class_names: ClassNames | None) -> Dataset:
    """Opens a dataset in DOTA's layout; see `rbox_formats.datasets.read`."""
    base = split_folder(root, split)
    label_files = annotation_files(annotation_folder(base, _LABEL_FOLDERS), ".txt")
    image_files = image_index([base / "images"])
    names = V1_0 if class_names is None else class_names
    return Dataset(names, label_files, partial(_load, image_files=image_files, class_names=names))


def _load(path: Path, image_files: dict[str, Path], class_names: ClassNames) -> ImageRecord:
    quads, labels, difficult, metadata = _parse(path, class_names)
    image = image_file(image_files, path.stem)
    return ImageRecord.from_quads(
        image_id=path.stem,
        quads=quads,
        labels=labels,
        difficult=difficult,
        path=image.path,
        width=image.width,
        height=image.height,
        metadata=metadata,
    )


def _parse(path: Path, class_names: ClassNames) -> tuple[Any, Any, Any, dict[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()  # with or without a byte order mark
    except UnicodeDecodeError as error:
        raise DatasetError(f"expected UTF-8 text, got {error}", path=path) from error
    metadata: dict[str, str] = {}
    objects = []
    for number, line in enumerate(lines, start=1):
        key, colon, value = line.partition(":")
        if colon and key.strip() in _HEADERS:
            metadata[key.strip()] = value.strip()
        elif fields := line.split():
            try:
                objects.append(_object(fields, class_names))
            except _LineError as error:
                raise DatasetError(str(error), path=path, line=number, remedy=error.remedy) from error
    corners, labels, difficult = zip(*objects, strict=True) if objects else ((), (), ())
    quads = np.array(corners, dtype=np.float64).reshape(-1, 4, 2)
    return quads, np.array(labels, dtype=np.int64), np.array(difficult, dtype=bool), metadata


class _LineError(ValueError):
    """What is wrong with a line, before anyone has said which."""

    def __init__(self, message: str, remedy: str = f"A line reads: {_LINE}") -> None:
        super().__init__(message)
        self.remedy = remedy


def _object(fields: list[str], class_names: ClassNames) -> tuple[list[float], int, bool]:
    if len(fields) not in (9, 10):
        raise _LineError(f"expected 8 coordinates, a class and perhaps a difficulty, got {len(fields)} fields")
    corners = []
    for field in fields[:8]:
        try:
            corners.append(float(field))
        except ValueError:
            raise _LineError(f"expected 8 coordinates, got {field!r} as number {len(corners) + 1}") from None
    if not all(map(math.isfinite, corners)):
        raise _LineError(f"expected finite coordinates, got {' '.join(fields[:8])}", "Correct the line, or remove it.")
    label = class_names.find(fields[8])
    if label is None:
        raise _LineError(
            f"expected a class among {', '.join(class_names)}, got {fields[8]!r}",
            "Correct the line, or name the dataset's classes (--class-names, class_names=); an evaluation goes by "
            "those of the predictions.",
        )
    if fields[9:] not in ([], ["0"], ["1"]):
        raise _LineError(f"expected 0 or 1 as difficulty, got {fields[9]!r}")
    return corners, label, fields[9:] == ["1"]


def write(records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames) -> Path:
    """Writes a label file per record, headers included; see `rbox_formats.datasets.write`."""
    folder = (root / split if split else root) / "labelTxt"
    folder.mkdir(parents=True, exist_ok=True)
    for record in records:
        name = files.safe_name(f"{record.image_id}.txt", folder)
        quads = rbox_to_quad(record.boxes) if record.quads is None else record.quads
        lines = [f"{key}:{record.metadata[key]}" for key in _HEADERS if key in record.metadata]
        for quad, label, difficult in zip(quads, record.labels, record.difficult, strict=True):
            corners = " ".join(_number(value) for value in quad.ravel().tolist())
            lines.append(f"{corners} {class_names[label].replace(' ', '-')} {int(difficult)}")
        files.write_text(folder / name, "".join(f"{line}\n" for line in lines))
    return folder


def _number(value: float) -> str:
    """The shortest text that reads back as the same number; whole numbers without a point, as DOTA writes them."""
    return repr(value).removesuffix(".0")
