"""Which detection finds which truth, as the protocols define it. No compiled function here calls another."""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from rbox_metrics._jit import jit
from rbox_metrics._search import Pairs
from rbox_metrics._typing import BoxesN, BoxesT, FlagsT, FloatsN, IntsN, OutcomesN

# What becomes of a detection; ignored ones count as neither.
TRUE_POSITIVE = 1
FALSE_POSITIVE = 0
IGNORED = -1


@jit
@no_type_check
def _best_truths(detection, truth, iou, difficult, count):
    best = np.full(count, -1, dtype=np.int64)
    best_iou = np.zeros(count)
    for k in range(len(detection)):
        d, t = detection[k], truth[k]
        b = best[d]
        if b >= 0 and iou[k] <= best_iou[d]:
            if iou[k] < best_iou[d] or difficult[b] < difficult[t]:
                continue
            if difficult[b] == difficult[t] and b < t:
                continue
        best[d], best_iou[d] = t, iou[k]
    return best, best_iou


@jit
@no_type_check
def _claim(order, best, best_iou, difficult, threshold):
    outcome = np.full(len(order), FALSE_POSITIVE, dtype=np.int8)
    claimed = np.zeros(len(difficult), dtype=np.bool_)
    for d in order:
        t = best[d]
        if t < 0 or best_iou[d] < threshold:
            continue
        if difficult[t]:
            outcome[d] = IGNORED
        elif not claimed[t]:
            claimed[t] = True
            outcome[d] = TRUE_POSITIVE
    return outcome


@jit
@no_type_check
def _match_once(detection, truth, iou, difficult, threshold, count):
    outcome = np.full(count, FALSE_POSITIVE, dtype=np.int8)
    taken = np.zeros(len(difficult), dtype=np.bool_)
    for k in range(len(detection)):
        d, t = detection[k], truth[k]
        if iou[k] >= threshold and not difficult[t] and not taken[t] and outcome[d] == FALSE_POSITIVE:
            taken[t] = True
            outcome[d] = TRUE_POSITIVE
    for k in range(len(detection)):
        d, t = detection[k], truth[k]
        if iou[k] >= threshold and difficult[t] and outcome[d] == FALSE_POSITIVE:
            outcome[d] = IGNORED
    return outcome


def best_truths(pairs: Pairs, difficult: FlagsT, count: int) -> tuple[IntsN, FloatsN]:
    """The truth that each of `count` detections overlaps most, and by how much.

    Of equal overlaps the ordinary truth comes before the difficult one, then the first in the input: so MMRotate
    stacks them.

    Returns:
        (count,) indices of truths, -1 for detections in no pair; (count,) their IoU, 0 there.
    """
    return _best_truths(pairs.detection, pairs.truth, pairs.iou, difficult, count)


def claim(order: IntsN, best: IntsN, best_iou: FloatsN, difficult: FlagsT, threshold: float) -> OutcomesN:
    """Matching as in PASCAL VOC: each detection claims the truth that it overlaps most, the difficult included.

    Below the threshold it is a false positive. Else, where that truth is difficult, it is ignored; where no better
    detection claimed it, a true positive; and a false positive where one did, though another truth may be free.

    Source: `tpfp_default` in mmrotate/core/evaluation/eval_map.py, open-mmlab/mmrotate at 009d312.

    Args:
        order: (D,) detections from best to worst, at least within each image and class.
        best: (D,) as by `best_truths`.
        best_iou: (D,).
        difficult: (T,).
        threshold: Above 0.

    Returns:
        (D,) int8, by detection.
    """
    return _claim(order, best, best_iou, difficult, threshold)


def match_once(ranked: Pairs, difficult: FlagsT, threshold: float, count: int) -> OutcomesN:
    """One-to-one matching: pairs are taken from the first to the last where both are free.

    Difficult truths are left out of it; a detection that stays without a truth, and overlaps a difficult one by the
    threshold or more, is ignored.

    Args:
        ranked: Pairs as by `rank_pairs`.
        difficult: (T,).
        threshold: Above 0.
        count: The number D of detections.

    Returns:
        (D,) int8, by detection.
    """
    return _match_once(ranked.detection, ranked.truth, ranked.iou, difficult, threshold, count)


def rank_pairs(pairs: Pairs, scores: FloatsN, detections: BoxesN, truths: BoxesT) -> Pairs:
    """The pairs by falling score, then falling IoU; of equal ones by the boxes themselves, never by their place.

    Boxes that agree in all five numbers too may change places: how many are matched is the same. So the result of
    `match_once` does not depend on the order of boxes, images or files.
    """
    score = scores[pairs.detection]
    order = np.lexsort((-pairs.iou, -score))
    tied = (np.diff(pairs.iou[order]) == 0) & (np.diff(score[order]) == 0)
    run = np.concatenate([np.zeros(1, np.int64), np.cumsum(~tied)])[: len(order)]
    # Ties are few: only their members are put in order by the boxes' numbers, each run within its own places.
    members = np.flatnonzero(np.bincount(run)[run] > 1) if len(order) else order
    boxes = (truths[pairs.truth[order[members]]].T, detections[pairs.detection[order[members]]].T)
    order[members] = order[members][np.lexsort((*boxes[0], *boxes[1], run[members]))]
    return pairs.select(order)
