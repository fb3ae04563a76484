"""The steps of suppression that go one box after the other, compiled by Numba."""

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
        second: (K,) the other.
        suppressed: (N,) bool, changed in place.
    """
    for k in range(len(first)):
        if not suppressed[first[k]]:
            suppressed[second[k]] = True


@jit
@no_type_check
def soften(starts, second, overlaps, scores, linear, iou_threshold, sigma, least):
    """Suppress softly: pick the best box, lower the scores of those that overlap it, and repeat.

    Args:
        starts: (N + 1,) where the rivals of each box begin in the next two.
        second: (K,) the rivals; the box itself may be among them.
        overlaps: (K,) their overlaps with it, above 0.
        scores: (N,) changed in place.
        linear: Or Gaussian.
        iou_threshold: Where linear, rivals from this overlap on lose.
        sigma: Of the Gaussian.
        least: A box with a lower score goes.

    Returns:
        (P,) the boxes picked, best first; their scores are then those that they were picked with.
    """
    picked = np.zeros(len(scores), dtype=np.bool_)
    order = np.empty(len(scores), dtype=np.int64)
    count = 0
    # Best first, and of equals the first. Scores only fall: what comes up with an outdated one goes back with its own.
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
