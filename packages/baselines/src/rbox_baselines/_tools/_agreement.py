"""How far two detectors agree on an image: an exported one and its origin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rbox_formats import ImageRecord, rbox_to_quad
from rbox_metrics import box_iou_rotated

# Two boxes of one class that overlap this much are one; near ones of another object do not.
_SAME = 0.9


@dataclass(frozen=True)
class Agreement:
    """What two detectors found on one image.

    Attributes:
        counts: How many boxes each found.
        alone: How many boxes of either have none of the other in their place.
        pixels: The largest distance between a corner and that of the other detector, px; 0 without boxes.
        score: The largest difference of scores; 0 without boxes.
    """

    counts: tuple[int, int]
    alone: int
    pixels: float
    score: float


def agreement(first: ImageRecord, second: ImageRecord) -> Agreement:
    """Pair the boxes of two detectors by label and IoU, and compare them.

    Args:
        first: Predictions with scores.
        second: Those of the other, on the same image.
    """
    counts = (len(first), len(second))
    if not all(counts):
        return Agreement(counts, sum(counts), 0.0, 0.0)
    overlaps = box_iou_rotated(first.boxes, second.boxes) * (first.labels[:, None] == second.labels)
    best, back = overlaps.argmax(axis=1), overlaps.argmax(axis=0)
    rows = np.flatnonzero((back[best] == np.arange(counts[0])) & (overlaps.max(axis=1) > _SAME))
    alone = sum(counts) - 2 * len(rows)
    if not len(rows):
        return Agreement(counts, alone, 0.0, 0.0)
    ours, theirs = rbox_to_quad(first.boxes[rows]), rbox_to_quad(second.boxes[best[rows]])
    # A square's corners may begin at any of the four.
    turns = [np.linalg.norm(ours - np.roll(theirs, turn, axis=1), axis=-1).max(axis=1) for turn in range(4)]
    scores = (
        np.zeros(1) if first.scores is None or second.scores is None else first.scores[rows] - second.scores[best[rows]]
    )
    return Agreement(counts, alone, float(np.min(turns, axis=0).max()), float(np.abs(scores).max()))
