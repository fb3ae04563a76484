"""How well detections fit the truths that they found, and how many right and wrong ones each image has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from rbox_formats import LE90, convert

from rbox_metrics._matching import (
    ANY_SCORE,
    FALSE_POSITIVE,
    PROTOCOLS,
    TRUE_POSITIVE,
    Paired,
    Protocol,
    match_once,
    partners,
)
from rbox_metrics._scores._averages import precision_recall_f1
from rbox_metrics._scores._figures import least_overlaps
from rbox_metrics.typing import FloatsK, FloatsM, IntsM

# Sides that differ by a smaller share are taken for those of a square, whose angle may be any of four.
_SQUARE = 1.05


@dataclass(frozen=True, eq=False)
class Placement:
    """The detections that were matched one to one, and the images that they are on.

    >>> from rbox_metrics import evaluate, from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> placement = evaluate(truth, found, ["ship", "plane"], full=True).placement
    >>> placement.hits.tolist(), placement.false_positives.tolist(), placement.missed.tolist()
    ([1, 0], [0, 1], [0, 1])
    >>> placement.worst(1)  # the number of the worst image
    [1]

    Attributes:
        iou_threshold: The least overlap of a match.
        iou: (K,) the IoU of each matched detection and its truth.
        angle_error: (K,) the angle between the directions of their longer sides, in radians from 0 to pi / 2; at most
            pi / 4 if one of them is nearly a square (sides within 5 %).
        images: The images' ids, or their numbers as text.
        hits: (M,) the true positives on each image.
        false_positives: (M,) the detections without a truth on each image.
        missed: (M,) the truths without a detection on each image.
    """

    iou_threshold: float
    iou: FloatsK
    angle_error: FloatsK
    images: tuple[str, ...]
    hits: IntsM
    false_positives: IntsM
    missed: IntsM

    @property
    def f1(self) -> FloatsM:
        """(M,) the F1 of each image; 1 if there is nothing to find and nothing was detected."""
        _, _, f1 = precision_recall_f1(self.hits, self.false_positives, self.hits + self.missed)
        return np.where(self.hits + self.false_positives + self.missed == 0, 1.0, f1)

    def worst(self, count: int) -> list[int]:
        """Return the numbers of the images with the lowest F1; if equal, those with more errors first, then in order.

        Images without errors are left out.
        """
        errors = self.false_positives + self.missed
        order = np.lexsort((-errors, self.f1))
        return order[errors[order] > 0][:count].tolist()

    def to_dict(self) -> dict[str, Any]:
        """Return means and histograms, and the counts of each image.

        The angle errors have two histograms: one with bins of 5 degrees up to 90, and one with 20 bins up to the value
        that 95 % of them do not exceed.
        """
        edges = np.linspace(self.iou_threshold, 1, 21)
        degrees = np.degrees(self.angle_error)
        fitted = np.linspace(0, _reach(degrees), 21)
        return {
            "iou_threshold": self.iou_threshold,
            "matched": len(self.iou),
            "iou_mean": float(self.iou.mean()) if len(self.iou) else float("nan"),
            "iou_histogram": {"edges": edges.tolist(), "counts": np.histogram(self.iou, edges)[0].tolist()},
            "angle_error_median_degrees": float(np.median(degrees)) if len(degrees) else float("nan"),
            "angle_error_histogram_degrees": {
                "edges": np.linspace(0, 90, 19).tolist(),
                "counts": np.histogram(degrees, np.linspace(0, 90, 19))[0].tolist(),
            },
            "angle_error_fitted_histogram_degrees": {
                "edges": fitted.tolist(),
                "counts": np.histogram(degrees, fitted)[0].tolist(),
            },
            "images": [
                {"image_id": image, "true_positives": int(tp), "false_positives": int(fp), "missed": int(fn)}
                for image, tp, fp, fn in zip(self.images, self.hits, self.false_positives, self.missed, strict=True)
            ],
        }


def placement_of(paired: Paired, *, iou_threshold: float = 0.5, protocol: Protocol = PROTOCOLS["voc07"]) -> Placement:
    """Match detections and truths one to one by falling score, as F1 does, and measure each match."""
    truths, detections = paired.truths, paired.detections
    least = least_overlaps((iou_threshold,), protocol)
    (outcome,) = match_once(
        paired.ranked,
        np.arange(len(detections)),
        truths.difficult,
        paired.scores,
        least,
        np.array([ANY_SCORE]),
    )
    partner, iou = partners(paired.ranked, truths.difficult, float(least[0]), len(detections))
    matched = np.flatnonzero(partner >= 0)
    ids, numbers = truths.image_ids, truths.image_numbers
    count = int(max(f.image_index.max(initial=-1) for f in (truths, detections))) + 1 if ids is None else len(ids)
    wanted = np.bincount(truths.image_index[~truths.difficult], minlength=count)
    hits, false_positives = (
        np.bincount(detections.image_index[outcome == kind], minlength=count)
        for kind in (TRUE_POSITIVE, FALSE_POSITIVE)
    )
    return Placement(
        iou_threshold=iou_threshold,
        iou=iou[matched],
        angle_error=_angle_error(detections.boxes[matched], truths.boxes[partner[matched]]),
        images=tuple(map(str, range(count) if numbers is None else numbers)) if ids is None else ids,
        hits=hits,
        false_positives=false_positives,
        missed=wanted - hits,
    )


def _reach(degrees: np.ndarray) -> float:
    """Return a round number that 95 % of the angle errors do not exceed; all of them where there are few."""
    most = float(np.quantile(degrees, 0.95, method="higher")) if len(degrees) else 0.0
    return next(end for end in (1, 2, 5, 10, 15, 20, 30, 45, 60, 90) if most <= end or end == 90)


def _angle_error(boxes1: np.ndarray, boxes2: np.ndarray) -> np.ndarray:
    """Return (K,) the angles between the longer sides of (K, 5) boxes."""
    boxes1, boxes2 = convert(boxes1, LE90, LE90), convert(boxes2, LE90, LE90)
    square = np.zeros(len(boxes1), dtype=bool)
    for boxes in (boxes1, boxes2):
        square |= boxes[:, 2:4].max(axis=1) <= _SQUARE * boxes[:, 2:4].min(axis=1)
    period = np.where(square, math.pi / 2, math.pi)
    turned = np.mod(boxes1[:, 4] - boxes2[:, 4], period)
    return np.minimum(turned, period - turned)
