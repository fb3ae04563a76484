"""Suppression of overlapping boxes: within one set, and between the windows that an image was cut into."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from rbox_metrics._check import check_boxes, check_fraction, check_indices, check_scores, check_windows
from rbox_metrics._iou import Backend, check_backend
from rbox_metrics._typing import BoxesN, FlagsN, IntsN


def nms_rotated(
    boxes: ArrayLike,
    scores: ArrayLike,
    iou_threshold: float,
    labels: ArrayLike | None = None,
    *,
    backend: Backend = "auto",
) -> IntsN:
    """Greedy non-maximum suppression: a box goes where a better one that stays overlaps it by more than the threshold.

    >>> boxes = [[50, 40, 20, 10, 0.0], [52, 40, 20, 10, 0.0], [90, 40, 20, 10, 0.0]]
    >>> nms_rotated(boxes, [0.5, 0.9, 0.7], iou_threshold=0.5).tolist()
    [1, 2]

    Args:
        boxes: (N, 5) as (cx, cy, w, h, angle), in pixels and radians.
        scores: (N,). Of equal ones the first in the input is the better.
        iou_threshold: From 0 to 1; an IoU equal to it does not suppress.
        labels: (N,) whole numbers: boxes suppress only boxes of their own label. None: each suppresses any.
        backend: As in `box_iou_rotated`; "reference" takes memory for every pair.

    Returns:
        The indices of the boxes that stay, best first.

    Raises:
        MetricsError: If a box or score is not a number, or the lengths differ.
    """
    checked = check_boxes(boxes, "boxes")
    n = len(checked)
    best_first = np.argsort(-check_scores(scores, n), kind="stable")
    group = np.zeros(n, dtype=np.int64) if labels is None else check_indices(labels, n, "labels")
    # Each box in a window of its own: any other may suppress it.
    keep = _kept(checked, best_first, group, np.arange(n), iou_threshold, backend)
    return best_first[keep[best_first]]


def merge_windows(
    boxes: ArrayLike,
    labels: ArrayLike,
    scores: ArrayLike | None,
    window_index: ArrayLike,
    windows: ArrayLike,
    *,
    iou_threshold: float = 0.1,
    backend: Backend = "auto",
) -> IntsN:
    """Joins the detections of overlapping windows over one image.

    What two windows both saw is kept once. Greedy suppression within each class, where a box that stays suppresses
    boxes of other windows only: duplicates within one window are the detector's own, and stay. The better of two boxes
    is that of the higher score; then that whose centre lies further inside its window, since a box seen whole is better
    than one cut by a border; then the first in the input.

    Args:
        boxes: (N, 5) as (cx, cy, w, h, angle), in pixels of the image and radians.
        labels: (N,) whole numbers.
        scores: (N,), or None where the detector gives none.
        window_index: (N,) which window each box was seen in.
        windows: (M, 4) as (x0, y0, x1, y1), in pixels of the image.
        iou_threshold: From 0 to 1; an IoU equal to it does not suppress.
        backend: As in `box_iou_rotated`.

    Returns:
        The indices of the boxes that stay, in the order of the input.

    Raises:
        MetricsError: If a box, score or window is not a number, a window index has no window, or the lengths differ.
    """
    checked = check_boxes(boxes, "boxes")
    n = len(checked)
    corners = check_windows(windows)
    window = check_indices(window_index, n, "window_index", below=len(corners))
    score = np.zeros(n) if scores is None else check_scores(scores, n)
    centre, own = checked[:, :2], corners[window]
    inside = np.minimum(centre - own[:, :2], own[:, 2:] - centre).min(axis=1)
    best_first = np.lexsort((-inside, -score))
    keep = _kept(checked, best_first, check_indices(labels, n, "labels"), window, iou_threshold, backend)
    return np.flatnonzero(keep)


def _kept(
    boxes: BoxesN, best_first: IntsN, group: IntsN, window: IntsN, iou_threshold: float, backend: Backend
) -> FlagsN:
    """Which boxes stay, where a box that stays suppresses those of its group and of other windows."""
    check_fraction(iou_threshold, "iou_threshold")
    check_backend(backend)
    if backend == "reference":
        from rbox_metrics import _reference

        return _reference.kept(boxes, best_first, group, window, iou_threshold)
    from rbox_metrics import _kernels
    from rbox_metrics._jit import threads_for
    from rbox_metrics._search import ExtentIndex

    ranked = best_first[np.argsort(group[best_first], kind="stable")]
    with threads_for(len(boxes)):
        shapes = _kernels.shapes(boxes)
        index = ExtentIndex.of(shapes, group)
        return ~_kernels.suppress(
            shapes, ranked, index.starts, index.order, index.left, index.reach, window, float(iou_threshold)
        )
