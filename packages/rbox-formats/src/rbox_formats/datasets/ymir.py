"""YMIR's exports: an index of images and annotations, whose boxes are upright ones and an angle that turns them.

An index file `<split>-index.tsv` (`index.tsv` without a split) has a line per image, two paths with a tab between,

    /in/assets/02/1c5c43.jpg<TAB>/in/annotations/02/1c5c43.txt

The suffix of the annotation file is its format. In all of them the box (xmin, ymin, xmax, ymax) is turned around its
centre by the angle, and the last pixel counts.

- `.txt`, the platform's `ark` and `det-ark`, a line per object, its class by its place in the list of classes:

      class_id, xmin, ymin, xmax, ymax, quality, rotate_angle

  The five first are whole numbers. Older versions leave out quality and angle: the angle is then 0.
- `.xml`, its `voc` and `det-voc`: Pascal VOC with the angle in the box.

      <object> <name>ship</name> <difficult>0</difficult> <bndbox> <xmin> <ymin> <xmax> <ymax>
        <rotate_angle>0.5236</rotate_angle> </bndbox> <box_quality>-1.0</box_quality> </object>

- `.json`, its `coco` and `seg-coco`: one COCO file for all images, found there by their names. An outline of four
  corners is the annotated quad; of any other, and of a mask in run lengths, it is the least rectangle.

What the numbers mean:

- *The last pixel*: the platform writes xmax = xmin + width - 1, so that a width is xmax - xmin + 1 here, and the
  centre xmin + width / 2. (Source: IndustryEssentials/ymir, ymir/command/mir/tools/exporter.py. Some of its consumers,
  ymir-mmrotate among them, take xmax - xmin: half a pixel.)
- *The angle's unit*: radians (source: dataset-format.md of modelai/ymir-executor-fork). The platform's own sources say
  "unit in pi", and pass the number on unchanged: for data that were made so, the formats "ymir-pi" and "ymir-voc-pi"
  take 0.5 as 90 degrees.
- *The angle's sign*: positive is clockwise on the screen, since modelai/ymir-mmrotate passes it to MMRotate's
  `rbox2qbox` unchanged; no statement of the platform itself was found. Its range: any on reading; `le90`,
  [-pi/2, pi/2), on writing.
- *Quality*: of the annotation, -1.0 where none was given. Where one was, the record's metadata have the list
  `quality`, a number for each object.

On disk: `<root>` is what the platform mounts as `/in`; or it is the file env.yaml, which says where the lists and the
classes are. Paths that begin with `/in/`, absolute ones below `<root>` and paths relative to it are inside it; all
others are refused. An image without an annotation file, or with an empty one, has no objects. An asset may be missing:
the annotation stands without its image then. The id of an image is the name of its annotation file without suffix;
where one file is for all, that of the image. An index without lines is a dataset without images.

The classes: `class_names` in `<root>/config.yaml` (the platform's own) or `<root>/env.yaml`; names that the caller
gives are looked up by those of the file, and number the classes where it names none.

Written are `annotations/[<split>/]<image_id>.txt` ("ymir"), `.xml` ("ymir-voc"), or one `coco-annotations.json` there
("ymir-coco", whose categories count from 0); the index with images in `assets/[<split>/]`; and config.yaml, if it is
not there. Of txt and xml, boxes are rounded to whole pixels, at least 1, by at most half a pixel in their centres and
sizes; annotated quads become their boxes; xml has the angle with 4 decimals, as the platform writes it, and keeps what
is difficult. There is no place for scores and for other metadata.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rbox_formats import files, ymir
from rbox_formats._geometry import canonical_le90
from rbox_formats._records import ClassNames, Dataset, ImageRecord, Unmatched
from rbox_formats.datasets import _coco_shapes, _names, _voc, coco
from rbox_formats.datasets._images import find_image, image_name
from rbox_formats.datasets._voc import Shape
from rbox_formats.errors import DatasetError, listed, quoted
from rbox_formats.images import stem_of
from rbox_formats.parsing import json_values, xml_elements
from rbox_formats.parsing.json_values import Value
from rbox_formats.parsing.lines import (
    CORRECT_OR_NAME,
    LineError,
    find_class,
    parse_index,
    parse_lines,
    parse_numbers,
    read_text,
    shortest,
    split_lines,
)
from rbox_formats.parsing.xml_elements import Element, ElementError, Node

__all__ = ["images", "read", "write"]

_LINE = "A line reads: class_id, xmin, ymin, xmax, ymax, quality, rotate_angle"
_NAME_FILES = ("config.yaml", "env.yaml")
_JSON = "coco-annotations.json"
_NO_QUALITY = -1.0
_DECIMALS = 4  # of an angle in XML

#: What an angle of 1 is, in radians.
RADIANS, PI = 1.0, math.pi


class _Place(NamedTuple):
    """Where a dataset is: its folder, the index of a part of it, and where its class names may be."""

    root: Path
    lists: Path
    name_files: tuple[Path, ...]


class _Source(NamedTuple):
    """A line of the index: the image's name relative to the dataset's folder, and its annotation file."""

    asset: str
    annotation: Path

    @property
    def image_id(self) -> str:
        """The name of the annotation file, or, where it is for many images, that of the image."""
        return stem_of(self.asset) if self.annotation.suffix.lower() == ".json" else self.annotation.stem


class _Classes(NamedTuple):
    """The classes that the labels index, and those that the numbers in the files index."""

    names: ClassNames
    written: ClassNames


def read(root: Path, split: str | None, class_names: ClassNames | None, *, unit: float = RADIANS) -> Dataset:
    """Open what YMIR exported; see `rbox_formats.datasets.read`.

    Args:
        root: The folder, or the file env.yaml.
        split: A part of the dataset: of env.yaml "train" or "val".
        class_names: As of `rbox_formats.datasets.read`.
        unit: What an angle of 1 is, in radians.
    """
    place = _place(root, split)
    sources = parse_lines(split_lines(read_text(place.lists)), partial(_source, root=place.root), place.lists)
    ids: dict[str, str] = {}
    for source in sources:
        if source.image_id in ids:
            found = f"{quoted(source.image_id)} for {quoted(ids[source.image_id])} and {quoted(source.asset)}"
            raise DatasetError(f"expected annotation files of different names, got {found}", path=place.lists)
        ids[source.image_id] = source.asset
    written = _names_in(place.name_files)
    names = written if class_names is None else class_names
    if names is None:
        remedy = "Write the names there, or give them (--class-names, class_names=)."
        raise DatasetError("expected class_names in config.yaml, found none", path=place.root, remedy=remedy)
    classes = _Classes(names, names if written is None else written)
    documents = {
        path: _document(path) for path in {each.annotation for each in sources} if path.suffix.lower() == ".json"
    }
    load = partial(_load, root=place.root, classes=classes, unit=unit, documents=documents)
    return Dataset(names, sources, load, _unlabelled(sources, place.root))


def images(root: Path, split: str | None) -> Path:
    """Return where a split's images belong; see `Format.images`."""
    return root / "assets" / files.safe_name(split, root) if split else root / "assets"


def _place(root: Path, split: str | None) -> _Place:
    if root.is_file() and root.suffix.lower() in (".yaml", ".yml"):
        env = ymir.read_env(root)
        indexes = {"train": env.input.training_index_file, "val": env.input.val_index_file}
        index = indexes.get(split or "train")
        if index is None or not index.is_file():
            raise DatasetError(
                f"expected a list of the images of {quoted(split or 'train')}, found none",
                path=index or root,
                remedy="env.yaml names lists for train and val.",
            )
        return _Place(env.input.root_dir, index, (env.input.config_file,))
    if not root.is_dir():
        raise DatasetError(
            "expected a dataset folder, found none", path=root, remedy="Give the folder that has index.tsv in it."
        )
    path = root / (f"{files.safe_name(split, root)}-index.tsv" if split else "index.tsv")
    if not path.is_file():
        splits = [found.name.removesuffix("-index.tsv") for found in files.visible(root) if "-index.tsv" in found.name]
        remedy = "Give the folder that has an index file in it, index.tsv or <split>-index.tsv."
        if splits:
            remedy = f"It has the splits {', '.join(splits)}: choose one (--split)."
        raise DatasetError("expected an index file, found none", path=path, remedy=remedy)
    return _Place(root, path, tuple(root / name for name in _NAME_FILES))


def _source(line: str, root: Path) -> _Source:
    fields = line.strip("\r\n").split("\t")
    if len(fields) != 2:
        message = f"expected the paths of an image and its annotations with a tab between, got {quoted(line.strip())}"
        raise LineError(message)
    try:
        asset, annotation = (ymir.below(field.strip(), root) for field in fields)
    except DatasetError as error:
        message, _, remedy = str(error).partition("\n")
        raise LineError(message, remedy) from None
    return _Source(asset.relative_to(root).as_posix(), annotation)


def _unlabelled(sources: Iterable[_Source], root: Path) -> Unmatched:
    """Return the images without an annotation file."""
    sources = list(sources)
    without = tuple(root / source.asset for source in sources if not source.annotation.is_file())
    return Unmatched(without, as_empty=True, image_count=len(sources), label_count=len(sources) - len(without))


def _names_in(paths: Iterable[Path]) -> ClassNames | None:
    for path in paths:
        if path.is_file() and (names := _names.from_yaml(path, "class_names")) is not None:
            return names
    return None


def _load(
    source: _Source, root: Path, classes: _Classes, unit: float, documents: Mapping[Path, _Document | None]
) -> ImageRecord:
    path = source.annotation
    kind = path.suffix.lower()
    if kind == ".json":
        found = _of_json(documents[path], source, classes, unit)
    elif not path.is_file() or not path.stat().st_size:
        found = {}
    elif kind == ".xml":
        found = _of_xml(path, classes, unit)
    else:
        found = _of_text(path, classes, unit)
    image = find_image(source.asset, root, [root])
    size = {"width": image.width, "height": image.height} if image.path else {}
    empty = {"boxes": np.zeros((0, 5)), "labels": np.zeros(0, dtype=np.int64)}
    return ImageRecord(**{**empty, **found, **size}, image_id=source.image_id, path=image.path)


def _of_text(path: Path, classes: _Classes, unit: float) -> dict[str, Any]:
    """Return the fields of a record from an `ark` file."""
    objects = parse_lines(split_lines(read_text(path)), partial(_object, classes=classes, unit=unit), path)
    return {
        "boxes": canonical_le90(np.array([each.box for each in objects], dtype=np.float64).reshape(-1, 5)),
        "labels": np.array([each.label for each in objects], dtype=np.int64),
        "metadata": _qualities([each.quality for each in objects]),
    }


class _Object(NamedTuple):
    """A line of an `ark` file: box, label, quality."""

    box: list[float]
    label: int
    quality: float


def _object(line: str, classes: _Classes, unit: float) -> _Object:
    fields = [field.strip() for field in line.split(",")]
    if len(fields) not in (5, 6, 7):
        raise LineError(f"expected 7 values with commas between, got {len(fields)}", _LINE)
    number = parse_index(fields[0], "class_id")
    corners = parse_numbers(fields[1:5], "4 coordinates", _LINE)
    if (wrong := _wrong(corners)) is not None:
        raise LineError(f"expected {wrong}, got {listed(fields[1:5])}", _LINE)
    rest = parse_numbers(fields[5:], "a quality and an angle", _LINE)
    if number >= len(classes.written):
        raise LineError(f"expected a class_id from 0 to {len(classes.written) - 1}, got {number}", CORRECT_OR_NAME)
    box = _box(corners, rest[1] * unit if len(rest) == 2 else 0.0)
    return _Object(box, find_class(classes.written[number], classes.names), rest[0] if rest else _NO_QUALITY)


def _wrong(corners: list[float]) -> str | None:
    """Return what was expected of a box's corners; None where they are right."""
    x0, y0, x1, y1 = corners
    if not all(value.is_integer() for value in corners):
        return "4 whole numbers"
    return "xmin <= xmax and ymin <= ymax" if x1 < x0 or y1 < y0 else None


def _box(corners: list[float], angle: float) -> list[float]:
    x0, y0, x1, y1 = corners
    w, h = x1 - x0 + 1, y1 - y0 + 1
    return [x0 + w / 2, y0 + h / 2, w, h, angle]


def _qualities(found: list[float]) -> dict[str, Any]:
    return {"quality": found} if any(quality != _NO_QUALITY for quality in found) else {}


def _of_xml(path: Path, classes: _Classes, unit: float) -> dict[str, Any]:
    """Return the fields of a record from a `voc` file."""

    def parse(root: Element) -> dict[str, Any]:
        found = _voc.parse(root, classes.names, lambda element: Shape(_box_of(element, unit)))
        qualities = [
            xml_elements.number(element, "box_quality") if element.find("box_quality") is not None else _NO_QUALITY
            for element in root.iterfind("object")
        ]
        return {
            "boxes": canonical_le90(found.boxes),
            "labels": found.labels,
            "difficult": found.difficult,
            "width": found.width,
            "height": found.height,
            "metadata": {**found.metadata, **_qualities(qualities)},
        }

    return xml_elements.read(path, parse)


def _box_of(element: Element, unit: float) -> list[float]:
    place = xml_elements.child(element, "bndbox")
    corners = [xml_elements.number(place, tag) for tag in _voc.UPRIGHT_TAGS]
    if (wrong := _wrong(corners)) is not None:
        raise ElementError(f"expected {wrong}, got {' '.join(f'{value:g}' for value in corners)}", place)
    angle = xml_elements.number(place, "rotate_angle") if place.find("rotate_angle") is not None else 0.0
    return _box(corners, angle * unit)


class _Document(NamedTuple):
    """A COCO file: the annotations by the names of their images, and the names of the classes by their ids."""

    annotations: dict[str, list[Value]]
    classes: dict[int, str]


def _document(path: Path) -> _Document | None:
    if not path.is_file():
        return None
    whole = json_values.read(path)
    by_id: dict[int, list[Value]] = {}
    by_name: dict[str, list[Value]] = {}
    for image in whole["images"].items():
        name = image["file_name"].text().replace("\\", "/").rpartition("/")[2]
        if name in by_name:
            raise image["file_name"].error("a file name that no other image has")
        by_name[name] = by_id[image["id"].integer()] = []
    for annotation in whole["annotations"].items():
        number = annotation["image_id"].integer()
        if number not in by_id:
            raise annotation["image_id"].error("the id of one of the images")
        by_id[number].append(annotation)
    return _Document(by_name, {each["id"].integer(): each["name"].text() for each in whole["categories"].items()})


def _of_json(document: _Document | None, source: _Source, classes: _Classes, unit: float) -> dict[str, Any]:
    """Return the fields of a record from a `coco` file."""
    if document is None:
        return {}
    annotations = document.annotations.get(source.asset.rpartition("/")[2], [])
    labels, shapes = [], []
    for annotation in annotations:
        number = annotation["category_id"]
        name = document.classes.get(number.integer())
        label = None if name is None else classes.names.find(name)
        if label is None:
            raise number.error(f"the id of a class among {listed(classes.names)}", CORRECT_OR_NAME)
        labels.append(label)
        shapes.append(_shape(annotation, unit))
    boxes, quads = _coco_shapes.arrays_of(shapes)
    return {"boxes": boxes, "quads": quads, "labels": np.array(labels, dtype=np.int64)}


def _shape(annotation: Value, unit: float) -> _coco_shapes.Shape:
    found = _coco_shapes.shape_of(annotation, (None, None))
    if found.box is not None and not found.mask and annotation.has("rotate_angle"):
        return _coco_shapes.Shape(None, [*found.box[:4], annotation["rotate_angle"].number() * unit])
    return found


def write(
    records: Iterable[ImageRecord],
    root: Path,
    split: str | None,
    class_names: ClassNames,
    *,
    suffix: str = ".txt",
    unit: float = RADIANS,
) -> Path:
    """Write the annotations, the index and the names; see `rbox_formats.datasets.write`.

    Args:
        records: The records.
        root: The dataset's folder.
        split: A part of the dataset.
        class_names: The classes that the labels index.
        suffix: The format: ".txt", ".xml" or ".json".
        unit: What an angle of 1 is, in radians.

    Raises:
        DatasetError: If there is a config.yaml with other names.
    """
    folder = root / "annotations" / files.safe_name(split, root) if split else root / "annotations"
    folder.mkdir(parents=True, exist_ok=True)
    _write_names(root, class_names)
    part = f"{split}/" if split else ""
    with _index(root / (f"{split}-index.tsv" if split else "index.tsv"), part, folder) as note:
        if suffix == ".json":
            coco.write_file(folder / _JSON, records, class_names, first=0, note=lambda record: note(record, _JSON))
            return folder
        for record in records:
            name = files.safe_name(f"{record.image_id}{suffix}", folder)
            note(record, name)
            if suffix == ".xml":
                _write_xml(record, folder / name, class_names, unit)
            else:
                _write_text(record, folder / name, unit)
    return folder


@contextmanager
def _index(path: Path, part: str, folder: Path) -> Iterator[Callable[[ImageRecord, str], None]]:
    """Yield a function that adds a line to the index."""
    with files.replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:

        def note(record: ImageRecord, name: str) -> None:
            image = files.safe_name(image_name(record), folder)
            if any(character in image for character in "\t\r\n") or image != image.strip():
                raise DatasetError(
                    f"expected an image's name that fits a line of an index, got {quoted(record.image_id)}"
                )
            stream.write(f"{ymir.MOUNT}/assets/{part}{image}\t{ymir.MOUNT}/annotations/{part}{name}\n")

        yield note


def _write_names(root: Path, class_names: ClassNames) -> None:
    names = _names_in(root / name for name in _NAME_FILES)
    if names is None:
        path = root / _NAME_FILES[0]
        before = read_text(path) if path.is_file() else ""
        before += "" if not before or before.endswith("\n") else "\n"
        files.write_text(path, before + _names.to_yaml(class_names, "class_names", numbered=False))
    elif tuple(names) != tuple(class_names):
        remedy = "Write into another folder, or convert with the same classes."
        raise DatasetError(f"expected the names {listed(class_names)}, got {listed(names)}", path=root, remedy=remedy)


def _corners(record: ImageRecord, unit: float) -> Iterator[tuple[list[int], float, float]]:
    """Yield of each object the corners in whole pixels, the angle, and the quality."""
    boxes = canonical_le90(record.boxes)
    sizes = np.maximum(1, np.round(boxes[:, 2:4]))
    corners = np.round(boxes[:, :2] - sizes / 2)
    rows = np.concatenate([corners, corners + sizes - 1], axis=1).astype(np.int64).tolist()
    return zip(rows, (boxes[:, 4] / unit).tolist(), _qualities_of(record), strict=True)


def _qualities_of(record: ImageRecord) -> list[float]:
    found = record.metadata.get("quality")
    if isinstance(found, list) and len(found) == len(record) and all(isinstance(value, int | float) for value in found):
        return [float(value) for value in found]
    return list(itertools.repeat(_NO_QUALITY, len(record)))


def _write_text(record: ImageRecord, path: Path, unit: float) -> None:
    lines = [
        f"{', '.join(map(str, [label, *row]))}, {quality}, {shortest(angle)}\n"
        for label, (row, angle, quality) in zip(record.labels.tolist(), _corners(record, unit), strict=True)
    ]
    files.write_text(path, "".join(lines))


def _write_xml(record: ImageRecord, path: Path, class_names: ClassNames, unit: float) -> None:
    def shapes(record: ImageRecord) -> Iterator[Node]:
        for row, angle, _ in _corners(record, unit):
            tags = zip(_voc.UPRIGHT_TAGS, map(str, row), strict=True)
            yield "bndbox", [*tags, ("rotate_angle", f"{angle:.{_DECIMALS}f}")]

    qualities = [("box_quality", str(quality)) for quality in _qualities_of(record)]
    _voc.write_record(path, record, class_names, shapes, more=qualities)
