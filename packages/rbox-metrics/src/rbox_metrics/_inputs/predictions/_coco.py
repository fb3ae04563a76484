"""COCO's results: a JSON array of detections.

    [{"image_id": 7, "category_id": 1, "bbox": [...], "score": 0.9}, ...]

A detection's place is read from

- `bbox` of five numbers, [cx, cy, w, h, angle]: a rotated box, its angle in degrees, counter-clockwise on the screen,
  as in COCO files with ground truth (`rbox_formats.datasets.coco`, after detectron2), unless `convention` says
  otherwise. MMRotate's RotatedCocoMetric writes radians, clockwise, under the same key. So it is an error if no
  convention is given and the angles may be radians, since none is beyond pi. An angle in radians beyond 2 pi is an
  error, too;
- `rbox`: the same five numbers in radians, clockwise, as ultralytics writes it, whatever `convention` says;
- `bbox` of eight numbers, or `poly`: four corners, as MMRotate writes quads and ultralytics its boxes;
- `segmentation`, a list of outlines: one of four corners is the quad, of any other number the least rectangle around
  them is taken; of run lengths, the least rectangle around the centres of their pixels is the box;
- `bbox` of four numbers, [x, y, w, h] from the upper left corner: an upright box, if there is nothing else.

If any segmentation is more than one outline of four corners, the records have masks, and an object without a
segmentation has its quad or box as its mask.

`image_id`, if it is a text, is the image's id in the ground truth. If it is a number, it is the image's `id` in the
ground truth's COCO file; if the ground truth has another format, the image is the one whose name is that number
(ultralytics writes numeric names so). `category_id` is the id in the ground truth's COCO file. If only a list of class
names is known, ids count from 0 (MMRotate with datasets other than COCO) or from 1 (ultralytics); if neither 0 nor the
largest id is used, this is not decidable, and an error.

An image without detections is not in the file. Without ground truth, an image's id is its number as a text.

Source: cocodataset.org/#format-results; open-mmlab/mmrotate@1eec447 mmrotate/evaluation/metrics/rotated_coco_metric.py
(`results2json`), dota_metric.py; ultralytics 8.4 ultralytics/models/yolo/obb/val.py (`pred_to_json`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from rbox_formats import LE90, ClassNames, Convention, ImageRecord, convert, quad_around, quad_to_rbox, rbox_to_quad
from rbox_formats.errors import FormatsError, listed
from rbox_formats.masks import Mask, Masks, PolygonMask, RunMask, as_mask
from rbox_formats.parsing import json_values
from rbox_formats.parsing.json_values import Value

from rbox_metrics._inputs.predictions._source import ANGLES, MIXED_REMEDY, Context, Predictions, Source, angle_name
from rbox_metrics.errors import MetricsError

_ANNOTATIONS_REMEDY = (
    "Name the ground truth's COCO file (--annotations, in Python annotations=), which has these numbers."
)


# The default: the rule of COCO files with ground truth.
_DEGREES = ANGLES["degrees-counter-clockwise"]

# Angles up to the first may be radians in any range that is in use; up to the second, the unit makes no difference.
_MAY_BE_RADIANS, _UPRIGHT = math.pi, 1e-3
_A_TURN = 2 * math.pi + 1e-6


class _Detection(NamedTuple):
    image: str
    label: int
    score: float | None
    box: list[float] | None
    quad: list[float] | None
    mask: Mask | None = None
    turned: bool = False
    """Whether the box's angle is as `convention` says; otherwise it is in radians, clockwise."""


def read(source: Source) -> Predictions:
    """Read a results file; see `read_predictions`."""
    document = json_values.read(source.path)
    entries = list(document.items())
    names, labels = _classes(entries, source.context, document)
    found = [_detection(entry, source.context.image_ids, labels) for entry in entries]
    scored = sum(detection.score is not None for detection in found)
    if scored not in (0, len(found)):
        first = next(entry for entry, detection in zip(entries, found, strict=True) if detection.score is None)
        raise first.error("a key 'score'", MIXED_REMEDY)
    convention = _convention(entries, found, source.context, document)
    records = _records(found, convention or LE90) if found else []
    angles = None if convention is None else angle_name(convention)
    return Predictions.of(names, records, "coco-results", has_empty_images=False, angles=angles)


def _convention(entries: list[Value], found: list[_Detection], context: Context, document: Value) -> Convention | None:
    """Return how the angles of `bbox` are measured; None where there are none.

    Raises:
        DatasetError: If an angle in radians is beyond a whole turn.
        MetricsError: If no convention is given, and the angles may be radians.
    """
    angles = [abs(each.box[4]) for each in found if each.turned and each.box is not None]
    if not angles:
        return None
    given, largest = context.convention, max(angles)
    if given is None:
        if _UPRIGHT < largest <= _MAY_BE_RADIANS:
            raise MetricsError(
                "the angles of `bbox` may be degrees, counter-clockwise, as in COCO files with ground truth, or "
                f"radians: none of the {len(angles)} is beyond {largest:.4g}",
                path=document.path,
                remedy="Give the convention (--convention, in Python convention=): radians-clockwise for MMRotate's "
                "results, degrees-counter-clockwise for detectron2's and for copies of COCO ground truth.",
            )
        return _DEGREES
    if given.unit == "rad" and largest > _A_TURN:
        wrong = next(
            entry
            for entry, each in zip(entries, found, strict=True)
            if each.turned and each.box is not None and abs(each.box[4]) > _A_TURN
        )
        raise wrong["bbox"].error(
            "an angle in radians, up to 2 pi either way",
            "Degrees are another convention (--convention, in Python convention=): degrees-counter-clockwise for "
            "detectron2's results and for copies of COCO ground truth.",
        )
    return given


def _classes(entries: list[Value], context: Context, document: Value) -> tuple[ClassNames, dict[int, int]]:
    """Return the class names, and the label of each category id in use."""
    used = dict.fromkeys(entry["category_id"].integer() for entry in entries)
    if context.categories is not None:
        names = context.class_names or ClassNames(context.categories[key] for key in sorted(context.categories))
        found = {key: names.find(name) for key, name in context.categories.items()}
        return names, {key: label for key, label in found.items() if label is not None}
    if context.class_names is None:
        raise MetricsError(
            "COCO results have only numbers for classes, and neither ground truth nor class names are given",
            path=document.path,
            remedy="Name the ground truth's COCO file (--annotations, in Python annotations=), or the classes.",
        )
    count = len(context.class_names)
    first = 1 if 0 not in used else 0
    if entries and 0 not in used and count not in used:
        raise MetricsError(
            f"category ids may count from 0 or from 1: neither 0 nor {count} is among them",
            path=document.path,
            remedy=_ANNOTATIONS_REMEDY,
        )
    return context.class_names, {label + first: label for label in range(count)}


def _detection(entry: Value, image_ids: Mapping[int, str] | None, labels: Mapping[int, int]) -> _Detection:
    category = entry["category_id"]
    label = labels.get(category.integer())
    if label is None:
        raise category.error(f"a category id among {listed(sorted(labels))}", _ANNOTATIONS_REMEDY)
    box, quad, mask, turned = _place(entry)
    score = entry["score"].number() if entry.has("score") else None
    return _Detection(_image(entry["image_id"], image_ids), label, score, box, quad, mask, turned)


def _image(value: Value, image_ids: Mapping[int, str] | None) -> str:
    if isinstance(value.value, str):
        return value.text()
    number = value.integer()
    if image_ids is None:
        return str(number)
    if number not in image_ids:
        raise value.error("the number of one of the ground truth's images", _ANNOTATIONS_REMEDY)
    return image_ids[number]


def _place(entry: Value) -> tuple[list[float] | None, list[float] | None, Mask | None, bool]:
    """Return a detection's box (5 numbers) and quad (8 numbers), one at least, its mask, and `_Detection.turned`."""
    box, quad, mask, turned = None, None, None, False
    if entry.has("segmentation"):
        quad, mask = _outline(entry["segmentation"])
    if entry.has("poly"):
        quad = _of_length(entry["poly"], 8)
    if entry.has("rbox"):
        box = _sides(_of_length(entry["rbox"], 5), entry["rbox"])
        if abs(box[4]) > _A_TURN:
            raise entry["rbox"].error("an angle in radians, up to 2 pi either way")
    elif entry.has("bbox"):
        numbers = entry["bbox"].numbers()
        if len(numbers) == 8:
            quad = quad or numbers
        elif len(numbers) == 5:
            box, turned = _sides(numbers, entry["bbox"]), True
        elif len(numbers) == 4 and mask is not None and quad is None and mask.area:
            box = mask.to_rbox().tolist()
        elif len(numbers) == 4:
            x, y, w, h = _sides(numbers, entry["bbox"])
            # If there is an outline too, this is only the upright box around it.
            quad = quad or [x, y, x + w, y, x + w, y + h, x, y + h]
        else:
            raise entry["bbox"].error("4 numbers (x, y, w, h), 5 (cx, cy, w, h, angle) or 8 (four corners)")
    elif mask is not None and quad is None and mask.area:
        box = mask.to_rbox().tolist()
    if box is None and quad is None:
        raise entry.error("a bbox or a segmentation")
    return box, quad, mask, turned


def _of_length(value: Value, length: int) -> list[float]:
    numbers = value.numbers()
    if len(numbers) != length:
        raise value.error(f"{length} numbers")
    return numbers


def _sides(numbers: list[float], value: Value) -> list[float]:
    if min(numbers[2:4]) < 0:
        raise value.error("a width and a height that are not negative")
    return numbers


def _outline(segmentation: Value) -> tuple[list[float] | None, Mask | None]:
    """Return the quad of a list of outlines, None for an empty list and run lengths; and the mask that either is."""
    if not isinstance(segmentation.value, dict):
        corners: list[float] = []
        for outline in segmentation.items():
            numbers = outline.numbers()
            if len(numbers) < 6 or len(numbers) % 2:
                raise outline.error("x and y of at least 3 corners")
            corners += numbers
        json_values.require_few_corners(segmentation, len(corners) // 2)
        return (quad_around(corners), as_mask(segmentation.value)) if corners else (None, None)
    try:
        return None, as_mask(segmentation.value)
    except FormatsError as error:
        raise MetricsError(f"{segmentation.where}: {error}", path=segmentation.path) from error


def _records(found: list[_Detection], convention: Convention) -> list[ImageRecord]:
    """Return a record per image, in the order in which the file first names them."""
    boxes = np.array([d.box or [0.0] * 5 for d in found], dtype=np.float64)
    turned = np.array([d.box is not None for d in found], dtype=bool)
    as_said = np.array([d.turned for d in found], dtype=bool)
    boxes[as_said] = convert(boxes[as_said], convention, LE90)
    boxes[turned & ~as_said] = convert(boxes[turned & ~as_said], LE90, LE90)
    quads = None
    if any(d.quad is not None for d in found):
        quads = rbox_to_quad(boxes)
        drawn = np.array([d.quad is not None for d in found], dtype=bool)
        quads[drawn] = np.array([d.quad for d in found if d.quad is not None]).reshape(-1, 4, 2)
        boxes[~turned] = quad_to_rbox(quads[~turned])
    labels = np.array([d.label for d in found], dtype=np.int64)
    scores = None if found[0].score is None else np.array([d.score for d in found], dtype=np.float64)
    rows: dict[str, list[int]] = {}
    for index, detection in enumerate(found):
        rows.setdefault(detection.image, []).append(index)

    def pick(column: Any, which: list[int]) -> Any:
        return None if column is None else column[which]

    masks = None
    if any(_is_more_than_quad(d) for d in found):
        corners = rbox_to_quad(boxes) if quads is None else quads
        masks = Masks(
            PolygonMask((quad,)) if d.mask is None else d.mask for d, quad in zip(found, corners, strict=True)
        )
    return [
        ImageRecord(
            image_id,
            boxes[which],
            labels[which],
            quads=pick(quads, which),
            scores=pick(scores, which),
            masks=pick(masks, which),
        )
        for image_id, which in rows.items()
    ]


def _is_more_than_quad(detection: _Detection) -> bool:
    mask = detection.mask
    return isinstance(mask, RunMask) or (
        mask is not None and (len(mask.outlines) > 1 or mask.outlines[0].ravel().tolist() != detection.quad)
    )
