"""The steps of suppression that process one box after the other, compiled by Numba."""

from __future__ import annotations

import heapq
from typing import no_type_check

import numpy as np

from rbox_metrics._jit import jit


@jit
@no_type_check
def suppress(first, second, suppressed):
    """Mark which boxes stay, best first: second[k] is dropped unless first[k], a better box, was dropped before.

    Args:
        first: (K,) the better box of each pair, from the best on.
        second: (K,) the worse box of each pair.
        suppressed: (N,) bool, whether each box is suppressed; changed in place.
    """
    for k in range(len(first)):
        if not suppressed[first[k]]:
            suppressed[second[k]] = True


@jit
@no_type_check
def soften(starts, second, overlaps, scores, linear, iou_threshold, sigma, least):
    """Suppress softly: pick the best box, lower the scores of those that overlap it, and repeat.

    Args:
        starts: (N + 1,) where the rivals of each box begin in `second` and `overlaps`.
        second: (K,) the rivals, the boxes that overlap a box; the box itself may be among them.
        overlaps: (K,) the rivals' overlaps with the box, above 0.
        scores: (N,) the scores; changed in place.
        linear: Whether scores are lowered linearly; otherwise by a Gaussian.
        iou_threshold: If linear, the least overlap that lowers a score.
        sigma: The width of the Gaussian.
        least: Boxes with a lower score are dropped.

    Returns:
        (P,) the picked boxes, best first; `scores` then has the scores with which they were picked.
    """
    picked = np.zeros(len(scores), dtype=np.bool_)
    order = np.empty(len(scores), dtype=np.int64)
    count = 0
    # Best first, and of equal ones the first. Scores only fall: a box whose score has fallen is put back with the new
    # one.
    heap = [(-scores[i], i) for i in range(len(scores)) if scores[i] >= least]
    heapq.heapify(heap)
    while len(heap) > 0:
        negative, i = heapq.heappop(heap)
        if scores[i] < least:
            continue
        if -negative != scores[i]:
            heapq.heappush(heap, (-scores[i], i))
            continue
        picked[i] = True
        order[count] = i
        count += 1
        for k in range(starts[i], starts[i + 1]):
            j, overlap = second[k], overlaps[k]
            if picked[j]:
                continue
            if not linear:
                scores[j] *= np.exp(-(overlap * overlap) / sigma)
            elif overlap >= iou_threshold:
                scores[j] *= 1 - overlap
    return order[:count]
