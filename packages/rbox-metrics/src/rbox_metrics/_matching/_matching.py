"""Matching of detections and truths, as the protocols define it, at many thresholds at once.

Each function returns outcomes (S, D): a row for each setting, such as an IoU threshold, and a column for each place in
an order of the detections. So averages and counts are sums along a row. Settings run in parallel, and each row is
filled by one thread in one order: the result does not depend on the number of threads. No compiled function here calls
one of another file.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np

from rbox_metrics._inputs import FlatBoxes
from rbox_metrics._jit import in_parts, inlined, jit
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

# The outcomes of a detection. An ignored one counts as neither right nor wrong, as if it had not been given.
TRUE_POSITIVE = 1
FALSE_POSITIVE = 0
IGNORED = -1

# Runs of this length are sorted by insertion: most detections overlap few truths.
_FEW = 16

# Sorting one value takes about as long as this number of steps of other kernels.
_PASSES = 4

# A score threshold that all detections pass: no score is as low.
ANY_SCORE = -np.inf


@inlined
@no_type_check
def _behind(i, j, first, second):
    """Return whether i comes after j in falling order."""
    return (first[i] < first[j]) | ((first[i] == first[j]) & (second[i] < second[j]))


@jit
@no_type_check
def _sort_falling(begin, end, starts, first, second, order, spare):
    """Sort `order` within each group by merging; ties keep their order. `spare` has the same length."""
    for g in range(begin, end):
        start, stop = starts[g], starts[g + 1]
        for low in range(start, stop, _FEW):
            for k in range(low + 1, min(low + _FEW, stop)):
                moved, place = order[k], k
                while place > low and _behind(order[place - 1], moved, first, second):
                    order[place] = order[place - 1]
                    place -= 1
                order[place] = moved
        width = _FEW
        while width < stop - start:
            for low in range(start, stop - width, 2 * width):
                middle, high = low + width, min(low + 2 * width, stop)
                for k in range(low, middle):
                    spare[k] = order[k]
                left, right = low, middle
                for k in range(low, high):
                    if left == middle:
                        break
                    if right < high and _behind(spare[left], order[right], first, second):
                        order[k] = order[right]
                        right += 1
                    else:
                        order[k] = spare[left]
                        left += 1
            width *= 2


@jit
@no_type_check
def _best_truths(begin, end, starts, truth, iou, difficult, forgotten, best, best_iou):
    for d in range(begin, end):
        for k in range(starts[d], starts[d + 1]):
            t = truth[k]
            if forgotten[t]:
                continue
            if best[d] < 0 or (iou[k] == best_iou[d] and difficult[best[d]] and not difficult[t]):
                best[d], best_iou[d] = t, iou[k]


@jit
@no_type_check
def _matches(
    begin, end, detection, truth, iou, place, difficult, any_difficult, scores, iou_thresholds, score_thresholds,
    outcomes,
):  # fmt: skip
    # By detection while matching: detections of an image are then close together in memory, as its pairs are.
    row, taken = np.empty(len(place), dtype=np.int8), np.empty(len(difficult), dtype=np.int8)
    for s in range(begin, end):
        for d in range(len(place)):
            row[d] = FALSE_POSITIVE if scores[d] > score_thresholds[s] else IGNORED
        for t in range(len(difficult)):
            taken[t] = 0
        for k in range(len(detection)):
            d, t = detection[k], truth[k]
            if row[d] == FALSE_POSITIVE and iou[k] >= iou_thresholds[s] and not difficult[t] and taken[t] == 0:
                taken[t] = 1
                row[d] = TRUE_POSITIVE
        for k in range(len(detection) if any_difficult else 0):
            d = detection[k]
            if row[d] == FALSE_POSITIVE and iou[k] >= iou_thresholds[s] and difficult[truth[k]]:
                row[d] = IGNORED
        for d in range(len(place)):
            outcomes[s, place[d]] = row[d]


@jit
@no_type_check
def _partners(detection, truth, iou, threshold, taken, partner, partner_iou):
    for k in range(len(detection)):
        d, t = detection[k], truth[k]
        if partner[d] < 0 and not taken[t] and iou[k] >= threshold:
            partner[d], partner_iou[d], taken[t] = t, iou[k], True


@jit
@no_type_check
def _greedy(
    begin,
    end,
    order,
    starts,
    truth,
    iou,
    crowd,
    truth_area,
    area,
    rank,
    max_dets,
    iou_thresholds,
    lows,
    highs,
    outcomes,
):
    taken = np.empty(len(crowd), dtype=np.int8)
    for s in range(begin, end):
        threshold = min(iou_thresholds[s], 1 - 1e-10)
        for t in range(len(crowd)):
            taken[t] = 0
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
                    if aside < 0 and (crowd[t] or taken[t] == 0):
                        aside = t
                elif taken[t] == 0:
                    found = t
                    break
            if found >= 0:
                taken[found] = 1
                outcomes[s, place] = TRUE_POSITIVE
            elif aside >= 0:
                taken[aside] = 1
            elif lows[s] <= area[d] <= highs[s]:
                outcomes[s, place] = FALSE_POSITIVE


def sort_within(starts: Bounds, pairs: Pairs) -> Pairs:
    """Sort the pairs of each detection by falling IoU, then by the truth's index; detection d has starts[d:d+2]."""
    order = falling_within(starts, pairs.iou, -pairs.truth.astype(np.float64))
    return Pairs(pairs.detection, pairs.truth[order], pairs.iou[order])


def best_truths(starts: Bounds, pairs: Pairs, difficult: FlagsT, forgotten: FlagsT) -> tuple[IntsN, FloatsN]:
    """Return the ground truth that each detection overlaps most, and by how much.

    If an ordinary and a difficult truth overlap it equally, the ordinary one is returned, as in MMRotate.

    Args:
        starts: (D + 1,) where each detection's pairs begin.
        pairs: The pairs, sorted by `sort_within`.
        difficult: (T,) whether each truth is difficult.
        forgotten: (T,) whether each truth is treated as if it did not exist.

    Returns:
        (D,) indices of truths, -1 for detections in no pair; (D,) their IoU, 0 there.
    """
    count = len(starts) - 1
    best, best_iou = np.full(count, -1), np.zeros(count)
    in_parts(
        _best_truths,
        count,
        len(pairs.iou),
        starts,
        pairs.truth,
        pairs.iou,
        difficult,
        forgotten,
        best,
        best_iou,
        bounds=starts,
    )
    return best, best_iou


def match_once(
    ranked: Pairs,
    place: IntsN,
    difficult: FlagsT,
    scores: FloatsN,
    iou_thresholds: FloatsS,
    score_thresholds: FloatsS,
) -> OutcomesSN:
    """Match one to one: pairs are taken from the first to the last where both are free.

    Difficult truths are not matched. A detection without a truth that overlaps a difficult one by the threshold or more
    is ignored.

    Args:
        ranked: The pairs, sorted by `rank_pairs`.
        place: (D,) the column of each detection in the result.
        difficult: (T,) whether each truth is difficult.
        scores: (D,) the detections' scores.
        iou_thresholds: (S,) the IoU that is enough at each setting, above 0.
        score_thresholds: (S,) detections with this score or a lower one are ignored.

    Returns:
        (S, D) int8 outcomes.
    """
    ranked = ranked.select(ranked.iou >= iou_thresholds.min(initial=1.0))
    settings = len(iou_thresholds)
    outcomes = np.empty((settings, len(place)), dtype=np.int8)
    in_parts(
        _matches,
        settings,
        outcomes.size,
        ranked.detection,
        ranked.truth,
        ranked.iou,
        place,
        difficult,
        bool(difficult.any()),
        scores,
        iou_thresholds,
        score_thresholds,
        outcomes,
    )
    return outcomes


def partners(ranked: Pairs, difficult: FlagsT, iou_threshold: float, count: int) -> tuple[IntsN, FloatsN]:
    """Return for each of `count` detections what `match_once` gives it: (D,) the truth or -1, and (D,) the IoU."""
    partner, partner_iou = np.full(count, -1), np.zeros(count)
    _partners(ranked.detection, ranked.truth, ranked.iou, iou_threshold, difficult.copy(), partner, partner_iou)
    return partner, partner_iou


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
    """Match as COCO does: each detection takes the free ground truth that it overlaps most.

    A detection takes a truth outside the area range, or a crowd, only if no other truth is left for it; it is then
    ignored. A crowd may be taken many times. A detection without a truth is a false positive, or ignored if its own
    area is outside the range.

    Source: `COCOeval.evaluateImg` in PythonAPI/pycocotools/cocoeval.py, cocodataset/cocoapi at 8c9bcc3, which
    MMRotate's `RotatedCocoMetric` runs on rotated overlaps. There the later of two truths with the same overlap is
    taken; here the one with the smaller index.

    Args:
        order: (D,) detections by class, within each by falling score.
        starts: (D + 1,) where each detection's pairs begin.
        pairs: The pairs, sorted by `sort_within`.
        crowd: (T,) whether each truth is a crowd.
        truth_area: (T,) the truths' areas in square pixels.
        area: (D,) the detections' areas in square pixels.
        rank: (D,) how many better detections there are of the same class and image.
        max_dets: Detections of this rank or a higher one are ignored.
        iou_thresholds: (S,) the IoU that is enough at each setting.
        area_ranges: (S, 2) the least and the greatest area in the range, at each setting.

    Returns:
        (S, D) int8 outcomes, by the place in `order`.
    """
    lows, highs = np.ascontiguousarray(area_ranges.T)
    outcomes = np.full((len(iou_thresholds), len(order)), IGNORED, dtype=np.int8)
    in_parts(
        _greedy,
        len(iou_thresholds),
        outcomes.size,
        order,
        starts,
        pairs.truth,
        pairs.iou,
        crowd,
        truth_area,
        area,
        rank,
        max_dets,
        iou_thresholds,
        lows,
        highs,
        outcomes,
    )
    return outcomes


def rank_pairs(pairs: Pairs, scores: FloatsN, detections: FlatBoxes, truths: FlatBoxes) -> Pairs:
    """Sort pairs by image, then falling score, then falling IoU, then by the numbers of the boxes.

    The place of a box in the input does not matter. Boxes (and quads) with exactly the same numbers may change places,
    but equally many of them are matched. So the result of `match_once` does not depend on the order of boxes,
    images or files.

    Matching never crosses images. So sorting by image takes little more than linear time, and matching reads memory
    that is close together.

    Args:
        pairs: The pairs, in any order.
        scores: (D,) the scores to sort by, instead of the detections' own.
        detections: The D detections.
        truths: The truths of the same images.
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
    """Return the order of falling `first`, then falling `second`, within each group; ties keep their order."""
    order, spare = np.arange(len(first)), np.empty(len(first), dtype=np.int64)
    in_parts(_sort_falling, len(starts) - 1, _PASSES * len(first), starts, first, second, order, spare, bounds=starts)
    return order


def by_falling(first: FloatsK, second: FloatsK) -> IntsK:
    """Return the order of falling `first`, then falling `second`; ties keep their order."""
    order = np.argsort(-second, kind="stable")
    return order[np.argsort(-first[order], kind="stable")] if len(first) and (first != first[0]).any() else order


def tied_runs(tied: np.ndarray, count: int) -> tuple[IntsN, IntsN]:
    """Return which neighbours in a sorted sequence of `count` tie.

    Usually there are few ties, and only these need be sorted by anything else.

    Args:
        tied: (count - 1,) whether each ties with the next.
        count: The length of the sequence, from 0.

    Returns:
        The places of those that tie with a neighbour, and the number of the run of ties that each belongs to.
    """
    run = np.concatenate([np.zeros(1, np.int64), np.cumsum(~tied)])[:count]
    member = np.zeros(count + 1, dtype=bool)
    member[1:count] = tied
    member[: max(count - 1, 0)] |= tied
    places = np.flatnonzero(member[:count])
    return places, run[places]
