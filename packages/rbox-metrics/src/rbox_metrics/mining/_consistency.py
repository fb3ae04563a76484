"""How far the detections on an image agree with those on the same image, mirrored or turned."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from rbox_formats import ImageRecord

from rbox_metrics._overlaps import box_iou_rotated

# Scores as probabilities, so that no logarithm is infinite.
_LEAST = 0.01
# CALD's base point: consistencies near to it tell most (Yu et al., Consistency-based Active Learning for Object
# Detection, 2022). An object with its own box again has 1 for the box and up to 1 for the scores.
_BASE = 1.3


def over_views(
    between: Callable[[ImageRecord, ImageRecord], float],
    records: Sequence[ImageRecord],
    views: Sequence[Sequence[ImageRecord]],
) -> np.ndarray:
    """Return the mean over the views of what is between an image and each; (N,)."""
    rows = [[between(record, view[place]) for view in views] for place, record in enumerate(records)]
    return np.array(rows, dtype=np.float64).reshape(len(records), len(views)).mean(axis=1)


def discrepancy(first: ImageRecord, second: ImageRecord) -> float:
    """Return how far the scores of objects differ from what the other look supports.

    What supports an object is an object of its class: its score times the rotated IoU. The discrepancy is the
    symmetric divergence (Jeffreys) of both as probabilities, on the mean of all objects of both looks.

    Args:
        first: What was detected.
        second: What was detected by another look, in the coordinates of the first.

    Returns:
        0 where both agree, or nothing was detected; no more than 9.1.
    """
    overlaps = _overlaps(first, second) * (first.labels[:, None] == second.labels[None, :])
    found = [
        *_divergences(_scores(first), (overlaps * _scores(second)).max(axis=1, initial=0)),
        *_divergences(_scores(second), (overlaps.T * _scores(first)).max(axis=1, initial=0)),
    ]
    return float(np.mean(found)) if found else 0.0


def _divergences(scores: np.ndarray, supports: np.ndarray) -> np.ndarray:
    p, q = (np.clip(values, _LEAST, 1 - _LEAST) for values in (scores, supports))
    return (p - q) * (np.log(p / (1 - p)) - np.log(q / (1 - q)))


def inconsistency(first: ImageRecord, second: ImageRecord) -> float:
    """Return how near the most telling object of an image is to CALD's base point.

    An object's consistency is its rotated IoU with the best object of the other look, plus the mean of both scores
    times the likeness of both as probabilities of classes (1 less the Jensen-Shannon divergence): from 0 to 2. The
    base point is 1.3: far below it an object is noise, and far above it nothing is to be learnt.

    Args:
        first: What was detected.
        second: What was detected by another look, in the coordinates of the first.

    Returns:
        From 0, where nothing was detected, to 1, where an object's consistency is 1.3.
    """
    overlaps = _overlaps(first, second)
    found: list[float] = []
    for one, other, between in ((first, second, overlaps), (second, first, overlaps.T)):
        if not len(one):
            continue
        if not len(other):
            found += [0.0] * len(one)
            continue
        best = between.argmax(axis=1)
        p, q = _scores(one), _scores(other)[best]
        alike = 1 - _jensen_shannon(p, q, one.labels == other.labels[best])
        found += (between[np.arange(len(one)), best] + (p + q) / 2 * alike).tolist()
    return 1 - min(abs(each - _BASE) for each in found) / _BASE if found else 0.0


def _jensen_shannon(p: np.ndarray, q: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Return the divergence, in bits, of two objects' probabilities: of p's class, of q's if it is another, of none."""
    zero = np.zeros_like(p)
    one = np.stack([p, zero, 1 - p], axis=1)
    other = np.stack([np.where(same, q, 0), np.where(same, 0, q), 1 - q], axis=1)
    middle = (one + other) / 2

    def divergence(of: np.ndarray) -> np.ndarray:
        return np.where(of > 0, of * np.log2(np.maximum(of, 1e-300) / np.maximum(middle, 1e-300)), 0).sum(axis=1)

    return (divergence(one) + divergence(other)) / 2


def _overlaps(first: ImageRecord, second: ImageRecord) -> np.ndarray:
    return np.asarray(box_iou_rotated(first.boxes, second.boxes))


def _scores(record: ImageRecord) -> np.ndarray:
    return np.ones(len(record)) if record.scores is None else record.scores
