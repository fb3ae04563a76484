"""Boxes of other libraries as `FlatBoxes`; none of those libraries is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from rbox_formats import LE90, Convention, convert, quad_to_rbox, rbox_to_quad

from rbox_metrics._inputs._check import as_array, check_boxes, check_flags, check_indices, check_quads, check_scores
from rbox_metrics._inputs._flat import FlatBoxes, from_arrays
from rbox_metrics.errors import MetricsError

# What torchmetrics calls an object that need not be found, and what this package calls it.
_DIFFICULT = ("difficult", "iscrowd")


class _Image(NamedTuple):
    """One image's boxes (N, 5), labels, quads (N, 4, 2) or None, scores or None, and flags of difficult objects."""

    boxes: Any
    labels: Any
    quads: Any
    scores: Any
    difficult: Any


def from_dicts(
    images: Iterable[Mapping[str, Any]],
    image_ids: Sequence[str] | None = None,
    *,
    convention: Convention | str = LE90,
) -> FlatBoxes:
    """Convert one dictionary per image, as torchmetrics takes them.

    >>> flat = from_dicts([{"boxes": [[50, 40, 20, 10, 0.3]], "labels": [0], "scores": [0.9]}])
    >>> flat.boxes.tolist(), flat.scores.tolist()
    ([[50.0, 40.0, 20.0, 10.0, 0.3]], [0.9])
    >>> from rbox_formats import LE90
    >>> from_dicts([{"boxes": [[50, 40, 20, 10, 90]], "labels": [0]}], convention=LE90.degrees).boxes.round(3).tolist()
    [[50.0, 40.0, 20.0, 10.0, -1.571]]

    Args:
        images: A dictionary for each image: `boxes`, (N, 5) as (cx, cy, w, h, angle), or corners (N, 4, 2) or (N, 8);
            `labels` (N,); and optionally `scores` (N,), and `difficult` or `iscrowd` (N,). Values are torch tensors on
            any device, numpy arrays, or lists. If an image has no boxes, any empty array will do.
        image_ids: The names of the images, in the same order. Default: the images are numbered.
        convention: How boxes of five numbers give their angle. Default: radians, clockwise on the screen, in any range
            and with the sides in any order.

    Raises:
        MetricsError: If a key is missing, shapes differ, a value is not a number, or only some images have scores.
    """
    found = [_from_dict(image, f"images[{index}]", convention) for index, image in enumerate(_sequence(images))]
    return _joined(found, image_ids)


def from_supervision(detections: Iterable[Any], image_ids: Sequence[str] | None = None) -> FlatBoxes:
    """Convert supervision's `Detections` of oriented boxes, one object per image.

    >>> import numpy as np
    >>> from types import SimpleNamespace  # stands for supervision.Detections
    >>> corners = np.array([[[0, 0], [20, 0], [20, 10], [0, 10]]])
    >>> found = SimpleNamespace(xyxy=np.array([[0, 0, 20, 10]]), data={"xyxyxyxy": corners})
    >>> found.class_id, found.confidence = np.array([0]), np.array([0.9])
    >>> from_supervision([found]).boxes.tolist()
    [[10.0, 5.0, 20.0, 10.0, 0.0]]

    Args:
        detections: Objects with `data["xyxyxyxy"]` (N, 4, 2), the corners in pixels, `class_id` (N,) and `confidence`
            (N,), which is None for annotations. `xyxy`, the upright box around each, is not read.
        image_ids: As in `from_dicts`.

    Raises:
        MetricsError: If an object has no oriented boxes or no classes, or for the reasons of `from_dicts`.
    """
    return _joined([_from_detections(one, index) for index, one in enumerate(_sequence(detections))], image_ids)


def from_ultralytics(results: Iterable[Any], image_ids: Sequence[str] | None = None) -> FlatBoxes:
    """Convert ultralytics' results of oriented boxes, one object per image.

    Their angle is in radians and clockwise on the screen, as in this package. The width may be less than the height,
    and the angle may be in any range (`xywhr2xyxyxyxy` in ultralytics 8.4 ultralytics/utils/ops.py does not change it).

    >>> result = {"xywhr": [[50, 40, 20, 10, 0.3]], "cls": [0.0], "conf": [0.9]}  # or a result itself
    >>> from_ultralytics([result]).boxes.tolist()
    [[50.0, 40.0, 20.0, 10.0, 0.3]]

    Args:
        results: Results, with an attribute `obb`, or the values of that attribute. Each has `xywhr` (N, 5), `cls` (N,)
            and optionally `conf` (N,), as attributes or in a dictionary; tensors on any device, or numpy arrays.
        image_ids: As in `from_dicts`.

    Raises:
        MetricsError: If a result has no oriented boxes, or for the reasons of `from_dicts`.
    """
    return _joined([_from_result(one, index) for index, one in enumerate(_sequence(results))], image_ids)


def _sequence(images: Iterable[Any]) -> list[Any]:
    # The object of one image can be iterated too, box by box, and would be taken for many images.
    if isinstance(images, Mapping) or hasattr(images, "class_id") or hasattr(images, "obb"):
        raise MetricsError("expected a list, of one object per image, got a single object", remedy="Put it in a list.")
    try:
        return list(images)
    except TypeError as error:
        raise MetricsError(f"expected a list, of one object per image, got {type(images).__name__}") from error


def _from_dict(image: Mapping[str, Any], where: str, convention: Convention | str) -> _Image:
    if not isinstance(image, Mapping):
        raise MetricsError(f"expected a dictionary of arrays, got {type(image).__name__} in {where}")
    missing = [key for key in ("boxes", "labels") if key not in image]
    if missing:
        raise MetricsError(f"expected keys 'boxes' and 'labels', got {', '.join(map(repr, image))} in {where}")
    flags = [image[key] for key in _DIFFICULT if image.get(key) is not None]
    return _image(
        image["boxes"],
        image["labels"],
        image.get("scores"),
        np.logical_or.reduce([as_array(flag, np.bool_, f"the flags of {where}") for flag in flags]) if flags else None,
        where,
        convention,
    )


def _from_detections(one: Any, index: int) -> _Image:
    where = f"detections[{index}]"
    corners = one.data.get("xyxyxyxy")
    if not len(one.xyxy):
        return _image([], [], None, None, where, LE90)
    if corners is None:
        raise MetricsError(
            f"expected oriented boxes in data['xyxyxyxy'], found none in {where}",
            remedy="Use a detector of oriented boxes; upright boxes can be given to from_dicts as corners.",
        )
    if one.class_id is None:
        raise MetricsError(f"expected class_id, found none in {where}")
    return _image(corners, one.class_id, one.confidence, None, where, LE90)


def _from_result(one: Any, index: int) -> _Image:
    where = f"results[{index}]"
    if not isinstance(one, Mapping) and hasattr(one, "obb"):
        one = one.obb
    if one is None:
        raise MetricsError(
            f"expected oriented boxes in .obb, found none in {where}",
            remedy="Use a model for oriented boxes (OBB).",
        )
    get: Callable[[str], Any] = one.get if isinstance(one, Mapping) else lambda key: getattr(one, key, None)
    boxes, classes = get("xywhr"), get("cls")
    if boxes is None or classes is None:
        raise MetricsError(f"expected xywhr and cls, found only one of them in {where}")
    labels = as_array(classes, None, f"the cls of {where}")  # in floats, as ultralytics has them beside the boxes
    if labels.dtype.kind == "f":
        if (labels != np.round(labels)).any():
            raise MetricsError(f"expected whole numbers in cls, got {labels[labels != np.round(labels)][0]} in {where}")
        labels = labels.astype(np.int64)
    return _image(boxes, labels, get("conf"), None, where, LE90)


def _image(boxes: Any, labels: Any, scores: Any, difficult: Any, where: str, convention: Convention | str) -> _Image:
    array = as_array(boxes, None, f"the boxes of {where}")
    quads = None
    if not array.size:
        array = np.zeros((0, 5))
    elif array.ndim == 3 or (array.ndim == 2 and array.shape[1] == 8):
        quads = check_quads(array.reshape(len(array), -1, 2), f"the boxes of {where}")
        array = quad_to_rbox(quads)
    else:
        radians = not isinstance(convention, Convention) or convention.unit == "rad"
        # The warning about angles beyond a full turn holds for radians only.
        array = check_boxes(array if radians else convert(array.astype(np.float64), convention, LE90), where)
        array = convert(array, convention if radians else LE90, LE90)
    n = len(array)
    return _Image(
        array,
        check_indices(labels if n else as_array(labels, None, "labels").reshape(-1), n, f"the labels of {where}"),
        quads,
        None if scores is None else check_scores(scores, n, lambda i: f"box {i} of {where}"),
        np.zeros(n, bool) if difficult is None else check_flags(difficult, n, f"the difficult ones of {where}"),
    )


def _joined(images: list[_Image], image_ids: Sequence[str] | None) -> FlatBoxes:
    if image_ids is not None and (len(set(image_ids)) != len(image_ids) or len(image_ids) != len(images)):
        raise MetricsError(
            f"expected {len(images)} different image ids, one per image, got {len(image_ids)} ids with "
            f"{len(set(image_ids))} different values"
        )
    filled = [image for image in images if len(image.boxes)]
    without = [number for number, image in enumerate(images) if len(image.boxes) and image.scores is None]
    if 0 < len(without) < len(filled):
        raise MetricsError(
            f"some images have scores and others do not: boxes on image {without[0]} have none "
            f"({len(without)} of {len(filled)} images with boxes have none)",
            remedy="Give scores with all boxes, or with none; a dictionary has them under the key 'scores'.",
        )
    drawn = any(image.quads is not None for image in filled)
    flat = from_arrays(
        np.concatenate([np.zeros((0, 5)), *(image.boxes for image in filled)]),
        np.concatenate([np.zeros(0, np.int64), *(image.labels for image in filled)]),
        np.repeat(np.arange(len(images)), [len(image.boxes) for image in images]),
        np.concatenate([image.scores for image in filled]) if filled and not without else None,
        np.concatenate([np.zeros(0, bool), *(image.difficult for image in filled)]),
    )
    quads = [rbox_to_quad(image.boxes) if image.quads is None else image.quads for image in filled]
    return replace(
        flat,
        image_ids=None if image_ids is None else tuple(image_ids),
        quads=np.concatenate(quads) if drawn else None,
    )
