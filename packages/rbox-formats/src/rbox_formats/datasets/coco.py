"""COCO's JSON: one file for all images, with upright or rotated boxes and outlines.

    {"images": [{"id": 1, "file_name": "P0001.png", "width": 1024, "height": 768}, ...],
     "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [...], "segmentation": [[...]],
                      "area": 200.0, "iscrowd": 0, "ignore": 0}, ...],
     "categories": [{"id": 1, "name": "ship"}, ...]}

An object's place, in pixels of the image, is read from

- `segmentation`, a list of outlines [x1, y1, x2, y2, ...]: one of four corners (and perhaps the first once more at the
  end) is the annotated quad, as MMRotate and LMMRotate write it; of any other number of corners, or of several
  outlines, the least rectangle around them is taken.
- `segmentation` in run lengths, {"size": [height, width], "counts": ...}, the counts as a list or as the text that
  pycocotools makes of them: the least rectangle around the centres of the mask's pixels is the box.
- `bbox` of five numbers, [cx, cy, w, h, angle]: a rotated box, the angle in degrees, positive counter-clockwise on the
  screen, of any range. This is detectron2's convention (`RotatedBoxes`, `BoxMode.XYWHA_ABS`). COCO itself has none, and
  files with radians or clockwise angles must be converted first. If there is a segmentation as well, that is the quad,
  and this the box.
- `rbbox`, [cx, cy, w, h, angle]: a rotated box, the angle in radians, clockwise, as in SKU110K-R. If there is a
  segmentation as well, that is the quad, and this the box.
- `bbox` of four numbers, [x, y, w, h] from the upper left corner: an upright box, if there is nothing else. Where
  `attributes` has a `rotation` of more than zero, as CVAT exports a turned rectangle, the box is turned by it: degrees,
  clockwise, about its centre; other keys that look like an angle are named by `inspect`, and not read.

If any segmentation of the file is more than one outline of four corners, the records have masks: run lengths and
outlines unchanged, and of an object without them its quad or its box. CVAT exports a mask in run lengths as a crowd.

An image's record has quads if any of its annotations has outlines, or there are none. `iscrowd` and `ignore` both make
an object difficult, which is written as `ignore` (an evaluation with pycocotools goes by `iscrowd` alone). `score` is
read where each annotation of the image has one. Labels follow the categories in the order of their ids. Images without
annotations are kept. Whatever else an image says (its `id` as well) is the record's metadata and is written back;
`area`, and what else an annotation or category says, is not kept.

Two formats differ in what they write. "coco": the mask, or the quad, or the box's corners, as segmentation, and the
upright box around it as bbox. "coco-rotated": bbox with five numbers, the angle in [-90, 90), and a segmentation only
for masks and annotated quads. Polygons stay polygons; run lengths are compressed.

On disk, read: the file itself as `root`, or for a split `annotations/instances_<split>.json`,
`annotations/<split>.json`, `Annotations/<split>.json`, `<split>.json`, `<split>/_annotations.coco.json` (Roboflow) or
`<split>/<split>.json`; without one `annotations.json`, `_annotations.coco.json` or the only JSON file in `root` or in
`annotations`; RSPrompter's `annotations/NWPU_instances_<split>.json`, `SSDD_instances_...` and `WHU_building_...` too.
A `file_name` is looked for in `images/<split>`, `<split>/images`, `<split>`, `imgs/<split>/image`, `images`, `root` and
`imgs`; it may have folders, but never leaves the dataset's: a path that would (absolute, with a drive, from `..`) is
looked for without its first folders, down to its last part. An image's id is its file's name without suffix, or its
path if two names are equal. Written: `annotations/instances_<split>.json`, without a split `annotations.json`, or
`root` itself where it ends in .json.

The whole file is parsed when the dataset is opened, and held: about ten times its size. Writing holds one record at a
time, and the ids of the images.

Source: cocodataset.org/#format-data; facebookresearch/detectron2, detectron2/structures/rotated_boxes.py; for `rbbox`,
Anymake/DRN_CVPR2020 and yangxue0827/RotationDetection, which turns by it (`coordinate_convert_r`).
"""

from __future__ import annotations

import itertools
import logging
import math
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rbox_formats import files
from rbox_formats._geometry import quad_area, quad_to_hbox, rbox_to_quad
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets import _names
from rbox_formats.datasets._coco_shapes import arrays_of, has_mask, masks_of, shape_of, unread_angles
from rbox_formats.datasets._images import find_named, ids_of, image_name
from rbox_formats.datasets._one_file import Layout, annotation_file, written_file
from rbox_formats.errors import listed, quoted
from rbox_formats.parsing import json_values
from rbox_formats.parsing.json_values import Value
from rbox_formats.parsing.lines import CORRECT_OR_NAME

__all__ = ["images", "read", "write"]

_LAYOUT = Layout(
    by_split=(
        "annotations/instances_{split}.json",
        "annotations/{split}.json",
        "Annotations/{split}.json",
        "{split}.json",
        "{split}/_annotations.coco.json",
        "{split}/{split}.json",
        *(f"annotations/{name}_{{split}}.json" for name in ("NWPU_instances", "SSDD_instances", "WHU_building")),
    ),
    whole=("annotations.json", "_annotations.coco.json"),
)


# With at least this number of rotated boxes, it is no chance that all angles are small.
_SOME = 5

_logger = logging.getLogger("rbox_formats")


class _Source(NamedTuple):
    """An image's entry, those of its annotations, and its id."""

    image: Value
    annotations: list[Value]
    image_id: str


class _Categories(NamedTuple):
    """The names of the records' labels, and the names of the file by its ids."""

    names: ClassNames
    by_id: dict[int, str]


def file_of(root: Path, split: str | None = None) -> Path:
    """Return the dataset's JSON file, which is needed to read COCO results.

    Raises:
        DatasetError: If there is no such file, or, without a split, more than one candidate.
    """
    return annotation_file(root, split, _LAYOUT)[0]


def read(root: Path, split: str | None, class_names: ClassNames | None) -> Dataset:
    """Open a COCO file; see `rbox_formats.datasets.read`."""
    path, folder = annotation_file(root, split, _LAYOUT)
    document = json_values.read(path)
    by_id = categories_of(document)
    names = _names.checked([by_id[number] for number in sorted(by_id)], path) if class_names is None else class_names
    ids = image_ids_of(document)
    sources = {
        image["id"].integer(): _Source(image, [], ids[image["id"].integer()]) for image in document["images"].items()
    }
    for annotation in document["annotations"].items():
        number = annotation["image_id"].integer()
        if number not in sources:
            raise annotation["image_id"].error("the id of one of the images")
        sources[number].annotations.append(annotation)
    _say_if_radians(sources.values(), path)
    every = [annotation for source in sources.values() for annotation in source.annotations]
    _say_if_all_are_crowds(every, path)
    with_masks = any(map(has_mask, every))
    load = partial(_load, root=folder, split=split, categories=_Categories(names, by_id), with_masks=with_masks)
    return Dataset(names, list(sources.values()), load)


def _say_if_radians(sources: Iterable[_Source], path: Path) -> None:
    """Log a warning where angles may be radians: no rotated box of several has one beyond pi."""
    angles: list[float] = []
    for source in sources:
        for annotation in source.annotations:
            box = annotation.value.get("bbox") if isinstance(annotation.value, dict) else None
            if isinstance(box, list) and len(box) == 5 and type(box[4]) in (int, float) and box[4]:
                angles.append(abs(box[4]))
                if angles[-1] > math.pi:
                    return
    if len(angles) >= _SOME:
        _logger.warning(
            "%s: none of the angles of %d rotated boxes is beyond pi: are they radians? They are read as degrees",
            path,
            len(angles),
        )


def _say_if_all_are_crowds(annotations: Iterable[Value], path: Path) -> None:
    """Log a warning where every mask in run lengths is a crowd: as CVAT exports all masks."""
    crowds = 0
    for annotation in annotations:
        values = annotation.value if isinstance(annotation.value, dict) else {}
        if isinstance(values.get("segmentation"), dict):
            if not values.get("iscrowd"):
                return
            crowds += 1
    if crowds >= _SOME:
        _logger.warning(
            "%s: all %d masks in run lengths have iscrowd, as CVAT writes with each: their objects count as difficult",
            path,
            crowds,
        )


def categories_of(document: Value) -> dict[int, str]:
    """Return the names of a file's categories by their ids, without those that only group others.

    A category without annotations that another one names as its supercategory is not a class: Roboflow writes such a
    root, which may have the name of a class.

    Raises:
        DatasetError: If two categories have the same id.
    """
    names: dict[int, str] = {}
    above: dict[int, Any] = {}
    for category in document["categories"].items():
        number = category["id"].integer()
        if number in names:
            raise category["id"].error("an id that no other category has")
        names[number] = category["name"].text()
        above[number] = category["supercategory"].value if category.has("supercategory") else None
    annotations = document["annotations"].items() if document.has("annotations") else ()
    used = {annotation["category_id"].integer() for annotation in annotations if annotation.has("category_id")}

    def heads(number: int) -> bool:
        return any(name == names[number] for other, name in above.items() if other != number)

    return {number: name for number, name in names.items() if number in used or not heads(number)}


def image_ids_of(document: Value) -> dict[int, str]:
    """Return the record ids of a file's images, by their COCO ids: file names without folders and suffix.

    If two images of a file have the same name, the ids of all are their paths without suffix, such as "cam1/0001", and
    of paths of another machine what follows the folders that all have.

    Raises:
        DatasetError: If two images have the same id, or the same path without suffix.
    """
    entries = list(document["images"].items())
    names = [entry["file_name"].text() for entry in entries]
    called = ids_of(names)
    found: dict[int, str] = {}
    for entry, image_id in zip(entries, called, strict=True):
        number = entry["id"].integer()
        if number in found:
            raise entry["id"].error("an id that no other image has")
        found[number] = image_id
    if len(set(called)) < len(called):
        twice = next(i for i, image_id in enumerate(called) if image_id in called[:i])
        raise entries[twice]["file_name"].error("a file name that no other image has, up to its suffix")
    return found


def images(root: Path, split: str | None) -> Path:
    """Return where a split's images belong; see `Format.images`."""
    root = root.parent if root.suffix == ".json" else root
    return root / "images" / files.safe_name(split, root) if split else root / "images"


def _load(source: _Source, root: Path, split: str | None, categories: _Categories, with_masks: bool) -> ImageRecord:
    entry = source.image
    parts = [f"images/{split}", f"{split}/images", split, f"imgs/{split}/image"] if split else []
    image = find_named(entry["file_name"], root, [root / part for part in [*parts, "images", ".", "imgs"]])
    width, height = (entry[key].side() if entry.has(key) else None for key in ("width", "height"))
    labels, shapes, difficult, scores = [], [], [], []
    passed_over: Counter[str] = Counter()
    for annotation in source.annotations:
        passed_over.update(unread_angles(annotation))
        labels.append(_label(annotation, categories))
        shapes.append(shape_of(annotation, (width, height)))
        difficult.append(any(annotation[key].flag() for key in ("iscrowd", "ignore") if annotation.has(key)))
        scores.append(annotation["score"].number() if annotation.has("score") else None)
    boxes, quads = arrays_of(shapes)
    known = ("file_name", "width", "height")
    return ImageRecord(
        image_id=source.image_id,
        boxes=boxes,
        quads=quads,
        labels=np.array(labels, dtype=np.int64),
        difficult=np.array(difficult, dtype=bool),
        scores=np.array(scores, dtype=np.float64) if scores and None not in scores else None,
        path=image.path,
        width=image.width if image.path else width,
        height=image.height if image.path else height,
        metadata={key: value for key, value in entry.value.items() if key not in known},
        stated_size=None if width is None or height is None else (width, height),
        passed_over=passed_over,
        masks=masks_of(shapes, rbox_to_quad(boxes) if quads is None else quads) if with_masks else None,
    )


def _label(annotation: Value, categories: _Categories) -> int:
    category = annotation["category_id"]
    name = categories.by_id.get(category.integer())
    if name is None:
        raise category.error("the id of one of the categories")
    label = categories.names.find(name)
    if label is None:
        raise category.error(f"a class among {listed(categories.names)}, not {quoted(name)}", CORRECT_OR_NAME)
    return label


def write(
    records: Iterable[ImageRecord],
    root: Path,
    split: str | None,
    class_names: ClassNames,
    *,
    rotated: bool = False,
) -> Path:
    """Write one COCO file; see `rbox_formats.datasets.write`.

    Args:
        records: The records, written one at a time.
        root: The dataset's folder, or the file.
        split: A part of the dataset, as in the module's text.
        class_names: The categories, with ids from 1.
        rotated: Whether `bbox` has five numbers, detectron2's rotated box, instead of COCO's four.

    Returns:
        The file.
    """
    return write_file(written_file(root, split, _LAYOUT), records, class_names, rotated=rotated)


def write_file(
    path: Path,
    records: Iterable[ImageRecord],
    class_names: ClassNames,
    *,
    rotated: bool = False,
    first: int = 1,
    note: Callable[[ImageRecord], None] = lambda record: None,
) -> Path:
    """Write one COCO file.

    Args:
        path: The file.
        records: The records, written one at a time.
        class_names: The categories.
        rotated: As of `write`.
        first: The id of the first category.
        note: Called with each record once it is written.

    Returns:
        The file.
    """
    used: set[int] = set()
    free = itertools.count(1)
    number = itertools.count(1)
    with (
        files.replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
        # Annotations are written to a temporary file first, since in the file they come after all images.
        tempfile.TemporaryFile("w+", dir=path.parent, encoding="utf-8", newline="") as waiting,
    ):
        stream.write('{"images": [')
        for index, record in enumerate(records):
            image_id = _image_id(record, used, free)
            stream.write((",\n" if index else "\n") + json_values.dump(_image(record, image_id)))
            for entry in _annotations(record, image_id, rotated, first):
                count = next(number)
                waiting.write((",\n" if count > 1 else "\n") + json_values.dump({"id": count, **entry}))
            note(record)
        stream.write('],\n"annotations": [')
        waiting.seek(0)
        shutil.copyfileobj(waiting, stream)
        categories = [{"id": label, "name": name} for label, name in enumerate(class_names, start=first)]
        stream.write(f'],\n"categories": {json_values.dump(categories)}}}\n')
    return path


def _image_id(record: ImageRecord, used: set[int], free: Iterable[int]) -> int:
    """Return the image's number: the one that it came with, unless another image already has it."""
    number = record.metadata.get("id")
    if not isinstance(number, int) or isinstance(number, bool) or number in used:
        number = next(candidate for candidate in free if candidate not in used)
    used.add(number)
    return number


def _image(record: ImageRecord, image_id: int) -> dict[str, Any]:
    name = files.safe_path(image_name(record), Path("images"))
    entry: dict[str, Any] = {"id": image_id, "file_name": name}
    if record.width is not None and record.height is not None:
        entry |= {"width": record.width, "height": record.height}
    return entry | {key: value for key, value in json_values.holdable(record.metadata).items() if key not in entry}


def _annotations(record: ImageRecord, image_id: int, rotated: bool, first: int) -> Iterable[dict[str, Any]]:
    corners = record.corners
    hboxes, areas = quad_to_hbox(corners), quad_area(corners)
    outlines = [[json_values.plain(quad)] for quad in corners.reshape(-1, 8).tolist()]
    if record.masks is not None:
        filled = record.masks.areas > 0
        hboxes[filled], areas[filled] = record.masks.bounds[filled], record.masks.areas[filled]
        outlines = record.masks.to_coco(record.width, record.height)
    uprights = np.concatenate([hboxes[:, :2], hboxes[:, 2:] - hboxes[:, :2]], axis=1)
    turned = np.concatenate([record.boxes[:, :4], -np.degrees(record.boxes[:, 4:])], axis=1)
    places = (turned if rotated else uprights).tolist()
    for i, area in enumerate(areas.tolist()):
        entry: dict[str, Any] = {
            "image_id": image_id,
            "category_id": int(record.labels[i]) + first,
            "bbox": json_values.plain(places[i]),
            "area": area,
            "iscrowd": 0,
            "ignore": int(record.difficult[i]),
        }
        if not rotated or record.quads is not None or record.masks is not None:
            entry["segmentation"] = outlines[i]
        if record.scores is not None:
            entry["score"] = float(record.scores[i])
        yield entry
