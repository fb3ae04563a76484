"""Check the arguments of a codec: lists become arrays, and an error names what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from rbox_formats._records import ClassNames
from rbox_formats.arrays import to_numpy
from rbox_formats.codecs._coordinates import Size
from rbox_formats.errors import CodecError, FormatsError, quoted
from rbox_formats.typing import BoxesOrQuadsN, LabelsN


def as_class_names(names: Iterable[str]) -> ClassNames:
    """Check and return the names of the classes.

    Raises:
        CodecError: If `names` is a single text.
        ClassNameError: If two names are equal to lookup.
    """
    if isinstance(names, str):
        raise CodecError(f"expected a list of class names, got the text {quoted(names)}")
    return names if isinstance(names, ClassNames) else ClassNames(names)


def as_shapes(boxes: Any) -> BoxesOrQuadsN:
    """Check and return boxes (N, 5) or quads (N, 4, 2), all finite, as float64.

    Raises:
        CodecError: If `boxes` is neither.
    """
    shapes = _to_numpy(boxes, "boxes (N, 5) or quads (N, 4, 2)").astype(np.float64, copy=False)
    if shapes.shape == (0,):
        return np.zeros((0, 5))
    if shapes.shape[1:] not in ((5,), (4, 2)):
        raise CodecError(f"expected boxes (N, 5) or quads (N, 4, 2), got the shape {shapes.shape}")
    finite = np.isfinite(shapes).all(axis=tuple(range(1, shapes.ndim)))
    if not finite.all():
        raise CodecError(f"expected finite boxes, got {shapes[~finite][0].tolist()}")
    return shapes


def _to_numpy(values: Any, name: str) -> np.ndarray:
    try:
        return to_numpy(values, name)
    except FormatsError as error:
        raise CodecError(str(error)) from error


def as_order(order: Any, boxes: int) -> LabelsN:
    """Check and return indices of boxes (K,), as int64.

    Raises:
        CodecError: If the indices are not whole numbers, or out of range.
    """
    found = _to_numpy(order, "order")
    if found.ndim != 1 or (len(found) and found.dtype.kind not in "iu"):
        raise CodecError(f"expected an order as indices of boxes (K,), got {found.dtype} {found.shape}")
    if len(found) and not -boxes <= found.min() <= found.max() < boxes:
        raise CodecError(f"expected an order of indices below {boxes}, got {found.min()} to {found.max()}")
    return found.astype(np.int64)


def as_labels(labels: Any, boxes: int, classes: int) -> LabelsN:
    """Check and return a label (N,) for each box, as int64.

    Raises:
        CodecError: If the labels are not whole numbers, out of range, or not as many as the boxes.
    """
    found = _to_numpy(labels, "labels")
    if found.shape != (boxes,) or (boxes and found.dtype.kind not in "iu"):
        raise CodecError(f"expected a whole number as label of each of {boxes} boxes, got {found.dtype} {found.shape}")
    if boxes and not 0 <= found.min() <= found.max() < classes:
        raise CodecError(f"expected labels from 0 to {classes - 1}, got {found.min()} to {found.max()}")
    return found.astype(np.int64)


def check_sizes(image_size: Size, input_size: Size | None) -> None:
    """Raise a `CodecError` unless both, where given, are (width, height) above zero."""
    for name, size in (("image_size", image_size), ("input_size", input_size)):
        if size is not None and not _is_size(size):
            raise CodecError(f"expected {name} as (width, height) in pixels, got {quoted(size)}")


def _is_size(size: Any) -> bool:
    try:
        width, height = size
        return bool(width > 0 and height > 0)
    except (TypeError, ValueError):
        return False
