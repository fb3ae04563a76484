"""Suppression of overlapping boxes: within one set, and between the windows that an image was cut into."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from rbox_metrics._inputs import (
    as_array,
    check_backend,
    check_boxes,
    check_fraction,
    check_indices,
    check_number,
    check_quads,
    check_scores,
    check_windows,
    like,
)
from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import Backend, BoxesN, FlagsN, FloatsN, IntsN, QuadsN

S = TypeVar("S", BoxesN, QuadsN)

# Smaller overlaps are ignored: they do not change a score that is multiplied by 1 minus the overlap, or by its
# Gaussian.
_ANY_OVERLAP = 1e-20

# How many of the best boxes are searched for in the first turn, and at most in one turn; each turn has twice as many as
# the one before. A box that is suppressed in a turn needs no search later, and where boxes crowd the first few suppress
# most.
_FIRST_TURN, _LARGEST_TURN = 128, 4096

# How many near pairs a turn should have; and how many near pairs per remaining box, since the last index was made, make
# it worth while to make a new index without the suppressed boxes.
_NEAR, _WORTH_ARRANGING = 2**18, 4


def nms_rotated(boxes: Any, scores: Any, iou_threshold: float, labels: Any = None, *, backend: Backend = "auto") -> Any:
    """Suppress boxes that overlap a better kept one by more than the threshold (greedy non-maximum suppression).

    >>> boxes = [[50, 40, 20, 10, 0.0], [52, 40, 20, 10, 0.0], [90, 40, 20, 10, 0.0]]
    >>> nms_rotated(boxes, [0.5, 0.9, 0.7], iou_threshold=0.5).tolist()
    [1, 2]

    Args:
        boxes: (N, 5) as (cx, cy, w, h, angle), in pixels and radians; or quads (N, 4, 2), as in `quad_iou`. An array, a
            list or a torch tensor.
        scores: (N,) the scores. Of boxes with equal scores, the first in the input is the better one.
        iou_threshold: From 0 to 1; an IoU equal to it does not suppress.
        labels: (N,) whole numbers; a box suppresses only boxes of its own label. Default: it suppresses any box.
        backend: As in `box_iou_rotated`, but "auto" is always "numba", since boxes are processed one after the other.
            Memory is linear in the number of boxes; with "reference" it is quadratic.

    Returns:
        The indices of the boxes that stay, best first. For torch tensors, a tensor on their device.

    Raises:
        MetricsError: If a box or score is not a number, or the lengths differ.
    """
    shapes = as_array(boxes, np.float64, "boxes")
    checked, score, group = _checked(shapes, scores, labels, check_quads if shapes.ndim == 3 else check_boxes)
    best_first = np.argsort(-score, kind="stable")
    # Each box has its own window, so any other box may suppress it.
    keep = _kept(checked, best_first, group, np.arange(len(checked)), iou_threshold, backend)
    return like(best_first[keep[best_first]], boxes, scores)


def soft_nms_rotated(
    boxes: Any,
    scores: Any,
    labels: Any = None,
    *,
    method: Literal["linear", "gaussian"] = "linear",
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    score_threshold: float = 0.001,
    backend: Backend = "auto",
) -> tuple[Any, Any]:
    """Lower the scores of boxes that overlap better ones instead of dropping them (Soft-NMS).

    After Bodla et al., "Soft-NMS -- Improving Object Detection With One Line of Code", ICCV 2017, figure 2 and
    equations 2 and 3: the best box is picked, the scores of its rivals are multiplied by 1 - IoU ("linear", where the
    IoU is `iou_threshold` or more) or by exp(-IoU^2 / sigma) ("gaussian"), and the best of the rest is picked next.

    >>> boxes = [[50, 40, 20, 10, 0.0], [55, 40, 20, 10, 0.0], [90, 40, 20, 10, 0.0]]
    >>> kept, scores = soft_nms_rotated(boxes, [0.5, 1.0, 0.75])
    >>> kept.tolist(), scores.round(3).tolist()
    ([1, 2, 0], [1.0, 0.75, 0.2])

    Args:
        boxes: As in `nms_rotated`.
        scores: (N,) numbers of 0 or more. Of boxes with equal scores, the first in the input is picked first.
        labels: As in `nms_rotated`.
        method: How scores are lowered: "linear" or "gaussian".
        iou_threshold: With "linear", the least IoU that lowers a score, from 0 to 1.
        sigma: With "gaussian", the width of the Gaussian, above 0.
        score_threshold: Boxes whose score is, or falls, below it are dropped.
        backend: As in `nms_rotated`. Memory grows with the number of overlapping pairs.

    Returns:
        The indices of the boxes that stay, in the order in which they were picked, and their new scores, which never
        rise. For torch tensors, tensors on their device.

    Raises:
        MetricsError: If a box or score is not a number, a score is negative, or the lengths differ.
    """
    if method not in ("linear", "gaussian"):
        raise MetricsError(f"expected method 'linear' or 'gaussian', got {method!r}")
    sigma, score_threshold = check_number(sigma, "sigma"), check_number(score_threshold, "score_threshold")
    if not (math.isfinite(sigma) and sigma > 0):
        raise MetricsError(f"expected sigma above 0, got {sigma}")
    check_fraction(iou_threshold, "iou_threshold")
    _check_cpu_backend(backend)
    checked, score, group = _checked(boxes, scores, labels, check_boxes)
    if (score < 0).any():
        raise MetricsError(f"expected scores of 0 or more, got {score.min()} at scores[{score.argmin()}]")
    options = (method == "linear", float(iou_threshold), float(sigma), float(score_threshold))
    if backend == "reference":
        from rbox_metrics._overlaps import _reference

        picked, lowered = _reference.softened(checked, score, group, *options)
    else:
        from rbox_metrics._overlaps import overlapping_pairs
        from rbox_metrics._suppression import _nms_kernels

        # Every pair that overlaps at all; the order of the boxes that lose to one box does not matter.
        pairs = overlapping_pairs(checked, group, checked, group, _ANY_OVERLAP)
        starts = np.searchsorted(pairs.detection, np.arange(len(checked) + 1))
        lowered = score.copy()
        picked = _nms_kernels.soften(starts, pairs.truth, pairs.iou, lowered, *options)
        lowered = lowered[picked]
    return like(picked, boxes, scores), like(lowered, boxes, scores)


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
    """Join the detections of overlapping windows over one image.

    An object that two windows show is kept once, by greedy suppression within each class. A box suppresses only boxes
    of other windows: duplicates within one window are errors of the detector, and stay. The better of two boxes is the
    one with the higher score; of equal ones, the one whose centre is further inside its window, since it may be cut
    less by the window's border; then the first in the input.

    >>> windows = [[0, 0, 100, 100], [80, 0, 180, 100]]
    >>> merge_windows([[95, 50, 10, 5, 0], [96, 50, 10, 5, 0]], [0, 0], [0.9, 0.8], [0, 1], windows).tolist()
    [0]

    Args:
        boxes: (N, 5) as (cx, cy, w, h, angle), in pixels of the image and radians.
        labels: (N,) whole numbers, the classes of the boxes.
        scores: (N,) the scores, or None if the detector gives none.
        window_index: (N,) the number of the window in which each box was detected.
        windows: (M, 4) the windows as (x0, y0, x1, y1), in pixels of the image.
        iou_threshold: From 0 to 1; an IoU equal to it does not suppress.
        backend: As in `box_iou_rotated`.

    Returns:
        The indices of the boxes that stay, in the order of the input.

    Raises:
        MetricsError: If a box, score or window is not a number, there is no window of an index, or the lengths differ.
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
    boxes: BoxesN | QuadsN, best_first: IntsN, group: IntsN, window: IntsN, iou_threshold: float, backend: Backend
) -> FlagsN:
    """Return which boxes stay; a box that stays suppresses those of its group that come from other windows."""
    check_fraction(iou_threshold, "iou_threshold")
    _check_cpu_backend(backend)
    if backend == "reference":
        from rbox_metrics._overlaps import _reference

        return _reference.kept(boxes, best_first, group, window, iou_threshold)
    from rbox_metrics._overlaps import Index, kernels_for
    from rbox_metrics._suppression import _nms_kernels

    suppressed = np.zeros(len(boxes), dtype=bool)
    rank = np.empty(len(boxes), dtype=np.int64)
    rank[best_first] = np.arange(len(boxes))
    kernels = kernels_for(boxes)
    shapes = kernels.shapes(boxes)
    extents = kernels.extents(shapes)
    left, start, size, seen = best_first, 0, _FIRST_TURN, 0
    index = Index.of(extents[left], group[left])
    while start < len(boxes):
        turn, start, near = best_first[start : start + size], start + size, 0
        turn = turn[~suppressed[turn]]
        # Where boxes crowd, a part of the turn at a time: each part may suppress boxes of the next.
        for place, other in index.near(extents[turn], group[turn], iou_threshold):
            near += len(place)
            first, second = turn[place], left[other]
            rivals = (rank[second] > rank[first]) & (window[second] != window[first])
            rivals &= ~(suppressed[first] | suppressed[second])
            first, second = first[rivals], second[rivals]
            too_much = kernels.overlaps_of_pairs(shapes, shapes, first, second, False) > iou_threshold
            _nms_kernels.suppress(first[too_much], second[too_much], suppressed)
        # Where boxes crowd, turns are smaller: boxes that are suppressed meanwhile need no search.
        size = min(2 * size, _LARGEST_TURN, max(_FIRST_TURN, size * _NEAR // max(near, 1)))
        seen += near
        if seen > _WORTH_ARRANGING * len(left):
            waiting, seen = best_first[start:], 0
            waiting = waiting[~suppressed[waiting]]
            if 2 * len(waiting) < len(left):
                left, index = waiting, Index.of(extents[waiting], group[waiting])
    return ~suppressed


def _checked(boxes: Any, scores: Any, labels: Any, check: Callable[[Any, str], S]) -> tuple[S, FloatsN, IntsN]:
    checked = check(boxes, "boxes")
    n = len(checked)
    group = np.zeros(n, dtype=np.int64) if labels is None else check_indices(labels, n, "labels")
    return checked, check_scores(scores, n), group


def _check_cpu_backend(backend: str) -> None:
    check_backend(backend)
    if backend == "triton":
        raise MetricsError(
            "expected backend 'auto', 'reference' or 'numba' for suppression, got 'triton'",
            remedy="Use 'auto': it takes tensors on a GPU, and returns tensors on that GPU.",
        )
