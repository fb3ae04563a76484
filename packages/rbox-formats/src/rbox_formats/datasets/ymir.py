"""YMIR's `det-ark:raw` (also `ark:raw`): an index of images and text files, boxes with a rotation angle.

An index file `<split>-index.tsv` (`index.tsv` without a split) has a line per image, two paths with a tab between,

    /in/assets/02/1c5c43.jpg<TAB>/in/annotations/02/1c5c43.txt

and an annotation file a line per object,

    class_id, xmin, ymin, xmax, ymax, quality, rotate_angle

The five first are whole numbers, in pixels; the box is upright and is turned around its centre by `rotate_angle`, in
radians. The quality of the annotation (default: -1.0) is not kept, and is written as -1.0. Older versions leave out
quality and angle: the angle is then 0.

- The last pixel counts: the platform writes xmax = xmin + width - 1, so that a width is xmax - xmin + 1 here, and the
  centre xmin + width / 2. (Source: IndustryEssentials/ymir, ymir/command/mir/tools/exporter.py. Some of its consumers,
  ymir-mmrotate among them, take xmax - xmin: half a pixel.)
- The angle's unit: radians (source: dataset-format.md of modelai/ymir-executor-fork). Its sign: positive is clockwise
  on the screen, since modelai/ymir-mmrotate passes it to MMRotate's `rbox2qbox` unchanged; no statement of the platform
  itself was found. Its range: any on reading; `le90`, [-pi/2, pi/2), on writing.

On disk: `<root>` is what the platform mounts as `/in`; paths that begin with `/in/` and paths relative to `<root>` are
inside it, all others are refused. An asset may be missing: the annotation stands without its image then. The id of an
image is the name of its annotation file without suffix.

The classes: `class_names` in `<root>/config.yaml` (the platform's own) or `<root>/env.yaml`; names that the caller
gives are looked up by those of the file, and number the classes where it names none.

Written are `annotations/[<split>/]<image_id>.txt`, the index with images in `assets/[<split>/]`, and config.yaml, if it
is not there. Boxes are rounded to whole pixels, at least 1, by at most half a pixel in their centres and sizes;
annotated quads become their boxes. There is no place for what is difficult, for scores and for metadata.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rbox_formats import files
from rbox_formats._geometry import canonical_le90
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets import _names
from rbox_formats.datasets._images import find_image, image_name, inside
from rbox_formats.errors import DatasetError, listed, quoted
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

__all__ = ["images", "read", "write"]

_MOUNT = "/in/"
_LINE = "A line reads: class_id, xmin, ymin, xmax, ymax, quality, rotate_angle"
_NAME_FILES = ("config.yaml", "env.yaml")


class _Source(NamedTuple):
    """A line of the index: the image's name relative to the dataset's folder, and its annotation file."""

    asset: str
    annotation: Path


def read(root: Path, split: str | None, class_names: ClassNames | None) -> Dataset:
    """Open what YMIR exported; see `rbox_formats.datasets.read`."""
    index = _index_file(root, split)
    sources = parse_lines(split_lines(read_text(index)), partial(_source, root=root), index)
    ids: dict[str, str] = {}
    for source in sources:
        image_id = source.annotation.stem
        if image_id in ids:
            found = f"{quoted(image_id)} for {quoted(ids[image_id])} and {quoted(source.asset)}"
            raise DatasetError(f"expected annotation files of different names, got {found}", path=index)
        ids[image_id] = source.asset
    written = _names_beside(root)
    names = written if class_names is None else class_names
    if names is None:
        remedy = "Write the names there, or give them (--class-names, class_names=)."
        raise DatasetError("expected class_names in config.yaml, found none", path=root, remedy=remedy)
    load = partial(_load, root=root, class_names=names, written=names if written is None else written)
    return Dataset(names, sources, load)


def images(root: Path, split: str | None) -> Path:
    """Return where a split's images belong; see `Format.images`."""
    return root / "assets" / files.safe_name(split, root) if split else root / "assets"


def _index_file(root: Path, split: str | None) -> Path:
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
    return path


def _source(line: str, root: Path) -> _Source:
    fields = line.strip().split("\t")
    if len(fields) != 2:
        message = f"expected the paths of an image and its annotations with a tab between, got {quoted(line.strip())}"
        raise LineError(message)
    asset, annotation = (field.strip().removeprefix(_MOUNT) for field in fields)
    try:
        inside(asset, root, root)
        return _Source(asset, inside(annotation, root, root))
    except DatasetError as error:
        raise LineError(
            str(error), f"Paths begin with {_MOUNT}, which stands for {root}, or are relative to it."
        ) from None


def _names_beside(root: Path) -> ClassNames | None:
    for path in (root / name for name in _NAME_FILES):
        if path.is_file() and (names := _names.from_yaml(path, "class_names")) is not None:
            return names
    return None


def _load(source: _Source, root: Path, class_names: ClassNames, written: ClassNames) -> ImageRecord:
    parse = partial(_object, class_names=class_names, written=written)
    objects = parse_lines(split_lines(read_text(source.annotation)), parse, source.annotation)
    image = find_image(source.asset, root, [root])
    return ImageRecord(
        image_id=source.annotation.stem,
        boxes=canonical_le90(np.array([box for box, _ in objects], dtype=np.float64).reshape(-1, 5)),
        labels=np.array([label for _, label in objects], dtype=np.int64),
        path=image.path,
        width=image.width,
        height=image.height,
    )


def _object(line: str, class_names: ClassNames, written: ClassNames) -> tuple[list[float], int]:
    fields = [field.strip() for field in line.split(",")]
    if len(fields) not in (5, 6, 7):
        raise LineError(f"expected 7 values with commas between, got {len(fields)}", _LINE)
    number = parse_index(fields[0], "class_id")
    x0, y0, x1, y1 = parse_numbers(fields[1:5], "4 coordinates", _LINE)
    if not all(value.is_integer() for value in (x0, y0, x1, y1)):
        raise LineError(f"expected 4 whole numbers, got {listed(fields[1:5])}", _LINE)
    if x1 < x0 or y1 < y0:
        raise LineError(f"expected xmin <= xmax and ymin <= ymax, got {listed(fields[1:5])}", _LINE)
    rest = parse_numbers(fields[5:], "a quality and an angle", _LINE)
    if number >= len(written):
        raise LineError(f"expected a class_id from 0 to {len(written) - 1}, got {number}", CORRECT_OR_NAME)
    w, h = x1 - x0 + 1, y1 - y0 + 1
    angle = rest[1] if len(rest) == 2 else 0.0
    return [x0 + w / 2, y0 + h / 2, w, h, angle], find_class(written[number], class_names)


def write(records: Iterable[ImageRecord], root: Path, split: str | None, class_names: ClassNames) -> Path:
    """Write an annotation file per record, the index and the names; see `rbox_formats.datasets.write`.

    Raises:
        DatasetError: If there is a config.yaml with other names.
    """
    folder = root / "annotations" / files.safe_name(split, root) if split else root / "annotations"
    folder.mkdir(parents=True, exist_ok=True)
    _write_names(root, class_names)
    index = root / (f"{split}-index.tsv" if split else "index.tsv")
    part = f"{split}/" if split else ""
    with files.replacing(index) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        for record in records:
            name = files.safe_name(f"{record.image_id}.txt", folder)
            if any(character in name for character in "\t\r\n") or name != name.strip():
                raise DatasetError(
                    f"expected an image's name that fits a line of an index, got {quoted(record.image_id)}"
                )
            _write_record(record, folder / name)
            stream.write(f"{_MOUNT}assets/{part}{image_name(record)}\t{_MOUNT}annotations/{part}{name}\n")
    return folder


def _write_names(root: Path, class_names: ClassNames) -> None:
    names = _names_beside(root)
    if names is None:
        path = root / _NAME_FILES[0]
        before = read_text(path) if path.is_file() else ""
        before += "" if not before or before.endswith("\n") else "\n"
        files.write_text(path, before + _names.to_yaml(class_names, "class_names", numbered=False))
    elif tuple(names) != tuple(class_names):
        remedy = "Write into another folder, or convert with the same classes."
        raise DatasetError(f"expected the names {listed(class_names)}, got {listed(names)}", path=root, remedy=remedy)


def _write_record(record: ImageRecord, path: Path) -> None:
    boxes = canonical_le90(record.boxes)
    sizes = np.maximum(1, np.round(boxes[:, 2:4]))
    corners = np.round(boxes[:, :2] - sizes / 2)
    rows = np.concatenate([corners, corners + sizes - 1], axis=1).astype(np.int64).tolist()
    lines = [
        f"{', '.join(map(str, [label, *row]))}, -1.0, {shortest(angle)}\n"
        for label, row, angle in zip(record.labels.tolist(), rows, boxes[:, 4].tolist(), strict=True)
    ]
    files.write_text(path, "".join(lines))
