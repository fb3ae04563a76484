"""Which detection finds which truth, as the protocols define it, at many thresholds at once.

Each function gives outcomes (S, D): a row for each setting, such as an IoU threshold, and a column for each place in
an order of the detections, so that averages and counts are sums along a row. Settings run in parallel, and each row is
filled by one thread in one order: how many threads there are changes nothing. No compiled function here calls one of
another file.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import prange

from rbox_metrics._inputs import FlatBoxes
from rbox_metrics._jit import jit, parallel_jit
from rbox_metrics._overlaps import Pairs, stable_order
from rbox_metrics.typing import (
    Bounds,
    FlagsT,
    FloatsK,
    FloatsN,
    FloatsS,
    FloatsT,
    IntsK,
    IntsN,
    OutcomesSN,
)

# What becomes of a detection. Ignored ones count as neither right nor wrong, as if they had not been given.
TRUE_POSITIVE = 1
FALSE_POSITIVE = 0
IGNORED = -1

# Up to so many are sorted by inserting: most detections overlap few truths.
_FEW = 32

# No detection's score is as low: a score threshold that all of them pass.
ANY_SCORE = -np.inf


@parallel_jit
@no_type_check
def _sort_within(starts, second, values):
    for d in prange(len(starts) - 1):
        start, stop = starts[d], starts[d + 1]
        if stop - start > _FEW:
            by_second = np.argsort(second[start:stop], kind="mergesort")
            order = by_second[np.argsort(-values[start:stop][by_second], kind="mergesort")]
            values[start:stop], second[start:stop] = values[start:stop][order], second[start:stop][order]
            continue
        for k in range(start + 1, stop):
            value, index, place = values[k], second[k], k
            while place > start and (
                values[place - 1] < value or (values[place - 1] == value and second[place - 1] > index)
            ):
                values[place], second[place] = values[place - 1], second[place - 1]
                place -= 1
            values[place], second[place] = value, index


@parallel_jit
@no_type_check
def _best_truths(starts, truth, iou, difficult, forgotten):
    count = len(starts) - 1
    best = np.full(count, -1, dtype=np.int64)
    best_iou = np.zeros(count)
    for d in prange(count):
        for k in range(starts[d], starts[d + 1]):
            t = truth[k]
            if forgotten[t]:
                continue
            if best[d] < 0 or (iou[k] == best_iou[d] and difficult[best[d]] and not difficult[t]):
                best[d], best_iou[d] = t, iou[k]
    return best, best_iou


@parallel_jit
@no_type_check
def _matches(detection, truth, iou, place, difficult, scores, iou_thresholds, score_thresholds):
    outcomes = np.empty((len(iou_thresholds), len(place)), dtype=np.int8)
    any_difficult = difficult.any()
    for s in prange(len(iou_thresholds)):
        # By detection while matching: those of an image lie together then, as its pairs do.
        row = np.full(len(place), IGNORED, dtype=np.int8)
        for d in range(len(place)):
            if scores[d] > score_thresholds[s]:
                row[d] = FALSE_POSITIVE
        taken = np.zeros(len(difficult), dtype=np.bool_)
        for k in range(len(detection)):
            d, t = detection[k], truth[k]
            if row[d] == FALSE_POSITIVE and iou[k] >= iou_thresholds[s] and not difficult[t] and not taken[t]:
                taken[t] = True
                row[d] = TRUE_POSITIVE
        for k in range(len(detection) if any_difficult else 0):
            d = detection[k]
            if row[d] == FALSE_POSITIVE and iou[k] >= iou_thresholds[s] and difficult[truth[k]]:
                row[d] = IGNORED
        for d in range(len(place)):
            outcomes[s, place[d]] = row[d]
    return outcomes


@parallel_jit
@no_type_check
def _falling_within(starts, first, second):
    order = np.arange(len(first))
    for g in prange(len(starts) - 1):
        start, stop = starts[g], starts[g + 1]
        if stop - start > 1:
            by_second = np.argsort(-second[start:stop], kind="mergesort")
            by_first = np.argsort(-first[start:stop][by_second], kind="mergesort")
            order[start:stop] = start + by_second[by_first]
    return order


@jit
@no_type_check
def _partners(detection, truth, iou, difficult, threshold, count):
    partner = np.full(count, -1, dtype=np.int64)
    partner_iou = np.zeros(count)
    taken = difficult.copy()
    for k in range(len(detection)):
        d, t = detection[k], truth[k]
        if partner[d] < 0 and not taken[t] and iou[k] >= threshold:
            partner[d], partner_iou[d], taken[t] = t, iou[k], True
    return partner, partner_iou


@parallel_jit
@no_type_check
def _greedy(order, starts, truth, iou, crowd, truth_area, area, rank, max_dets, iou_thresholds, lows, highs):
    outcomes = np.full((len(iou_thresholds), len(order)), IGNORED, dtype=np.int8)
    for s in prange(len(iou_thresholds)):
        threshold = min(iou_thresholds[s], 1 - 1e-10)
        taken = np.zeros(len(crowd), dtype=np.bool_)
        for place in range(len(order)):
            d = order[place]
            if rank[d] >= max_dets:
                continue
            found, aside = -1, -1
            for k in range(starts[d], starts[d + 1]):
                t = truth[k]
                if iou[k] < threshold:
                    break
                if crowd[t] or truth_area[t] < lows[s] or truth_area[t] > highs[s]:
                    if aside < 0 and (crowd[t] or not taken[t]):
                        aside = t
                elif not taken[t]:
                    found = t
                    break
            if found >= 0:
                taken[found] = True
                outcomes[s, place] = TRUE_POSITIVE
            elif aside >= 0:
                taken[aside] = True
            elif lows[s] <= area[d] <= highs[s]:
                outcomes[s, place] = FALSE_POSITIVE
    return outcomes


def sort_within(starts: Bounds, pairs: Pairs) -> Pairs:
    """The pairs of each detection by falling IoU, of equal ones by the truth's index; detection d has starts[d:d+2]."""
    truth, iou = pairs.truth.copy(), pairs.iou.copy()
    _sort_within(starts, truth, iou)
    return Pairs(pairs.detection, truth, iou)


def best_truths(starts: Bounds, pairs: Pairs, difficult: FlagsT, forgotten: FlagsT) -> tuple[IntsN, FloatsN]:
    """The truth that each detection overlaps most, and by how much.

    Of equal overlaps the ordinary truth comes before the difficult one, as MMRotate stacks them.

    Args:
        starts: (D + 1,) where each detection's pairs begin.
        pairs: As by `sort_within`.
        difficult: (T,)
        forgotten: (T,) truths that are not there.

    Returns:
        (D,) indices of truths, -1 for detections in no pair; (D,) their IoU, 0 there.
    """
    return _best_truths(starts, pairs.truth, pairs.iou, difficult, forgotten)


def match_once(
    ranked: Pairs,
    place: IntsN,
    difficult: FlagsT,
    scores: FloatsN,
    iou_thresholds: FloatsS,
    score_thresholds: FloatsS,
) -> OutcomesSN:
    """One-to-one matching: pairs are taken from the first to the last where both are free.

    Difficult truths are left out of it; a detection that stays without a truth, and overlaps a difficult one by the
    threshold or more, is ignored.

    Args:
        ranked: Pairs as by `rank_pairs`.
        place: (D,) the column of each detection in the result.
        difficult: (T,)
        scores: (D,)
        iou_thresholds: (S,) each above 0.
        score_thresholds: (S,) detections of this score or a lower one are ignored.

    Returns:
        (S, D) int8.
    """
    ranked = ranked.select(ranked.iou >= iou_thresholds.min(initial=1.0))
    return _matches(
        ranked.detection, ranked.truth, ranked.iou, place, difficult, scores, iou_thresholds, score_thresholds
    )


def partners(ranked: Pairs, difficult: FlagsT, iou_threshold: float, count: int) -> tuple[IntsN, FloatsN]:
    """The truth that `match_once` gives each of `count` detections: (D,) its index or -1, and (D,) their IoU or 0."""
    return _partners(ranked.detection, ranked.truth, ranked.iou, difficult, iou_threshold, count)


def match_greedily(
    order: IntsN,
    starts: Bounds,
    pairs: Pairs,
    crowd: FlagsT,
    truth_area: FloatsT,
    area: FloatsN,
    rank: IntsN,
    max_dets: int,
    iou_thresholds: FloatsS,
    area_ranges: np.ndarray,
) -> OutcomesSN:
    """Matching as in COCO: each detection takes the free truth that it overlaps most.

    Truths outside the area range, and crowds, are set aside: a detection takes one of them only where no other is left
    to it, and is ignored then. A crowd may be taken again and again. A detection without a truth is a false positive,
    or ignored where its own area is outside the range.

    Source: `COCOeval.evaluateImg` in PythonAPI/pycocotools/cocoeval.py, cocodataset/cocoapi at 8c9bcc3, which
    MMRotate's `RotatedCocoMetric` runs on rotated overlaps. There the later of two truths with the same overlap is
    taken; here the one with the smaller index.

    Args:
        order: (D,) detections by class, within each by falling score.
        starts: (D + 1,) where each detection's pairs begin.
        pairs: As by `sort_within`.
        crowd: (T,)
        truth_area: (T,) in square pixels.
        area: (D,)
        rank: (D,) how many better detections there are of the same class and image.
        max_dets: Detections of this rank or a higher one are ignored.
        iou_thresholds: (S,)
        area_ranges: (S, 2) least and greatest area, both within the range.

    Returns:
        (S, D) int8, by the place in `order`.
    """
    lows, highs = np.ascontiguousarray(area_ranges.T)
    return _greedy(
        order, starts, pairs.truth, pairs.iou, crowd, truth_area, area, rank, max_dets, iou_thresholds, lows, highs
    )


def rank_pairs(pairs: Pairs, scores: FloatsN, detections: FlatBoxes, truths: FlatBoxes) -> Pairs:
    """The pairs by image, then falling score, then falling IoU; of equal ones by the boxes, never by their place.

    Boxes and quads that agree in all their numbers too may change places: how many are matched is the same. So the
    result of `match_once` does not depend on the order of boxes, images or files.

    Matching never crosses images: by image the pairs are sorted in little more than linear time, and what matching
    looks at lies close together.

    Args:
        pairs: In any order.
        scores: (D,) in place of the detections' own.
        detections: D of them.
        truths: Of the same images.
    """
    image = truths.image_index[pairs.truth]
    by_image = stable_order(image, int(image.max(initial=0)))
    pairs = pairs.select(by_image)
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(image))])
    score = scores[pairs.detection]
    order = falling_within(starts, score, pairs.iou)
    tied = (np.diff(pairs.iou[order]) == 0) & (np.diff(score[order]) == 0) & (np.diff(image[by_image]) == 0)
    members, run = tied_runs(tied, len(order))
    chosen = pairs.select(order[members])
    keys = (*truths.numbers(chosen.truth)[::-1], *detections.numbers(chosen.detection)[::-1], run)
    order[members] = order[members][np.lexsort(keys)]
    return pairs.select(order)


def falling_within(starts: Bounds, first: FloatsK, second: FloatsK) -> IntsK:
    """The order of falling `first`, then falling `second`, within each group; what ties in both stays as it was."""
    return _falling_within(starts, first, second)


def by_falling(first: FloatsK, second: FloatsK) -> IntsK:
    """The order of falling `first`, then falling `second`; what ties in both stays as it was."""
    order = np.argsort(-second, kind="stable")
    return order[np.argsort(-first[order], kind="stable")] if len(first) and (first != first[0]).any() else order


def tied_runs(tied: np.ndarray, count: int) -> tuple[IntsN, IntsN]:
    """Where the neighbours in a sorted sequence of `count` tie.

    Args:
        tied: (count - 1,) whether each ties with the next.
        count: From 0.

    Returns:
        The places of those that tie with a neighbour, and the run of ties that each belongs to. Ties are few, as a
        rule: only these need be put in order by what else there is.
    """
    run = np.concatenate([np.zeros(1, np.int64), np.cumsum(~tied)])[:count]
    member = np.zeros(count + 1, dtype=bool)
    member[1:count] = tied
    member[: max(count - 1, 0)] |= tied
    places = np.flatnonzero(member[:count])
    return places, run[places]
