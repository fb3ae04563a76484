"""An object's place in COCO's JSON: box, quad and mask of an annotation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from rbox_formats._geometry import canonical_le90, quad_around, quad_to_rbox, rbox_to_quad
from rbox_formats.errors import DatasetError, FormatsError
from rbox_formats.masks import Masks, PolygonMask, RunMask
from rbox_formats.parsing import json_values
from rbox_formats.parsing.attributes import ROTATION, angle_named, looks_like_angle
from rbox_formats.parsing.json_values import Value

# The keys of an annotation that are read here, or cannot be an angle.
_READ = frozenset(["area", "attributes", "bbox", "category_id", "id", "ignore", "image_id", "iscrowd", "score"])
_SAME_CORNER = 0.01
_QUAD = 4


class Shape(NamedTuple):
    """An object's place: the annotated quad (8 numbers) and the box (5 numbers), one of them at least, and the mask."""

    quad: list[float] | None
    box: list[float] | None
    mask: PolygonMask | RunMask | None = None


def unread_angles(annotation: Value) -> Iterable[str]:
    """Return what an annotation has that looks like an angle and is not read."""
    said = {key: value for key, value in annotation.value.items() if key not in _READ}
    attributes = annotation.value.get("attributes")
    if isinstance(attributes, dict):
        said |= {key: value for key, value in attributes.items() if key != ROTATION}
    return [angle_named(key) for key, value in said.items() if looks_like_angle(key, value)]


def has_mask(annotation: Value) -> bool:
    """Return whether an annotation's segmentation is more than a quad: run lengths, or other outlines."""
    found = annotation.value.get("segmentation") if isinstance(annotation.value, dict) else None
    if isinstance(found, dict):
        return True
    if not isinstance(found, list) or not found:
        return False
    return len(found) > 1 or not isinstance(found[0], list) or _corner_count(found[0]) != _QUAD


def _corner_count(outline: Sequence[Any]) -> int:
    """Return the corners of an outline, where the last one may be the first once more."""
    count = len(outline) // 2
    return count - (count > _QUAD and outline[:2] == outline[-2:])


def shape_of(annotation: Value, size: tuple[int | None, int | None]) -> Shape:
    """Return an object's place.

    Args:
        annotation: An entry of `annotations`.
        size: (width, height) of the image, as its entry says.

    Raises:
        DatasetError: If there is none, or it is not as it should be.
    """
    segmentation = annotation["segmentation"] if annotation.has("segmentation") else None
    mask: PolygonMask | RunMask | None = None
    if segmentation is not None and isinstance(segmentation.value, dict):
        mask = _run_lengths(segmentation, size)
    quad = _outline(segmentation) if segmentation is not None and mask is None else None
    if segmentation is not None and quad is not None:
        mask = PolygonMask(tuple(np.array(outline).reshape(-1, 2) for outline in segmentation.value))
    rotation = _rotation(annotation)
    if annotation.has("rbbox"):
        numbers = annotation["rbbox"].numbers()
        if len(numbers) != 5 or min(numbers[2:4]) < 0:
            raise annotation["rbbox"].error("5 numbers (cx, cy, w, h, radians), with sides of 0 or more")
        return Shape(quad, numbers, mask)
    box = annotation["bbox"].numbers() if annotation.has("bbox") else []
    if len(box) not in (0, 4, 5):
        raise annotation["bbox"].error("4 numbers (x, y, w, h) or 5 (cx, cy, w, h, degrees)")
    if box and min(box[2:4]) < 0:
        raise annotation["bbox"].error("a width and a height of 0 or more")
    if len(box) == 5:
        return Shape(quad, [*box[:4], -float(np.radians(box[4]))], mask)
    # A tool that writes the unturned box may write its corners as well.
    if quad is not None and not (rotation and box and _are_corners(quad, box)):
        return Shape(quad, None, mask)
    if isinstance(mask, RunMask) and mask.area:
        return Shape(None, mask.to_rbox().tolist(), mask)
    if not box:
        raise annotation.error("a bbox or a segmentation")
    x, y, w, h = box
    return Shape(None, [x + w / 2, y + h / 2, w, h, math.radians(rotation)], mask if mask and quad is None else None)


def _run_lengths(segmentation: Value, size: tuple[int | None, int | None]) -> RunMask:
    try:
        return RunMask.of_coco(segmentation.value, *size)
    except FormatsError as error:
        raise DatasetError(f"{segmentation.where}: {error}", path=segmentation.path) from error


def _rotation(annotation: Value) -> float:
    """Return the clockwise angle in degrees by which CVAT says that the box is turned."""
    if not annotation.has("attributes") or not isinstance(annotation["attributes"].value, dict):
        return 0.0
    attributes = annotation["attributes"]
    return attributes[ROTATION].number() if attributes.has(ROTATION) else 0.0


def _are_corners(quad: Sequence[float], box: Sequence[float]) -> bool:
    """Return whether a quad is the corners of an upright box [x, y, w, h], in any order, within 0.01 px."""
    x, y, w, h = box
    wanted = sorted([(x, y), (x + w, y), (x + w, y + h), (x, y + h)])
    found = sorted(zip(quad[0::2], quad[1::2], strict=True))
    return bool(np.abs(np.array(found) - wanted).max() < _SAME_CORNER)


def _outline(segmentation: Value) -> list[float] | None:
    """Return the quad of a list of outlines; None for an empty list."""
    outlines = [(outline, outline.numbers()) for outline in segmentation.items()]
    for outline, corners in outlines:
        if len(corners) < 6 or len(corners) % 2:
            raise outline.error("x and y of at least 3 corners")
    corners = [number for _, outline in outlines for number in outline]
    json_values.require_few_corners(segmentation, len(corners) // 2)
    return quad_around(corners) if corners else None


def masks_of(shapes: Sequence[Shape], quads: np.ndarray) -> Masks:
    """Return a mask for each object; of one without, its quad (N, 4, 2) or its box's corners are the mask."""
    own = Masks.of_quads(quads)
    return Masks(quad if shape.mask is None else shape.mask for shape, quad in zip(shapes, own, strict=True))


def arrays_of(shapes: Sequence[Shape]) -> tuple[Any, Any]:
    """Return the boxes (N, 5) and the quads (N, 4, 2), or None, of an image's objects."""
    boxes = canonical_le90(np.array([box or [0.0] * 5 for _, box, _ in shapes], dtype=np.float64).reshape(-1, 5))
    if shapes and all(quad is None for quad, _, _ in shapes):
        return boxes, None
    quads = rbox_to_quad(boxes)
    for i, (quad, _, _) in enumerate(shapes):
        if quad is not None:
            quads[i] = np.array(quad).reshape(4, 2)
    without = np.array([box is None for _, box, _ in shapes], dtype=bool)
    boxes[without] = quad_to_rbox(quads[without])
    return boxes, quads
