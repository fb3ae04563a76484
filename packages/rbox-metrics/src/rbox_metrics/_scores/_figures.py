"""The metrics of a report, computed from overlaps that were found once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rbox_metrics._matching import (
    ANY_SCORE,
    AREA_RANGES,
    ELEVEN_RECALLS,
    IGNORED,
    PROTOCOLS,
    Claims,
    Paired,
    Protocol,
    best_truths,
    claimed_averages,
    claims_by_iou,
    claims_by_score,
    match_greedily,
    match_once,
    shuffled,
)
from rbox_metrics._scores._averages import (
    average_precisions,
    counts,
    eleven_points_of_one,
    mean_known,
    precision_recall_f1,
    ratio,
)
from rbox_metrics._scores._results import AtThreshold, ClassFigures, CocoFigures
from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import FlagsT, FloatsC, FloatsN, FloatsS, FloatsSC, IntsC, IntsN, OutcomesSN

# The number of random orders of `map_nc_random`: the same as in LMMRotate's map_nc_robustness_cal.py.
RANDOM_ORDERS = 10


def figures_at(
    paired: Paired, protocol: Protocol, iou_thresholds: Sequence[float], max_dets: Sequence[int] | None
) -> tuple[tuple[AtThreshold, ...], CocoFigures | None]:
    """Return the metrics at each IoU threshold, and those that only COCO's protocol has."""
    thresholds = least_overlaps(iou_thresholds, protocol)
    truths = paired.truth_counts
    coco = None
    if protocol.greedy:
        ap, coco = _coco(paired, protocol, thresholds, max_dets or ())
    else:
        claimed = claims(paired, protocol, thresholds).take(paired.order)
        ap = claimed_averages(claimed, paired.bounds, truths, protocol.recalls)
    no_confidence = claims(paired, NO_CONFIDENCE, thresholds)
    nc = averages_by_input(paired, no_confidence)
    random = random_averages(paired, no_confidence)
    tied = tied_averages(paired, thresholds, np.full(len(thresholds), ANY_SCORE))
    hits, misses = counts(matches(paired, thresholds), paired.bounds)
    at = tuple(
        _at(threshold, paired, ap[s], nc[s], tied[s], random[:, s], hits[s], misses[s])
        for s, threshold in enumerate(iou_thresholds)
    )
    return at, coco


# mAP_nc is computed as LMMRotate does, which calls MMRotate.
NO_CONFIDENCE = PROTOCOLS["voc07"]


def least_overlaps(iou_thresholds: Sequence[float], protocol: Protocol) -> FloatsS:
    """Return (S,) the least IoU that is enough; the next float above a threshold that must be exceeded.

    Raises:
        MetricsError: If no IoU can exceed a threshold.
    """
    thresholds = np.array(iou_thresholds, dtype=np.float64)
    if not protocol.strict:
        return thresholds
    if thresholds.max(initial=0) >= 1:
        raise MetricsError("expected IoU thresholds below 1 for this protocol, whose overlaps must exceed them, got 1")
    return np.nextafter(thresholds, 2)


def claims(paired: Paired, protocol: Protocol, thresholds: FloatsS) -> Claims:
    """Return what each detection claims, the most overlapping truth of its class and image, at rising thresholds."""
    return claims_by_iou(*_best(paired, protocol), paired.truths.difficult, thresholds)


def claims_above(paired: Paired, protocol: Protocol, iou_threshold: float, scores: FloatsS) -> Claims:
    """Return what `claims` does at one IoU threshold, for detections of higher scores than each rising threshold."""
    best, best_iou = _best(paired, protocol)
    return claims_by_score(best, best_iou, paired.truths.difficult, iou_threshold, paired.scores, scores)


def matches(paired: Paired, thresholds: FloatsS) -> OutcomesSN:
    """Return (S, D) outcomes, by place in `order`, where all are matched one to one by falling score."""
    score_thresholds = np.full(len(thresholds), ANY_SCORE)
    return match_once(paired.ranked, paired.place, paired.truths.difficult, paired.scores, thresholds, score_thresholds)


def tied_averages(paired: Paired, thresholds: FloatsS, score_thresholds: FloatsS) -> FloatsSC:
    """Return (S, C) VOC07's average precision where all detections of a class have the same score: a single point."""
    outcomes = match_once(
        paired.ranked_by_iou, paired.place, paired.truths.difficult, paired.scores, thresholds, score_thresholds
    )
    hits, misses = counts(outcomes, paired.bounds)
    averages = eleven_points_of_one(ratio(hits, hits + misses), ratio(hits, paired.truth_counts))
    return np.where(paired.truth_counts > 0, averages, np.nan)


def averages_by_input(paired: Paired, claimed: Claims) -> FloatsSC:
    """Return (S, C) VOC07's average precisions with the detections in the order of the input."""
    return claimed_averages(claimed.take(paired.by_input), paired.bounds, paired.truth_counts, ELEVEN_RECALLS)


def random_averages(paired: Paired, claimed: Claims) -> np.ndarray:
    """Return (K, S, C) VOC07's average precisions with the detections of each class in K random orders.

    The orders are shuffled with fixed seeds, starting from `Paired.order`, which does not depend on how images and
    files were given.
    """
    claimed = claimed.take(paired.order)
    orders = (shuffled(claimed, paired.bounds, seed) for seed in range(RANDOM_ORDERS))
    return np.stack([claimed_averages(order, paired.bounds, paired.truth_counts, ELEVEN_RECALLS) for order in orders])


def _at(
    threshold: float,
    paired: Paired,
    ap: FloatsC,
    nc: FloatsC,
    tied: FloatsC,
    random: np.ndarray,
    hits: IntsC,
    misses: IntsC,
) -> AtThreshold:
    truths = paired.truth_counts
    known = truths > 0
    precision, recall, f1 = (np.where(known, x, np.nan) for x in precision_recall_f1(hits, misses, truths))
    totals = (x.sum(keepdims=True) for x in (hits, misses, truths))
    micro = [float(x[0]) if known.any() else np.nan for x in precision_recall_f1(*totals)]
    random_means = np.array([mean_known(orders) for orders in random])
    columns = (ap, nc, tied, random.mean(axis=0), precision, recall, f1)
    names = ("ap", "ap_nc", "ap_nc_tied", "ap_nc_random", "precision", "recall", "f1")
    detections = np.diff(paired.bounds)
    return AtThreshold(
        iou_threshold=threshold,
        map=mean_known(ap),
        map_nc=mean_known(nc),
        map_nc_tied=mean_known(tied),
        map_nc_random=float(random_means.mean()),
        map_nc_spread=float(random_means.std()),
        precision_micro=micro[0],
        recall_micro=micro[1],
        f1_micro=micro[2],
        f1_macro=mean_known(f1),
        classes=tuple(
            ClassFigures(
                name=name,
                truths=int(truths[c]),
                difficult=int(paired.difficult_counts[c]),
                detections=int(detections[c]),
                **{key: float(column[c]) for key, column in zip(names, columns, strict=True)},
            )
            for c, name in enumerate(paired.names)
        ),
    )


def _best(paired: Paired, protocol: Protocol) -> tuple[IntsN, FloatsN]:
    return best_truths(paired.starts, paired.pairs, paired.truths.difficult, _forgotten(paired, protocol))


def _forgotten(paired: Paired, protocol: Protocol) -> FlagsT:
    """Return (T,) whether the protocol forgets each truth; it forgets difficult ones only."""
    truths = paired.truths
    if not protocol.forgets_difficult:
        return np.zeros(len(truths), dtype=bool)
    ordinary = np.bincount(truths.image_index[~truths.difficult], minlength=int(truths.image_index.max(initial=0)) + 1)
    return truths.difficult & (ordinary[truths.image_index] == 0)


def _coco(
    paired: Paired, protocol: Protocol, thresholds: FloatsS, max_dets: Sequence[int]
) -> tuple[FloatsSC, CocoFigures]:
    """Return (S, C) average precisions, and the other metrics that COCO reports."""
    truths = paired.truths
    area, truth_area = paired.areas
    settings, ranges = len(thresholds), list(AREA_RANGES.values())
    outcomes = match_greedily(
        paired.order,
        paired.starts,
        paired.pairs,
        truths.difficult,
        truth_area,
        area,
        paired.rank,
        max_dets[-1],
        np.tile(thresholds, len(ranges)),
        np.repeat(np.array(ranges), settings, axis=0),
    )
    rank = paired.rank[paired.order]
    ap, ar = {}, {}
    for (name, (low, high)), of_range in zip(AREA_RANGES.items(), np.split(outcomes, len(ranges)), strict=True):
        wanted = ~truths.difficult & (low <= truth_area) & (truth_area <= high)
        wanted_counts = np.bincount(truths.labels[wanted], minlength=paired.classes)
        ap[name] = average_precisions(of_range, paired.bounds, wanted_counts, protocol.recalls)
        for limit in max_dets if name == "all" else max_dets[-1:]:
            within = np.where(rank < limit, of_range, np.int8(IGNORED))
            hits, _ = counts(within, paired.bounds)
            ar[name, limit] = np.where(wanted_counts > 0, ratio(hits, wanted_counts), np.nan)
    last = max_dets[-1]
    figures = CocoFigures(
        max_dets=tuple(max_dets),
        map_by_area={name: mean_known(ap[name].ravel()) for name in ap if name != "all"},
        mar={limit: mean_known(ar["all", limit].ravel()) for limit in max_dets},
        mar_by_area={name: mean_known(ar[name, last].ravel()) for name in ap if name != "all"},
        mar_per_class=tuple(ar["all", last].mean(axis=0).tolist()),
    )
    return ap["all"], figures
