"""The figures of a report: one search for overlaps, then each threshold's matching and averages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rbox_metrics._curves import area, eleven_points, eleven_points_of_one, precision_recall, ratio
from rbox_metrics._flat import FlatBoxes
from rbox_metrics._matching import FALSE_POSITIVE, TRUE_POSITIVE, best_truths, claim, match_once, rank_pairs
from rbox_metrics._report import AtThreshold, ClassFigures
from rbox_metrics._search import Pairs, overlapping_pairs
from rbox_metrics._typing import BoundsC, FlagsT, FloatsC, FloatsN, IntsC, IntsN, OutcomesN

Average = Callable[[FloatsN, FloatsN], float]

_AVERAGES: dict[str, Average] = {"voc07": eleven_points, "voc": area}


@dataclass(frozen=True, eq=False)
class Matched:
    """What every threshold shares.

    Attributes:
        labels: (D,) the detections' classes.
        difficult: (T,) the truths' flags.
        truths: (C,) truths of each class, without the difficult ones.
        difficult_truths: (C,) the difficult ones.
        bounds: (C + 1,) in `by_score` and `by_input` class c has the places bounds[c] to bounds[c + 1].
        by_score: (D,) detections by class, then falling score, image and input.
        by_input: (D,) detections by class, then image and input.
        best: (D,) the truth that each overlaps most, -1 for none.
        best_iou: (D,)
        ranked: Pairs from the first to be matched one to one to the last.
        ranked_tied: The same without regard to scores.
    """

    labels: IntsN
    difficult: FlagsT
    truths: IntsC
    difficult_truths: IntsC
    bounds: BoundsC
    by_score: IntsN
    by_input: IntsN
    best: IntsN
    best_iou: FloatsN
    ranked: Pairs
    ranked_tied: Pairs

    @classmethod
    def of(cls, truths: FlatBoxes, detections: FlatBoxes, classes: int, least: float) -> Matched:
        """Finds the overlaps of `least` or more, and the orders that matching goes by."""
        labels, images = detections.labels, detections.image_index
        pairs = overlapping_pairs(
            detections.boxes,
            images * classes + labels,
            truths.boxes,
            truths.image_index * classes + truths.labels,
            least,
        )
        best, best_iou = best_truths(pairs, truths.difficult, len(detections))
        tied = np.ones(len(detections))
        scores = tied if detections.scores is None else detections.scores
        ranked_tied = rank_pairs(pairs, tied, detections.boxes, truths.boxes)
        return cls(
            labels=labels,
            difficult=truths.difficult,
            truths=np.bincount(truths.labels[~truths.difficult], minlength=classes),
            difficult_truths=np.bincount(truths.labels[truths.difficult], minlength=classes),
            bounds=np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(labels, minlength=classes))]),
            # lexsort is stable: what ties in every key stays in the order of the input.
            by_score=np.lexsort((images, -scores, labels)),
            by_input=np.lexsort((images, labels)),
            best=best,
            best_iou=best_iou,
            ranked=ranked_tied if scores is tied else rank_pairs(pairs, scores, detections.boxes, truths.boxes),
            ranked_tied=ranked_tied,
        )


def figures_at(threshold: float, matched: Matched, names: Sequence[str], protocol: str) -> AtThreshold:
    """The figures at one IoU threshold; `protocol` is a name in `_AVERAGES`."""
    has_truth = matched.truths > 0
    ap = _average_precisions(matched, matched.by_score, threshold, _AVERAGES[protocol])
    ap_nc = _average_precisions(matched, matched.by_input, threshold, eleven_points)
    hits, misses = _counts(matched, matched.ranked_tied, threshold)
    ap_nc_tied = np.where(
        has_truth, eleven_points_of_one(ratio(hits, hits + misses), ratio(hits, matched.truths)), np.nan
    )
    hits, misses = _counts(matched, matched.ranked, threshold)
    precision, recall, f1 = (np.where(has_truth, x, np.nan) for x in _precision_recall_f1(hits, misses, matched.truths))
    totals = np.array([hits.sum()]), np.array([misses.sum()]), np.array([matched.truths.sum()])
    micro = [float(x[0]) if has_truth.any() else np.nan for x in _precision_recall_f1(*totals)]
    detections = np.diff(matched.bounds)
    return AtThreshold(
        iou_threshold=threshold,
        map=_mean(ap),
        map_nc=_mean(ap_nc),
        map_nc_tied=_mean(ap_nc_tied),
        precision_micro=micro[0],
        recall_micro=micro[1],
        f1_micro=micro[2],
        f1_macro=_mean(f1),
        classes=tuple(
            ClassFigures(
                name=name,
                truths=int(matched.truths[c]),
                difficult=int(matched.difficult_truths[c]),
                detections=int(detections[c]),
                ap=float(ap[c]),
                ap_nc=float(ap_nc[c]),
                ap_nc_tied=float(ap_nc_tied[c]),
                precision=float(precision[c]),
                recall=float(recall[c]),
                f1=float(f1[c]),
            )
            for c, name in enumerate(names)
        ),
    )


def _average_precisions(matched: Matched, order: IntsN, threshold: float, average: Average) -> FloatsC:
    """(C,) the average precision of each class, NaN without truth, detections taken in an order."""
    outcomes = claim(order, matched.best, matched.best_iou, matched.difficult, threshold)[order]
    result = np.full(len(matched.truths), np.nan)
    for c in np.flatnonzero(matched.truths):
        of_class = outcomes[matched.bounds[c] : matched.bounds[c + 1]]
        result[c] = average(*precision_recall(of_class, int(matched.truths[c])))
    return result


def _counts(matched: Matched, ranked: Pairs, threshold: float) -> tuple[IntsC, IntsC]:
    """(C,) true and (C,) false positives of each class, matched one to one."""
    outcomes: OutcomesN = match_once(ranked, matched.difficult, threshold, len(matched.labels))
    hits, misses = (
        np.bincount(matched.labels[outcomes == outcome], minlength=len(matched.truths))
        for outcome in (TRUE_POSITIVE, FALSE_POSITIVE)
    )
    return hits, misses


def _precision_recall_f1(hits: IntsC, misses: IntsC, truths: IntsC) -> tuple[FloatsC, FloatsC, FloatsC]:
    # F1 is the harmonic mean of the other two: 2 TP / (2 TP + FP + FN), where TP + FN are the truths.
    return ratio(hits, hits + misses), ratio(hits, truths), ratio(2 * hits, hits + misses + truths)


def _mean(values: FloatsC) -> float:
    """The mean over the classes with truth, NaN without any."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")
