"""Precision over recall, detection by detection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rbox_formats import ImageRecord

from rbox_metrics._inputs import FlatBoxes, check_iou_thresholds
from rbox_metrics._matching import (
    AREA_RANGES,
    HUNDRED_AND_ONE_RECALLS,
    IGNORED,
    PROTOCOLS,
    Paired,
    Protocol,
    choose,
    claim,
    match_greedily,
    pair,
)
from rbox_metrics._plain import plain
from rbox_metrics._scores._averages import average_precisions, precision_recall
from rbox_metrics._scores._figures import claims, least_overlaps
from rbox_metrics.typing import FloatsN, FloatsR, FloatsS, Geometry, OutcomesSN, ProtocolName


@dataclass(frozen=True, eq=False)
class ClassCurve:
    """The curve of a class: a point after each of its N detections that count, from the best score to the worst.

    >>> from rbox_metrics import from_arrays, precision_recall_curves
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> curve = precision_recall_curves(truth, found, ["ship", "plane"]).classes[0]
    >>> curve.name, curve.recall.tolist(), curve.precision.tolist()
    ('ship', [1.0], [1.0])

    Attributes:
        name: The name of the class.
        truths: How many truths there are to find.
        average_precision: The average precision by the protocol; NaN without truths.
        scores: (N,) the scores, never rising.
        precision: (N,) the precision of the detections up to this one.
        recall: (N,) the recall of the detections up to this one, never falling; NaN without truths.
    """

    name: str
    truths: int
    average_precision: float
    scores: FloatsN
    precision: FloatsN
    recall: FloatsN

    def sampled(self, recalls: FloatsR = HUNDRED_AND_ONE_RECALLS) -> FloatsR:
        """Return (R,) the best precision at each recall or higher, 0 where none is reached; NaN without ground truth.

        Their mean is the average precision with these recalls: COCO's with the default ones.
        """
        if not self.truths:
            return np.full(len(recalls), np.nan)
        best = np.maximum.accumulate(self.precision[::-1])[::-1]
        return np.concatenate([best, np.zeros(1)])[np.searchsorted(self.recall, recalls, side="left")]


@dataclass(frozen=True, eq=False)
class Curves:
    """The precision-recall curves at one IoU threshold.

    >>> from rbox_metrics import from_arrays, precision_recall_curves
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> curves = precision_recall_curves(truth, found, ["ship", "plane"])
    >>> curves.mean()[[0, 50, 100]].tolist()  # over both classes, at the recalls 0, 0.5 and 1
    [0.5, 0.5, 0.5]

    Attributes:
        iou_threshold: The overlap that a detection needs.
        classes: The curve of each class, in the order of the labels.
    """

    iou_threshold: float
    classes: tuple[ClassCurve, ...]

    def mean(self, recalls: FloatsR = HUNDRED_AND_ONE_RECALLS) -> FloatsR:
        """Return (R,) the mean of the sampled precisions over the classes with ground truth; NaN without any."""
        sampled = [curve.sampled(recalls) for curve in self.classes if curve.truths]
        return np.mean(sampled, axis=0) if sampled else np.full(len(recalls), np.nan)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON: the precisions at the recalls 0, 0.01, ..., 1; NaN becomes None."""
        return plain(
            {
                "iou_threshold": self.iou_threshold,
                "recalls": HUNDRED_AND_ONE_RECALLS,
                "mean_precision": self.mean(),
                "classes": [
                    {
                        "name": curve.name,
                        "truths": curve.truths,
                        "average_precision": curve.average_precision,
                        "precision": curve.sampled(),
                    }
                    for curve in self.classes
                ],
            }
        )


def precision_recall_curves(
    truth: Iterable[ImageRecord] | FlatBoxes,
    predictions: Iterable[ImageRecord] | FlatBoxes,
    class_names: Iterable[str],
    *,
    iou_threshold: float = 0.5,
    protocol: ProtocolName = "voc07",
    geometry: Geometry | None = None,
) -> Curves:
    """Return the precision-recall curves whose areas are the average precisions of `evaluate`.

    Detections with the same score (all of them, if there are no scores) are in the order of their images' ids, as in
    `evaluate`; the points between them have no meaning.

    >>> from rbox_metrics import from_arrays, precision_recall_curves
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> curves = precision_recall_curves(truth, found, ["ship", "plane"])
    >>> [(curve.name, curve.average_precision) for curve in curves.classes]
    [('ship', 1.0), ('plane', 0.0)]

    Args:
        truth: As in `evaluate`.
        predictions: As in `evaluate`.
        class_names: The classes, in the order of the labels.
        iou_threshold: The overlap that a detection needs, above 0, up to 1.
        protocol: How detections find truths, as in `evaluate`; `coco` with its 1000 best detections of an image.
        geometry: As in `evaluate`.

    Raises:
        MetricsError: As in `evaluate`.
    """
    chosen, geometry = choose(protocol, geometry)
    check_iou_thresholds((iou_threshold,))
    paired = pair(truth, predictions, class_names, geometry=geometry, least=iou_threshold, across=False)
    return curves_of(paired, iou_threshold=iou_threshold, protocol=chosen)


def curves_of(paired: Paired, *, iou_threshold: float = 0.5, protocol: Protocol = PROTOCOLS["voc07"]) -> Curves:
    """Return the curves of paired detections; `pair` must have kept the overlaps down to the threshold."""
    outcomes = protocol_outcomes(paired, protocol, least_overlaps((iou_threshold,), protocol))
    (averages,) = average_precisions(outcomes, paired.bounds, paired.truth_counts, protocol.recalls)
    curves = []
    for c, name in enumerate(paired.names):
        places = np.arange(paired.bounds[c], paired.bounds[c + 1])
        places = places[outcomes[0, places] != IGNORED]
        truths = int(paired.truth_counts[c])
        precision, recall = precision_recall(outcomes[0, places], max(truths, 1))
        curves.append(
            ClassCurve(
                name=name,
                truths=truths,
                average_precision=float(averages[c]),
                scores=paired.scores[paired.order[places]],
                precision=precision,
                recall=recall if truths else np.full(len(places), np.nan),
            )
        )
    return Curves(iou_threshold, tuple(curves))


def protocol_outcomes(paired: Paired, protocol: Protocol, thresholds: FloatsS) -> OutcomesSN:
    """Return (S, D) what each detection is by the protocol's own matching at rising thresholds, by place."""
    if not protocol.greedy:
        return claim(claims(paired, protocol, thresholds).take(paired.order), paired.bounds)
    area, truth_area = paired.areas
    return match_greedily(
        paired.order,
        paired.starts,
        paired.pairs,
        paired.truths.difficult,
        truth_area,
        area,
        paired.rank,
        (protocol.max_dets or (len(area) + 1,))[-1],
        thresholds,
        np.tile(np.array(AREA_RANGES["all"]), (len(thresholds), 1)),
    )
