"""DOTA: a folder of images and a folder of text files, one per image.

A label file may begin with `imagesource:` and `gsd:` lines; every other line is an object,

    x1 y1 x2 y2 x3 y3 x4 y4 class difficult

with the corners in pixels, in any order around the object (DOTA's own are clockwise from the object's front), and
`difficult` 0 or 1, taken as 0 where it is left out, as DOTA's development kit does. That kit's windows have 2 for what
their border cuts: read as difficult, and written as 1. Lines end in LF or CRLF.

On disk: `<root>[/<split>]/labelTxt/<image_id>.txt` and `<root>[/<split>]/images/<image_id>.png`; MMRotate's windows
have `annfiles` in place of `labelTxt`. A label file may stand without its image. Both header lines are kept in
`ImageRecord.metadata` as they are written, and written back; there is nothing else that a record has no name for.

The classes are those of the DOTA development kit (CAPTAIN-WHU/DOTA_devkit) and of MMRotate
(`mmrotate/datasets/dota.py`), in their order: 15 in v1.0, "container-crane" added in v1.5, "airport" and "helipad" in
v2.0.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rbox_formats import files
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets._ahead import QuadDataset
from rbox_formats.datasets._folders import annotation_files, annotation_folder, image_file, image_index, split_folder
from rbox_formats.errors import quoted
from rbox_formats.parsing.lines import (
    LARGEST,
    LineError,
    find_class,
    one_field,
    parse_lines,
    parse_numbers,
    plain_digits,
    read_text,
    shortest,
    split_lines,
)

__all__ = ["LABEL_FOLDERS", "V1_0", "V1_5", "V2_0", "Objects", "parse", "read", "write", "write_folder"]

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

LABEL_FOLDERS = ("labelTxt", "annfiles")  # DOTA's own name, and MMRotate's for the windows that it splits
_HEADERS = ("imagesource", "gsd")
_LINE = "A line reads: x1 y1 x2 y2 x3 y3 x4 y4 class [difficult]"

# What the last field may be. 2 is what DOTA_devkit's ImgSplit gives to objects that a window cuts.
_DIFFICULT: Mapping[str, bool] = {"0": False, "1": True, "2": True}


class Objects(NamedTuple):
    """A label file's content: quads (N, 4, 2), labels (N,), difficult (N,), and the headers."""

    quads: Any
    labels: Any
    difficult: Any
    metadata: dict[str, str]


def read(
    root: Path,
    split: str | None,
    class_names: ClassNames | None,
    *,
    label_folders: tuple[str, ...] = LABEL_FOLDERS,
) -> Dataset:
    """Opens a dataset in DOTA's layout; see `rbox_formats.datasets.read`."""
    return open_folders(root, split, V1_0 if class_names is None else class_names, label_folders, parse)


def open_folders(
    root: Path,
    split: str | None,
    class_names: ClassNames,
    label_folders: tuple[str, ...],
    parse: Callable[[Path, ClassNames], Objects],
) -> Dataset:
    """Opens a folder of label files and a folder of images beside it, each label file read by `parse`."""
    base = split_folder(root, split)
    label_files = annotation_files(annotation_folder(base, label_folders), ".txt")
    image_files = image_index([base / "images"])
    load = partial(_fields, image_files=image_files, class_names=class_names, parse=parse)
    return QuadDataset.of(class_names, label_files, load)


def _fields(
    path: Path, image_files: dict[str, Path], class_names: ClassNames, parse: Callable[[Path, ClassNames], Objects]
) -> dict[str, Any]:
    """What `ImageRecord.from_quads` takes."""
    image_id = path.stem
    objects = parse(path, class_names)
    return {"image_id": image_id, **objects._asdict(), **image_file(image_files, image_id)._asdict()}


def parse(path: Path, class_names: ClassNames, difficult: Mapping[str, bool] = _DIFFICULT) -> Objects:
    """Reads a label file.

    Args:
        path: The file.
        class_names: What its classes are looked up in.
        difficult: What the last field may be, and what it means.

    Raises:
        DatasetError: If a line is not as the format says.
    """
    text = read_text(path)
    objects = _parse_at_once(text, class_names, difficult)
    return _parse_by_line(text, class_names, difficult, path) if objects is None else objects


def _parse_at_once(text: str, class_names: ClassNames, difficult: Mapping[str, bool]) -> Objects | None:
    """Reads a file as nearly all are: headers, then ten fields a line with one space between; None for all else.

    A few passes over the whole file instead of some over each line: three times as fast. It takes nothing that the
    parser by line would not take, or would take in another way; what is wrong with a line is that parser's to say.
    """
    text = text.replace("\r\n", "\n")
    metadata: dict[str, str] = {}
    start = 0
    while (header := _header(text[start : (end := text.find("\n", start))])) is not None and end >= 0:
        metadata[header[0]] = header[1]
        start = end + 1
    body = text[start:].strip("\n")
    fields = body.replace("\n", " \n ").split(" ") if body else []
    ends, names, flags = fields[10::11], fields[8::11], fields[9::11]
    # Every eleventh field is a line's end, and none stands elsewhere: it is no number, no class and no difficulty.
    if len(fields) != 10 * len(flags) + len(ends) or ends != ["\n"] * max(0, len(flags) - 1):
        return None
    labels = _labels(class_names)
    if not labels.keys() >= set(names):
        looked_up = ((name, class_names.find(name)) for name in set(names) if name.split() == [name])
        labels = {name: label for name, label in looked_up if label is not None}
    del fields[10::11], fields[9::10], fields[8::9]
    if not plain_digits(body) and not plain_digits("".join(fields)):  # the second only where a name may be to blame
        return None
    try:
        # By way of typed arrays: numpy takes its time over lists, where each element may be of another kind.
        numbers = np.frombuffer(array("d", list(map(float, fields))))
        found = np.frombuffer(array("q", list(map(labels.__getitem__, names))), dtype=np.int64)
        hard = np.frombuffer(bytearray(map(difficult.__getitem__, flags)), dtype=bool)
    except (ValueError, KeyError):  # a word for a number; an unknown class or flag
        return None
    if fields and not max(numbers.max(), -numbers.min()) <= LARGEST:  # nor is nan
        return None
    return Objects(numbers.reshape(-1, 4, 2), found, hard, metadata)


@lru_cache(maxsize=32)
def _labels(class_names: ClassNames) -> dict[str, int]:
    return {name: label for label, name in enumerate(class_names)}


def _parse_by_line(text: str, class_names: ClassNames, difficult: Mapping[str, bool], path: Path) -> Objects:
    metadata: dict[str, str] = {}

    def parse_line(line: str) -> tuple[list[float], int, bool] | None:
        header = _header(line)
        if header is not None:
            metadata[header[0]] = header[1]
            return None
        return _object(line.split(), class_names, difficult)

    objects = [entry for entry in parse_lines(split_lines(text), parse_line, path) if entry is not None]
    corners, labels, hard = zip(*objects, strict=True) if objects else ((), (), ())
    quads = np.array(corners, dtype=np.float64).reshape(-1, 4, 2)
    return Objects(quads, np.array(labels, dtype=np.int64), np.array(hard, dtype=bool), metadata)


def _header(line: str) -> tuple[str, str] | None:
    key, colon, value = line.partition(":")
    return (key.strip(), value.strip()) if colon and key.strip() in _HEADERS else None


def _object(fields: list[str], class_names: ClassNames, difficult: Mapping[str, bool]) -> tuple[list[float], int, bool]:
    if len(fields) not in (9, 10):
        raise LineError(f"expected 8 coordinates, a class and perhaps a difficulty, got {len(fields)} fields", _LINE)
    corners = parse_numbers(fields[:8], "8 coordinates", _LINE)
    label = find_class(fields[8], class_names)
    flag = fields[9] if len(fields) == 10 else "0"
    if flag not in difficult:
        raise LineError(f"expected a difficulty among {', '.join(difficult)}, got {quoted(flag)}", _LINE)
    return corners, label, difficult[flag]


def write(records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames) -> Path:
    """Writes a label file per record, headers included; see `rbox_formats.datasets.write`."""
    return write_folder(records, root, split, class_names, LABEL_FOLDERS[0])


def write_folder(
    records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames, label_folder: str
) -> Path:
    """Writes a label file per record into a folder of that name."""
    folder = (root / files.safe_name(split, root) if split else root) / label_folder
    folder.mkdir(parents=True, exist_ok=True)
    for record in records:
        name = files.safe_name(f"{record.image_id}.txt", folder)
        quads = record.corners
        # A header is a line: white space within it is one space.
        lines = [f"{key}:{' '.join(str(record.metadata[key]).split())}" for key in _HEADERS if key in record.metadata]
        for quad, label, difficult in zip(quads, record.labels, record.difficult, strict=True):
            corners = " ".join(shortest(value) for value in quad.ravel().tolist())
            lines.append(f"{corners} {one_field(class_names[label])} {int(difficult)}")
        files.write_text(folder / name, "".join(f"{line}\n" for line in lines))
    return folder
