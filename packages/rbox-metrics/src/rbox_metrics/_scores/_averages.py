"""From outcomes to precision, recall and averages of them.

Outcomes (S, D) are as `_matching` gives them: a row for each setting, classes one after the other, and the detections
of each from best to worst. No compiled function here calls another.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from rbox_metrics._jit import in_parts, jit
from rbox_metrics._matching import ELEVEN_RECALLS, FALSE_POSITIVE, TRUE_POSITIVE
from rbox_metrics.typing import (
    Bounds,
    FloatsC,
    FloatsN,
    FloatsR,
    FloatsSC,
    IntsC,
    IntsK,
    IntsSC,
    OutcomesN,
    OutcomesSN,
)


@jit
@no_type_check
def _averages(begin, end, outcomes, bounds, truths, recalls, result):
    for job in range(begin, end):
        s, c = job // len(truths), job % len(truths)
        if truths[c] == 0:
            continue
        hits, counted = 0, 0
        for place in range(bounds[c], bounds[c + 1]):
            hits += outcomes[s, place] == TRUE_POSITIVE
            counted += outcomes[s, place] >= FALSE_POSITIVE
        # From the last hit to the first: the best precision so far is the best at this recall or a higher one. Between
        # hits precision only falls.
        total, best, level = 0.0, 0.0, len(recalls) - 1
        while level >= 0 and recalls[level] > hits / truths[c]:
            level -= 1
        for place in range(bounds[c + 1] - 1, bounds[c] - 1, -1):
            if outcomes[s, place] == TRUE_POSITIVE:
                best = max(best, hits / counted)
                hits -= 1
                while level >= 0 and recalls[level] > hits / truths[c]:
                    total += best
                    level -= 1
                if len(recalls) == 0:
                    total += best
            counted -= outcomes[s, place] >= FALSE_POSITIVE
        # The recall of 0, which is reached without a hit.
        total += (level + 1) * best
        result[s, c] = total / (len(recalls) or truths[c])


@jit
@no_type_check
def _counts(begin, end, outcomes, bounds, hits, misses):
    classes = len(bounds) - 1
    for job in range(begin, end):
        s, c = job // classes, job % classes
        right, wrong = 0, 0
        for place in range(bounds[c], bounds[c + 1]):
            right += outcomes[s, place] == TRUE_POSITIVE
            wrong += outcomes[s, place] == FALSE_POSITIVE
        hits[s, c], misses[s, c] = right, wrong


def average_precisions(outcomes: OutcomesSN, bounds: Bounds, truths: IntsC, recalls: FloatsR) -> FloatsSC:
    """Return the average precision of each class.

    This is the mean, over the recalls, of the best precision at that recall or a higher one, 0 where none is reached.
    `ELEVEN_RECALLS` are PASCAL VOC 2007's recalls, `HUNDRED_AND_ONE_RECALLS` COCO's. For `AREA` it is the area under
    the curve of that best precision, which is VOC's since 2010.

    Sources: `average_precision` in mmdet/core/evaluation/mean_ap.py, open-mmlab/mmdetection at 067c8f7;
    `COCOeval.accumulate` in PythonAPI/pycocotools/cocoeval.py, cocodataset/cocoapi at 8c9bcc3.

    Args:
        outcomes: (S, D) the outcomes of the detections at each setting.
        bounds: (C + 1,) the places of class c are bounds[c] to bounds[c + 1].
        truths: (C,) how many truths there are to find.
        recalls: (R,) rising recalls, or `AREA`.

    Returns:
        (S, C) from 0 to 1, NaN for classes without truths.
    """
    result = np.full((len(outcomes), len(truths)), np.nan)
    in_parts(_averages, result.size, outcomes.size, outcomes, bounds, truths, recalls, result)
    return result


def counts(outcomes: OutcomesSN, bounds: Bounds) -> tuple[IntsSC, IntsSC]:
    """Return (S, C) true and (S, C) false positives of each class."""
    shape = len(outcomes), len(bounds) - 1
    hits, misses = np.empty(shape, dtype=np.int64), np.empty(shape, dtype=np.int64)
    in_parts(_counts, hits.size, outcomes.size, outcomes, bounds, hits, misses)
    return hits, misses


def precision_recall(outcomes: OutcomesN, truths: int) -> tuple[FloatsN, FloatsN]:
    """Return the curve of one class.

    Args:
        outcomes: (N,) the outcomes of the class's detections, from best to worst.
        truths: How many truths there are to find, more than 0.

    Returns:
        (N,) precision and (N,) recall after each detection; the precision is 0 before the first that counts.
    """
    hits = np.cumsum(outcomes == TRUE_POSITIVE)
    counted = hits + np.cumsum(outcomes == FALSE_POSITIVE)
    return hits / np.maximum(counted, 1), hits / truths


def eleven_points_of_one(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """Return VOC07's average precision of curves of a single point each: (...), (...) -> (...).

    It is the precision times the share of the eleven recalls that the point reaches.
    """
    return precision * (recall[..., None] >= ELEVEN_RECALLS).mean(axis=-1)


def counts_passing(passed: IntsK, columns: IntsK, settings: int, width: int) -> np.ndarray:
    """Count in each column how many pass each of the rising thresholds.

    Args:
        passed: (K,) how many of the thresholds each passes.
        columns: (K,) the column of each, from 0 to `width` - 1.
        settings: The number S of thresholds.
        width: The number of columns.

    Returns:
        (S, width) counts.
    """
    counts = np.bincount(passed * width + columns, minlength=(settings + 1) * width).reshape(settings + 1, width)
    return counts[::-1].cumsum(axis=0)[::-1][1:]


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide one count by another; 0 where the other is 0."""
    return part / np.maximum(whole, 1)


def precision_recall_f1(hits: np.ndarray, misses: np.ndarray, truths: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return precision, recall and F1 = 2 TP / (2 TP + FP + FN), where TP + FN are the truths; all broadcast."""
    return ratio(hits, hits + misses), ratio(hits, truths), ratio(2 * hits, hits + misses + truths)


def mean_known(values: FloatsC) -> float:
    """Return the mean over the classes with ground truth, NaN without any."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
