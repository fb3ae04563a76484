"""The check of boxes, compiled: one pass over many of them."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import prange

from rbox_metrics._jit import parallel_jit

# Beyond a full turn angles are probably degrees.
_FULL_TURN = 2 * np.pi


@parallel_jit
@no_type_check
def are_plain(boxes):
    """Whether (N, 5) float64 boxes are finite, without negative sides, of finite area, and no angle beyond a turn."""
    odd = 0
    for i in prange(len(boxes)):
        w, h = boxes[i, 2], boxes[i, 3]
        # Each comparison is false for NaN; a difference with itself is NaN for infinities.
        fine = w >= 0 and h >= 0 and w * h < np.inf and abs(boxes[i, 4]) <= _FULL_TURN
        fine = fine and w - w == 0 and h - h == 0
        fine = fine and boxes[i, 0] - boxes[i, 0] == 0 and boxes[i, 1] - boxes[i, 1] == 0
        odd += 0 if fine else 1
    return odd == 0
