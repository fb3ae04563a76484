"""Precision and recall, and what is averaged over them."""

from __future__ import annotations

import numpy as np

from rbox_metrics._matching import FALSE_POSITIVE, TRUE_POSITIVE
from rbox_metrics._typing import FloatsC, FloatsN, IntsC, OutcomesN

# PASCAL VOC 2007's eleven recalls, as its successors compute them: 0.3, 0.6 and 0.7 come out a hair above, so that a
# recall of exactly 3/10 does not reach the fourth.
ELEVEN_RECALLS = np.arange(0, 1 + 1e-3, 0.1)


def precision_recall(outcomes: OutcomesN, truths: int) -> tuple[FloatsN, FloatsN]:
    """The curve of one class.

    Args:
        outcomes: (N,) of its detections, from best to worst.
        truths: How many there are to find, more than 0.

    Returns:
        (N,) precision and (N,) recall after each detection; the precision is 0 before the first that counts.
    """
    hits = np.cumsum(outcomes == TRUE_POSITIVE)
    counted = hits + np.cumsum(outcomes == FALSE_POSITIVE)
    return hits / np.maximum(counted, 1), hits / truths


def eleven_points(precision: FloatsN, recall: FloatsN) -> float:
    """VOC07's average precision: the mean over eleven recalls of the best precision at that recall or a higher one.

    Source: `average_precision(mode="11points")` in mmdet/core/evaluation/mean_ap.py, open-mmlab/mmdetection at 067c8f7.
    """
    best = np.append(_best_from(precision), 0.0)
    return float(best[np.searchsorted(recall, ELEVEN_RECALLS)].sum() / len(ELEVEN_RECALLS))


def area(precision: FloatsN, recall: FloatsN) -> float:
    """VOC's average precision since 2010: the area under the curve, its precision made to fall first.

    Source: `average_precision(mode="area")` in mmdet/core/evaluation/mean_ap.py, open-mmlab/mmdetection at 067c8f7.
    """
    return float((np.diff(recall, prepend=0.0) * _best_from(precision)).sum())


def eleven_points_of_one(precision: FloatsC, recall: FloatsC) -> FloatsC:
    """VOC07's average precision of curves of a single point each: (C,), (C,) -> (C,).

    That is the precision times the share of the eleven recalls that the point reaches.
    """
    return precision * (recall[:, None] >= ELEVEN_RECALLS).mean(axis=1)


def ratio(part: IntsC, whole: IntsC) -> FloatsC:
    """One count over another; 0 where the other is 0."""
    return part / np.maximum(whole, 1)


def _best_from(precision: FloatsN) -> FloatsN:
    """The best precision from each place on."""
    return np.maximum.accumulate(precision[::-1])[::-1]
