"""The check of boxes, compiled by Numba: one pass over many boxes."""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from rbox_metrics._jit import in_parts, jit

# Angles beyond a full turn are probably degrees.
_FULL_TURN = 2 * np.pi


def are_plain(boxes: np.ndarray) -> bool:
    """Return whether (N, 5) float64 boxes are finite, of finite area, no side negative, no angle above a turn."""
    odd = np.zeros(1, dtype=np.bool_)
    in_parts(_find_odd, len(boxes), len(boxes), boxes, odd)
    return not odd[0]


@jit
@no_type_check
def _find_odd(begin, end, boxes, odd):
    for i in range(begin, end):
        w, h = boxes[i, 2], boxes[i, 3]
        # Each comparison is false for NaN; a difference with itself is NaN for infinities.
        fine = w >= 0 and h >= 0 and w * h < np.inf and abs(boxes[i, 4]) <= _FULL_TURN
        fine = fine and w - w == 0 and h - h == 0
        fine = fine and boxes[i, 0] - boxes[i, 0] == 0 and boxes[i, 1] - boxes[i, 1] == 0
        if not fine:
            odd[0] = True
