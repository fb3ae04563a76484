"""Overlaps of rotated boxes."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from rbox_metrics._check import check_boxes
from rbox_metrics.errors import MetricsError

Backend = Literal["auto", "reference", "numba"]


def box_iou_rotated(
    boxes1: ArrayLike,
    boxes2: ArrayLike,
    *,
    aligned: bool = False,
    mode: Literal["iou", "iof"] = "iou",
    backend: Backend = "auto",
) -> np.ndarray:
    """Overlaps of rotated boxes: the common area over that of the union, or of the first box.

    >>> box_iou_rotated([[50, 40, 20, 10, 0.0]], [[55, 40, 20, 10, 0.0], [50, 40, 10, 20, 0.0]]).round(3).tolist()
    [[0.6, 0.333]]

    Args:
        boxes1: (N, 5) as (cx, cy, w, h, angle), in pixels and radians; any angle, sides in any order. Computed in
            float64.
        boxes2: (M, 5).
        aligned: Takes the boxes in pairs, boxes1[k] with boxes2[k]; then N == M.
        mode: "iou", intersection over union, or "iof", intersection over the area of the box in `boxes1`.
        backend: "numba" computes on all CPU threads, "reference" by shapely. "auto" is "numba".

    Returns:
        (N, M) float64 from 0 to 1, or (N,) where aligned. A box without area overlaps nothing, itself included.
        "iou" is symmetric to the last bit.

    Raises:
        MetricsError: If a box is not finite, has a negative side, or the shapes do not fit.
    """
    first, second = check_boxes(boxes1, "boxes1"), check_boxes(boxes2, "boxes2")
    if mode not in ("iou", "iof"):
        raise MetricsError(f"expected mode 'iou' or 'iof', got {mode!r}")
    check_backend(backend)
    if aligned and len(first) != len(second):
        raise MetricsError(f"expected as many boxes1 as boxes2 where aligned, got {len(first)} and {len(second)}")
    iof = mode == "iof"
    if backend == "reference":
        from rbox_metrics import _reference

        return (_reference.overlaps_of_pairs if aligned else _reference.overlaps_dense)(first, second, iof)
    from rbox_metrics import _kernels
    from rbox_metrics._jit import threads_for

    with threads_for(len(first) if aligned else len(first) * len(second)):
        shapes1, shapes2 = _kernels.shapes(first), _kernels.shapes(second)
        if aligned:
            index = np.arange(len(first))
            return _kernels.overlaps_of_pairs(shapes1, shapes2, index, index, iof)
        return _kernels.overlaps_dense(shapes1, shapes2, iof)


def check_backend(backend: str) -> None:
    """Raises MetricsError for a backend that there is not."""
    if backend not in ("auto", "reference", "numba"):
        raise MetricsError(f"expected backend 'auto', 'reference' or 'numba', got {backend!r}")
