"""YOLO-OBB, as Ultralytics reads and writes it: a text file per image, corners relative to the image's size.

    class x1 y1 x2 y2 x3 y3 x4 y4

`class` is a number from 0; x is divided by the image's width, y by its height. Other lines are read, too: five fields
are an upright box, `class cx cy w h`; more than four corners are an outline, which becomes the smallest rectangle
around it; ten fields end in a confidence, as `predict save_txt save_conf` writes them. The image has scores if each
line has a confidence. Corners outside 0 to 1 are beyond the image's border; they are read and written unchanged, but
Ultralytics itself leaves out images that have them: `rbox-formats convert` counts them, and `--clip` brings them
inside. Corners more than `FARTHEST` image sizes away are refused: they are pixels, not shares.

On disk: `<root>/images/<split>/<image_id>.jpg` and `<root>/labels/<split>/<image_id>.txt`, without a split the two
folders themselves; also read is `<root>/<split>/images` and `<root>/<split>/labels`, as Roboflow writes it. Images
in folders within are called by their paths, and so are their label files. An image without a label file has no objects,
but no label file at all is an error, and so is one without an image, because the size is needed.

The names of the classes: `names` in `<root>/data.yaml` (`dataset.yaml`, or the only .yaml file), else the lines of
`<root>/classes.txt` or `<root>/labels/classes.txt`. Names that the caller gives are looked up by those of the files,
and number the classes where the files name none. Written is `data.yaml`, with the split's folder and the names; one
that is there and has the same names gets a line for the split if it has none.

Scores are read and not written: Ultralytics trains on no lines of ten fields. There is no place for what is difficult
and for metadata. A corner comes back to within a rounding of floating point numbers (1e-9 px in images of 100,000 px),
not always bit by bit.

A second format, "yolov5-obb", has `class cx cy longside shortside theta` in the same folders: theta is the direction of
the long side in degrees from 0 to 180, clockwise on the screen. The sides are shares as well, so that a box is turned
on an image that is stretched to a square: only on square images are its objects rectangles.

Source: docs.ultralytics.com/datasets/obb; for "yolov5-obb", hukaixuan19970627/YOLOv5_DOTA_OBB and
DOTA_devkit_YOLO, YOLO_Transform.py (`cvminAreaRect2longsideformat`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from rbox_formats import files, images
from rbox_formats._geometry import quad_around, quad_to_rbox, rbox_to_quad, upright_quad
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets import _names
from rbox_formats.datasets._folders import SPLITS, below, id_in, image_index, unmatched
from rbox_formats.errors import DatasetError, listed, quoted
from rbox_formats.parsing.lines import (
    CORRECT_OR_NAME,
    MOST_CORNERS,
    NO_COMMAS,
    LineError,
    find_class,
    parse_index,
    parse_lines,
    parse_numbers,
    read_text,
    shortest,
    split_lines,
)

__all__ = ["FARTHEST", "images_folder", "names_beside", "read", "write"]

FARTHEST = 10.0
"""How many image sizes a corner may be outside of the image."""

_LINE = "A line reads: class x1 y1 x2 y2 x3 y3 x4 y4, divided by the image's size."
_LONGSIDE = "A line reads: class cx cy longside shortside theta, shares of the image's size and degrees."
_SIX = "Six fields are yolov5_obb's (the format yolov5-obb), or what a detector of upright boxes found."
_SCORED = 10  # fields of a line with a confidence
_YAML_FILES = ("data.yaml", "dataset.yaml", "data.yml")
_LABEL_FOLDERS = ("labels",)
_FOLDERS = "Give the folder that has the folders 'images' and 'labels' in it."
_NAME_FILES = ("classes.txt", "labels/classes.txt")


@dataclass(frozen=True)
class _Classes:
    """The classes of a dataset.

    Attributes:
        names: The class names that the records' labels index.
        written: The class names that the numbers in the label files index.
    """

    names: ClassNames
    written: ClassNames


def read(
    root: Path,
    split: str | None,
    class_names: ClassNames | None,
    *,
    longside: bool = False,
    label_folders: tuple[str, ...] = _LABEL_FOLDERS,
) -> Dataset:
    """Open a dataset in Ultralytics' layout; see `rbox_formats.datasets.read`."""
    if not root.is_dir():
        raise DatasetError("expected a dataset folder, found none", path=root, remedy=_FOLDERS)
    label_folder, image_folder = _split_folders(root, split, label_folders[0])
    inside = [path.name for path in files.visible(image_folder) if path.is_dir()]
    nested = not any(name.lower() in SPLITS for name in inside)
    found = image_index([image_folder], nested=nested)
    if not found:
        remedy = f"In it are the folders {listed(inside)}: are they splits (--split)?" if inside else None
        raise DatasetError("expected images, found none", path=image_folder, remedy=remedy)
    label_files = _label_files(label_folder, found, image_folder, nested)
    written = names_beside(root)
    names = written if class_names is None else class_names
    if names is None:
        remedy = "Write classes.txt, a name a line, or give the names (--class-names, class_names=)."
        raise DatasetError(
            "expected data.yaml or classes.txt with the classes' names, found none", path=root, remedy=remedy
        )
    classes = _Classes(names, names if written is None else written)
    ids = {path: image_id for image_id, path in found.items()}
    parse = partial(_longside if longside else _object, classes=classes)
    load = partial(_load, labels=label_files, parse=parse, ids=ids)
    called = {path: image_id for image_id, path in label_files.items()}
    apart = unmatched(label_files.values(), found, as_empty=True, ids=called)
    return Dataset(names, list(found.values()), load, apart)


def _label_files(folder: Path, image_files: Mapping[str, Path], image_folder: Path, nested: bool) -> dict[str, Path]:
    """Return the label files by their images' names.

    Raises:
        DatasetError: If there are no label files, one has no image, or two belong to the same image.
    """
    there = [path for path in below(folder, nested) if path.suffix.lower() == ".txt" and path.name != "classes.txt"]
    if not there:
        inside = listed(path.name + "/" * path.is_dir() for path in files.visible(folder))
        beside = listed(path.name + "/" * path.is_dir() for path in files.visible(folder.parent))
        raise DatasetError(
            f"expected label files (*.txt) of the {len(image_files)} images in {image_folder}, found "
            + (f"only {inside}" if inside else "none" if folder.is_dir() else f"no such folder beside {beside}"),
            path=folder,
            remedy="Each image has one of the same name, in the folder of labels beside: of images/train it is "
            "labels/train. Another folder can be named (--labels). An image without objects may go without, but not "
            "all of them.",
        )
    found: dict[str, Path] = {}
    names = {path.relative_to(image_folder).as_posix(): name for name, path in image_files.items()}
    for path in there:
        image_id = id_in(path, folder)
        if image_id not in image_files:
            remedy = "Coordinates are relative to the image's size: put the image there, or take the label file away."
            if image_id in names:
                remedy = f"Name the label file like the image, except for the suffix: {names[image_id]}.txt."
            raise DatasetError(
                f"expected an image {quoted(image_id)} in {image_folder}, found none", path=path, remedy=remedy
            )
        if image_id in found:
            raise DatasetError(
                f"expected one label file of {quoted(image_id)}, got {path.name} as well", path=found[image_id]
            )
        found[image_id] = path
    return found


def images_folder(root: Path, split: str | None) -> Path:
    """Return where a split's images belong; see `Format.images`."""
    return root / "images" / files.safe_name(split, root) if split else root / "images"


def _split_folders(root: Path, split: str | None, labels: str) -> tuple[Path, Path]:
    """Return the folders of a split's labels and images."""
    if split is None:
        candidates = [(root / labels, root / "images")]
    else:
        name = files.safe_name(split, root)
        candidates = [
            (root / labels / name, root / "images" / name),
            (root / name / labels, root / name / "images"),
        ]
    for folder, pictures in candidates:
        if pictures.is_dir():
            return folder, pictures
    splits = [path.name for path in files.visible(root / "images") if path.is_dir()]
    remedy = f"It has the splits {', '.join(splits)}: choose one (--split)." if splits else _FOLDERS
    raise DatasetError(f"expected a folder {candidates[0][1].relative_to(root)}, found none", path=root, remedy=remedy)


def names_beside(root: Path) -> ClassNames | None:
    """Return the names in `data.yaml` or `classes.txt` of a folder, or None."""
    path = _yaml_file(root)
    names = None if path is None else _names.from_yaml(path, "names")
    for file in _NAME_FILES:
        if names is None and (root / file).is_file():
            names = _names.from_lines(root / file)
    return names


def _yaml_file(root: Path) -> Path | None:
    named = [root / name for name in _YAML_FILES if (root / name).is_file()]
    others = [path for path in files.visible(root) if path.suffix in (".yaml", ".yml") and path.is_file()]
    return named[0] if named else others[0] if len(others) == 1 else None


def _load(
    path: Path,
    labels: Mapping[str, Path],
    parse: Callable[..., tuple[list[float], int, float | None]],
    ids: Mapping[Path, str],
) -> ImageRecord:
    width, height = images.read_size(path)
    label_file = labels.get(ids[path])
    lines = [] if label_file is None else split_lines(read_text(label_file))
    objects = parse_lines(lines, partial(parse, size=(width, height)), label_file or path)
    quads = np.array([quad for quad, *_ in objects], dtype=np.float64).reshape(-1, 4, 2)
    scores = [score for *_, score in objects]
    return ImageRecord.from_quads(
        image_id=ids[path],
        quads=quads,
        labels=np.array([label for _, label, _ in objects], dtype=np.int64),
        scores=np.array(scores, dtype=np.float64) if scores and None not in scores else None,
        path=path,
        width=width,
        height=height,
    )


def _object(line: str, classes: _Classes, size: tuple[int, int]) -> tuple[list[float], int, float | None]:
    """Return a line's quad in pixels, its label, and its confidence."""
    fields = line.split()
    score = None
    if len(fields) == _SCORED:
        (score,) = parse_numbers(fields[-1:], "a confidence", _LINE)
        if not 0 <= score <= 1:
            raise LineError(f"expected a confidence from 0 to 1 after 8 coordinates, got {quoted(fields[-1])}", _LINE)
        fields = fields[:-1]
    if len(fields) != 5 and (len(fields) < 7 or len(fields) % 2 == 0):
        remedy = f"{NO_COMMAS} {_LINE}" if "," in line else f"{_LINE}\n{_SIX}" if len(fields) == 6 else _LINE
        raise LineError(f"expected a class and 8 coordinates, got {len(fields)} fields", remedy)
    if (corners := len(fields) // 2) > MOST_CORNERS:
        raise LineError(f"expected an outline of at most {MOST_CORNERS:,} corners, got {corners:,}", _LINE)
    number = parse_index(fields[0], "the class")
    numbers = parse_numbers(fields[1:], f"{len(fields) - 1} coordinates", _LINE)
    if not -FARTHEST <= min(numbers) <= max(numbers) <= 1 + FARTHEST:
        wrong = max(range(len(numbers)), key=lambda i: abs(numbers[i]))
        place = sum(len(field) + 1 for field in fields[1 : wrong + 1])
        found = quoted(" ".join(fields[1:]), place, marks=False)
        raise LineError(f"expected coordinates divided by the image's size, got {found}", _LINE)
    label = _label(number, classes)
    if len(numbers) == 4:
        cx, cy, w, h = numbers
        numbers = upright_quad(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
    # First to pixels, since a rectangle in shares of two different sides is a parallelogram on the image.
    width, height = size
    return quad_around([share * (height if i % 2 else width) for i, share in enumerate(numbers)]), label, score


def _label(number: int, classes: _Classes) -> int:
    if number >= len(classes.written):
        raise LineError(f"expected a class from 0 to {len(classes.written) - 1}, got {number}", CORRECT_OR_NAME)
    return find_class(classes.written[number], classes.names)


def _longside(line: str, classes: _Classes, size: tuple[int, int]) -> tuple[list[float], int, float | None]:
    """Do the work of `_object` for yolov5_obb's lines."""
    fields = line.split()
    if len(fields) != 6:
        raise LineError(f"expected a class, 4 shares and an angle, got {len(fields)} fields", _LONGSIDE)
    number = parse_index(fields[0], "the class")
    cx, cy, w, h, degrees = parse_numbers(fields[1:], "5 numbers", _LONGSIDE)
    if not -FARTHEST <= min(cx, cy) <= max(cx, cy, w, h) <= 1 + FARTHEST or min(w, h) < 0:
        found = quoted(" ".join(fields[1:5]))
        raise LineError(f"expected shares of the image's size, with sides of 0 or more, got {found}", _LONGSIDE)
    if not -180 <= degrees <= 180:
        raise LineError(f"expected an angle from 0 to 180 degrees, got {quoted(fields[5])}", _LONGSIDE)
    shares = rbox_to_quad(np.array([cx, cy, w, h, math.radians(degrees)]))
    return [float(value) for value in (shares * size).ravel()], _label(number, classes), None


def write(
    records: Iterable[ImageRecord],
    root: Path,
    split: str | None,
    class_names: ClassNames,
    *,
    longside: bool = False,
) -> Path:
    """Write a label file per record, and data.yaml; see `rbox_formats.datasets.write`.

    Raises:
        FormatsError: If the size of a record's image is unknown.
        DatasetError: If there is a data.yaml with other names.
    """
    folder = root / "labels" / files.safe_name(split, root) if split else root / "labels"
    folder.mkdir(parents=True, exist_ok=True)
    _write_yaml(root, split, class_names)
    for record in records:
        name = files.safe_path(f"{record.image_id}.txt", folder)
        quads = record.corners
        shares = quads / np.array(record.size, dtype=np.float64)
        if shares.size and not -FARTHEST <= shares.min() <= shares.max() <= 1 + FARTHEST:
            raise DatasetError(f"expected objects on or near the image {quoted(record.image_id)}, got one far outside")
        if longside:
            boxes = quad_to_rbox(shares)
            boxes[:, 4] = np.degrees(boxes[:, 4]) % 180
            rows = zip(record.labels.tolist(), boxes.tolist(), strict=True)
            lines = [" ".join([str(label), *map(shortest, box)]) for label, box in rows]
            files.write_text(folder / name, "".join(f"{line}\n" for line in lines))
            continue
        lines = [
            " ".join([str(label), *map(shortest, quad)])
            for label, quad in zip(record.labels.tolist(), shares.reshape(-1, 8).tolist(), strict=True)
        ]
        files.write_text(folder / name, "".join(f"{line}\n" for line in lines))
    return folder


def _write_yaml(root: Path, split: str | None, class_names: ClassNames) -> None:
    path = root / _YAML_FILES[0]
    there = read_text(path) if path.is_file() else None
    names = None if there is None else _names.from_yaml(path, "names")
    if names is not None and tuple(names) != tuple(class_names):
        remedy = "Write into another folder, or convert with the same classes."
        raise DatasetError(f"expected the names {listed(class_names)}, got {listed(names)}", path=path, remedy=remedy)
    text = there or ""
    text += "" if not text or text.endswith("\n") else "\n"
    key = split or "train"
    if not any(line.partition(":")[0].strip(" \"'") == key for line in split_lines(text)):
        # JSON's strings are YAML's.
        text += f"{json.dumps(key)}: {json.dumps(f'images/{split}' if split else 'images')}\n"
    files.write_text(path, text + (_names.to_yaml(class_names, "names") if names is None else ""))
