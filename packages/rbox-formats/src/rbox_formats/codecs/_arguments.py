"""What callers give to a codec, once it is sure what it is: lists become arrays, and what cannot be is named."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from rbox_formats._records import ClassNames
from rbox_formats.codecs._coordinates import Size
from rbox_formats.errors import CodecError
from rbox_formats.typing import BoxesOrQuadsN, LabelsN


def as_class_names(names: Iterable[str]) -> ClassNames:
    """The names of the classes.

    Raises:
        CodecError: If it is a single text.
        ClassNameError: If two of them are alike.
    """
    if isinstance(names, str):
        raise CodecError(f"expected a list of class names, got the text {names!r}")
    return names if isinstance(names, ClassNames) else ClassNames(names)


def as_shapes(boxes: Any) -> BoxesOrQuadsN:
    """Boxes (N, 5) or quads (N, 4, 2), all finite, float64.

    Raises:
        CodecError: If they are neither.
    """
    try:
        shapes = np.asarray(boxes, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CodecError(f"expected boxes (N, 5) or quads (N, 4, 2), got {type(boxes).__name__}: {error}") from error
    if shapes.shape == (0,):
        return np.zeros((0, 5))
    if shapes.shape[1:] not in ((5,), (4, 2)):
        raise CodecError(f"expected boxes (N, 5) or quads (N, 4, 2), got the shape {shapes.shape}")
    finite = np.isfinite(shapes).all(axis=tuple(range(1, shapes.ndim)))
    if not finite.all():
        raise CodecError(f"expected finite boxes, got {shapes[~finite][0].tolist()}")
    return shapes


def as_labels(labels: Any, boxes: int, classes: int) -> LabelsN:
    """A label (N,) for each box, int64.

    Raises:
        CodecError: If they are not whole numbers, not as many as boxes, or beyond the classes.
    """
    found = np.asarray(labels)
    if found.shape != (boxes,) or (boxes and found.dtype.kind not in "iu"):
        raise CodecError(f"expected a whole number as label of each of {boxes} boxes, got {found.dtype} {found.shape}")
    if boxes and not 0 <= found.min() <= found.max() < classes:
        raise CodecError(f"expected labels from 0 to {classes - 1}, got {found.min()} to {found.max()}")
    return found.astype(np.int64)


def check_sizes(image_size: Size, input_size: Size | None) -> None:
    """Raises a `CodecError` unless both, where given, are (width, height) above zero."""
    for name, size in (("image_size", image_size), ("input_size", input_size)):
        if size is not None and not (len(size) == 2 and min(size) > 0):
            raise CodecError(f"expected {name} as (width, height) in pixels, got {tuple(size)}")
