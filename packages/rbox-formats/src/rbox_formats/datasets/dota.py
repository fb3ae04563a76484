"""DOTA: a folder of images and a folder of text files, one per image.

A label file may begin with `imagesource:` and `gsd:` lines; every other line is an object,

    x1 y1 x2 y2 x3 y3 x4 y4 class difficult

with the corners in pixels, in any order around the object (DOTA's own are clockwise from the object's front), and
`difficult` 0 or 1, taken as 0 where it is left out, as DOTA's development kit does. That kit's windows have 2 for what
their border cuts: read as difficult, and written as 1. Lines end in LF or CRLF.

On disk: `<root>[/<split>]/labelTxt/<image_id>.txt` and `<root>[/<split>]/images/<image_id>.png`; MMRotate's windows
have `annfiles` in place of `labelTxt`. A label file may stand without its image; an image without a label file has no
objects, as in the other formats (`Dataset.labelled` leaves such out). Both header lines are kept in
`ImageRecord.metadata` unchanged, and written back.

Label files and images in folders within are called by their paths: `labelTxt/cam1/0001.txt` is that of
`images/cam1/0001.png`, the image "cam1/0001".

DOTA's downloads are read as they unpack: `<root>[/<split>]/labelTxt-v1.0/labelTxt` (of v1.5 and v2.0
`labelTxt-v1.5/DOTA-v1.5_train` and so on), with the images in `images`, `images/images`, or in
parts, `images/part1` and so on; the format's version chooses among several. The upright boxes beside them
("..._hbb", "trainset_reclabelTxt") are not read. A folder of labels, or `images`, may have all its files in the one
folder that its zip had, as `labelTxt/labelTxt`.

The classes are those of the DOTA development kit (CAPTAIN-WHU/DOTA_devkit) and of MMRotate
(`mmrotate/datasets/dota.py`), in their order: 15 in v1.0, "container-crane" added in v1.5, "airport" and "helipad" in
v2.0.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rbox_formats import files, images
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets._ahead import QuadDataset
from rbox_formats.datasets._folders import (
    annotation_files,
    annotation_folder,
    as_unpacked,
    id_in,
    image_file,
    image_index,
    split_folder,
    unmatched,
)
from rbox_formats.errors import DatasetError, listed, quoted
from rbox_formats.parsing.lines import (
    LARGEST,
    NO_COMMAS,
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

# The values of the last field. DOTA_devkit's ImgSplit gives 2 to objects that a window cuts.
_DIFFICULT: Mapping[str, bool] = {"0": False, "1": True, "2": True}


class Objects(NamedTuple):
    """A label file's content: quads (N, 4, 2), labels (N,), difficult (N,), and the headers."""

    quads: Any
    labels: Any
    difficult: Any
    metadata: dict[str, str]


_NO_OBJECTS = Objects(np.zeros((0, 4, 2)), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool), {})


# The downloads, a zip each, as they unpack: labels by version and format.
_VERSIONS: Mapping[str, str] = {"1.0": "dota", "1.5": "dota-v1.5", "2.0": "dota-v2.0"}
_DOWNLOADED = (
    "labelTxt-v{version}",
    "labelTxt-v{version}/labelTxt",
    "labelTxt-v{version}/DOTA-v{version}_*",
    "DOTA-v{version}_*",
)
_ZIPPED = ("labelTxt", "annfiles", "DOTA-v*_*")  # the folders in the zips of labels
_DOWNLOADED_IMAGES = ("images", "images/images", "images/part*", "images/part*/images", "part*", "part*/images")


def read(
    root: Path,
    split: str | None,
    class_names: ClassNames | None,
    *,
    version: str = "1.0",
    label_folders: tuple[str, ...] | None = None,
) -> Dataset:
    """Open a dataset in DOTA's layout, or in that of its downloads; see `rbox_formats.datasets.read`.

    Args:
        root: The dataset's folder.
        split: A part of the dataset.
        class_names: The classes; None: those of v1.0.
        version: The version whose labels are read, if the downloads of several are in the folder.
        label_folders: Names of the folder of labels; the first one that exists is read. None: the format's own names,
            or those of the downloads.
    """
    names = V1_0 if class_names is None else class_names
    if label_folders is not None:
        return open_folders(root, split, names, label_folders, parse)
    base = split_folder(root, split)
    downloaded = _as_downloaded(base, version)
    if downloaded is not None:
        folder, image_folders = downloaded
        return _open(folder, image_folders, names, parse)
    return open_folders(root, split, names, LABEL_FOLDERS, parse)


def _as_downloaded(base: Path, version: str) -> tuple[Path, list[Path]] | None:
    """Return the folders of labels and images in the layout of DOTA's downloads; None for another layout.

    Raises:
        DatasetError: If there are only labels of another version, or several folders of this version.
    """
    if any((base / name).is_dir() for name in LABEL_FOLDERS):
        return None
    found = {
        each: [
            path for name in _DOWNLOADED for path in sorted(base.glob(name.format(version=each))) if _has_labels(path)
        ]
        for each in _VERSIONS
    }
    if not any(found.values()):
        return None
    if len(found[version]) != 1:
        there = listed(path.relative_to(base) for paths in found.values() for path in paths)
        others = [f"--format {name}" for each, name in _VERSIONS.items() if each != version and found[each]]
        remedy = f"Read it as {' or '.join(others)}." if not found[version] else "Move all but one of them away."
        raise DatasetError(f"expected one folder of DOTA-v{version}'s labels, found {there}", path=base, remedy=remedy)
    return found[version][0], _downloaded_images(base)


def _downloaded_images(base: Path) -> list[Path]:
    return [path for name in _DOWNLOADED_IMAGES for path in sorted(base.glob(name)) if images.find(path)]


def _has_labels(folder: Path) -> bool:
    """Return whether a folder has label files of rotated boxes; folders '..hbb' have upright ones."""
    if "hbb" in folder.name.lower():
        return False
    return folder.is_dir() and any(path.suffix.lower() == ".txt" for path in files.visible(folder))


def open_folders(
    root: Path,
    split: str | None,
    class_names: ClassNames,
    label_folders: tuple[str, ...],
    parse: Callable[[Path, ClassNames], Objects],
) -> Dataset:
    """Open a folder of label files and a folder of images beside it, each label file read by `parse`."""
    base = split_folder(root, split)
    named = annotation_folder(base, label_folders)
    folder = as_unpacked(named, _ZIPPED, (".txt",))
    pictures = [base / "images"]
    if folder != named:
        pictures = _downloaded_images(base)
    elif not (folder / "images").is_dir():
        pictures = [as_unpacked(base / "images", ("images",), images.SUFFIXES)]
    return _open(folder, pictures, class_names, parse)


def _open(
    folder: Path,
    image_folders: Sequence[Path],
    class_names: ClassNames,
    parse: Callable[[Path, ClassNames], Objects],
) -> Dataset:
    label_files = annotation_files(folder, ".txt", nested=True)
    image_files = image_index(image_folders, nested=True)
    ids = {path: id_in(path, folder) for path in label_files}
    apart = unmatched(label_files, image_files, as_empty=True, ids=ids)
    ids |= (
        {path: image_id for image_id, path in image_files.items() if image_id not in set(ids.values())}
        if apart.images
        else {}
    )
    load = partial(
        _fields, image_files=image_files, class_names=class_names, parse=parse, without=frozenset(apart.images), ids=ids
    )
    sources = sorted([*label_files, *apart.images], key=ids.__getitem__) if apart.images else label_files
    return QuadDataset.of(class_names, sources, load, apart)


def _fields(
    path: Path,
    image_files: dict[str, Path],
    class_names: ClassNames,
    parse: Callable[[Path, ClassNames], Objects],
    without: frozenset[Path],
    ids: Mapping[Path, str],
) -> dict[str, Any]:
    """Return the arguments of `ImageRecord.from_quads` for a label file, or for an image that has none."""
    image_id = ids[path]
    objects = _NO_OBJECTS if path in without else parse(path, class_names)
    return {"image_id": image_id, **objects._asdict(), **image_file(image_files, image_id)._asdict()}


def parse(path: Path, class_names: ClassNames, difficult: Mapping[str, bool] = _DIFFICULT) -> Objects:
    """Read a label file.

    Args:
        path: The file.
        class_names: The class names in which its classes are looked up.
        difficult: The values that the last field may have, and whether they mean difficult.

    Raises:
        DatasetError: If a line breaks the rules of the format.
    """
    text = read_text(path)
    objects = _parse_at_once(text, class_names, difficult)
    return _parse_by_line(text, class_names, difficult, path) if objects is None else objects


def _parse_at_once(text: str, class_names: ClassNames, difficult: Mapping[str, bool]) -> Objects | None:
    """Read a file in the usual form (headers, ten fields a line, one space between); None for any other.

    A few passes over the whole file are three times as fast as some over each line. It reads only files that the parser
    by line reads in the same way; faults in a line are reported by that parser.
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
    # Every eleventh field is a line's end, and no other field is, since it is not a number, a class or a difficulty.
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
        # By way of typed arrays, since numpy is slow on lists, whose elements may be of different types.
        numbers = np.frombuffer(array("d", list(map(float, fields))))
        found = np.frombuffer(array("q", list(map(labels.__getitem__, names))), dtype=np.int64)
        hard = np.frombuffer(bytearray(map(difficult.__getitem__, flags)), dtype=bool)
    except (ValueError, KeyError):  # a word instead of a number; an unknown class or flag
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
        message = f"expected 8 coordinates, a class and perhaps a difficulty, got {len(fields)} fields"
        raise LineError(message, _likely(fields))
    corners = parse_numbers(fields[:8], "8 coordinates", _LINE)
    if _is_number(fields[8]) and class_names.find(fields[8]) is None:
        remedy = f"{_LINE}. A number followed by shares of the image is a line of YOLO: --format yolo-obb"
        raise LineError(f"expected a class among {listed(class_names)}, got {quoted(fields[8])}", remedy)
    label = find_class(fields[8], class_names)
    flag = fields[9] if len(fields) == 10 else "0"
    if flag not in difficult:
        raise LineError(f"expected a difficulty among {', '.join(difficult)}, got {quoted(flag)}", _LINE)
    return corners, label, difficult[flag]


def _likely(fields: list[str]) -> str:
    """Return what a line with another number of fields is likely to be."""
    if any("," in field for field in fields):
        return f"{NO_COMMAS} {_LINE}"
    if len(fields) in (5, 6) and all(map(_is_number, fields[:4])) and not _is_number(fields[4]):
        return f"These may be upright boxes, x_min y_min x_max y_max class. {_LINE}"
    if len(fields) in (6, 14) and all(map(_is_number, fields)):
        other = {6: "yolov5_obb: --format yolov5-obb", 14: "VEDAI: --format vedai"}[len(fields)]
        return f"It may be a line of {other}. {_LINE}"
    return _LINE


def _is_number(field: str) -> bool:
    try:
        parse_numbers([field], "a number")
    except LineError:
        return False
    return True


def write(records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames) -> Path:
    """Write a label file per record, headers included; see `rbox_formats.datasets.write`."""
    return write_folder(records, root, split, class_names, LABEL_FOLDERS[0])


def write_folder(
    records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames, label_folder: str
) -> Path:
    """Write a label file per record into a folder of that name."""
    folder = (root / files.safe_name(split, root) if split else root) / label_folder
    folder.mkdir(parents=True, exist_ok=True)
    for record in records:
        name = files.safe_path(f"{record.image_id}.txt", folder)
        quads = record.corners
        # A header is a line: white space within it is one space.
        lines = [f"{key}:{' '.join(str(record.metadata[key]).split())}" for key in _HEADERS if key in record.metadata]
        for quad, label, difficult in zip(quads, record.labels, record.difficult, strict=True):
            corners = " ".join(shortest(value) for value in quad.ravel().tolist())
            lines.append(f"{corners} {one_field(class_names[label])} {int(difficult)}")
        files.write_text(folder / name, "".join(f"{line}\n" for line in lines))
    return folder
