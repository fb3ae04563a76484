"""Calibration: whether scores are probabilities."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rbox_formats import ImageRecord

from rbox_metrics._inputs import FlatBoxes, check_iou_thresholds, check_whole
from rbox_metrics._matching import IGNORED, PROTOCOLS, TRUE_POSITIVE, Paired, Protocol, choose, pair
from rbox_metrics._plain import plain
from rbox_metrics._scores._figures import least_overlaps, matches
from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import Binning, FloatsC, FloatsEdges, FloatsG, FloatsN, Geometry, IntsG, IntsN, ProtocolName

logger = logging.getLogger("rbox_metrics")

# The number of bins in the tables of Guo et al. 2017.
BINS = 15


@dataclass(frozen=True, eq=False)
class Calibration:
    """Mean scores and the shares of right detections, in G bins of scores.

    >>> from rbox_metrics import calibration, from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> curve = calibration(truth, found, ["ship", "plane"], bins=2)
    >>> curve.counts.tolist(), curve.confidence.tolist(), curve.accuracy.tolist()
    ([0, 2], [nan, 0.75], [nan, 0.5])

    Attributes:
        iou_threshold: The overlap that makes a detection right.
        class_names: The names of the C classes.
        ece: The expected calibration error: the mean over detections of the gap between confidence and accuracy of
            their bin. NaN without detections that count, or without scores.
        mce: The greatest gap of a bin. NaN without detections that count, or without scores.
        ece_per_class: (C,) the expected calibration error of each class, with the same bins; NaN for classes without
            detections that count.
        counts: (G,) how many detections each bin has.
        edges: (G + 1,) bin g has the scores above edges[g], up to edges[g + 1]; the first bin has edges[0] too.
        confidence: (G,) the mean score of each bin's detections; NaN in an empty bin.
        accuracy: (G,) the share of each bin's detections that are right; NaN in an empty bin.
    """

    iou_threshold: float
    class_names: tuple[str, ...]
    ece: float
    mce: float
    ece_per_class: FloatsC
    counts: IntsG
    edges: FloatsEdges
    confidence: FloatsG
    accuracy: FloatsG

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON; NaN becomes None."""
        return plain(vars(self))


def calibration(
    truth: Iterable[ImageRecord] | FlatBoxes,
    predictions: Iterable[ImageRecord] | FlatBoxes,
    class_names: Iterable[str],
    *,
    iou_threshold: float = 0.5,
    bins: int = BINS,
    binning: Binning = "width",
    protocol: ProtocolName = "voc07",
    geometry: Geometry | None = None,
) -> Calibration:
    """Return the reliability curve of the scores, and their expected calibration error.

    A detection is right if the matching of `evaluate`'s precision (one to one, by falling score) gives it a truth of
    its class; duplicates are wrong. Detections on difficult truths do not count. Missed objects play no part: a
    detector may be calibrated and find little.

    Predictions without scores have no calibration: counts are 0, and everything else is NaN.

    Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017: equations 3 (ECE) and 5
    (MCE), bins ((g - 1) / G, g / G]. There a sample is right if its class is; here a detection is right if it is a true
    positive, as in Küppers et al., "Multivariate Confidence Calibration for Object Detection", CVPR workshops 2020.

    >>> from rbox_metrics import calibration, from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> curve = calibration(truth, found, ["ship", "plane"], bins=2)
    >>> round(curve.ece, 3)  # scores of 0.9 and 0.6 in one bin, half of which are right
    0.25

    Args:
        truth: As in `evaluate`.
        predictions: As in `evaluate`.
        class_names: The classes, in the order of the labels.
        iou_threshold: The overlap that makes a detection right, above 0, up to 1.
        bins: The number of bins, at least 1.
        binning: "width" for bins of equal width, "mass" for bins between quantiles of the scores. Equal scores are in
            one bin, so with "mass" a bin may be empty.
        protocol: Which geometry is compared, and whether the IoU must exceed its threshold, as in `evaluate`.
        geometry: As in `evaluate`.

    Raises:
        MetricsError: As in `evaluate`, and if a score is not from 0 to 1 or there are no bins.
    """
    chosen, geometry = choose(protocol, geometry)
    check_iou_thresholds((iou_threshold,))
    if binning not in ("width", "mass"):
        raise MetricsError(f"expected binning 'width' or 'mass', got {binning!r}")
    if check_whole(bins, "bins") < 1:
        raise MetricsError(f"expected 1 bin or more, got {bins}")
    paired = pair(truth, predictions, class_names, geometry=geometry, least=iou_threshold, across=False)
    bad = _not_probabilities(paired)
    if bad.any():
        first = int(bad.argmax())
        raise MetricsError(
            f"expected scores from 0 to 1, got {paired.scores[first]:g} at {paired.detections.name_of(first)}",
            remedy="Turn the model's scores into probabilities first: logits by a sigmoid, percent by / 100.",
        )
    return calibration_of(paired, iou_threshold=iou_threshold, bins=bins, binning=binning, protocol=chosen)


def calibration_of(
    paired: Paired,
    *,
    iou_threshold: float = 0.5,
    bins: int = BINS,
    binning: Binning = "width",
    protocol: Protocol = PROTOCOLS["voc07"],
) -> Calibration:
    """Return the calibration of paired detections; `pair` must have kept the overlaps down to the threshold.

    Scores that are not from 0 to 1 give a warning and no calibration, as if there were no scores, and no error.
    """
    bad = _not_probabilities(paired)
    if bad.any():
        logger.warning(
            "%d of %d scores are not from 0 to 1, the first %g: the report has no calibration",
            int(bad.sum()),
            len(bad),
            paired.scores[bad.argmax()],
        )
    if paired.detections.scores is None or bad.any():
        chosen = np.zeros(0, np.int64)
        right = np.zeros(0, bool)
    else:
        (outcomes,) = matches(paired, least_overlaps((iou_threshold,), protocol))
        chosen = paired.order[outcomes != IGNORED]
        right = outcomes[outcomes != IGNORED] == TRUE_POSITIVE
    scores, labels = paired.scores[chosen], paired.detections.labels[chosen]
    edges = np.linspace(0, 1, bins + 1)
    if binning == "mass" and len(scores):
        edges = np.quantile(scores, edges)
    bin_of = np.searchsorted(edges[1:-1], scores, side="left")
    counts, confidence, accuracy = _curve(bin_of, scores, right, bins)
    gaps = np.abs(confidence - accuracy)
    of_classes = _curve(labels * bins + bin_of, scores, right, paired.classes * bins)
    class_counts, class_confidence, class_accuracy = (values.reshape(-1, bins) for values in of_classes)
    return Calibration(
        iou_threshold=iou_threshold,
        class_names=tuple(paired.names),
        ece=float(_expected(counts[None], gaps[None])[0]),
        mce=float(np.nanmax(gaps)) if len(scores) else float("nan"),
        ece_per_class=_expected(class_counts, np.abs(class_confidence - class_accuracy)),
        counts=counts,
        edges=edges,
        confidence=confidence,
        accuracy=accuracy,
    )


def _not_probabilities(paired: Paired) -> np.ndarray:
    return (paired.scores < 0) | (paired.scores > 1)


def _curve(bin_of: IntsN, scores: FloatsN, right: np.ndarray, bins: int) -> tuple[IntsG, FloatsG, FloatsG]:
    """Return (G,) counts, mean scores and shares of right detections; NaN in an empty bin."""
    counts = np.bincount(bin_of, minlength=bins)
    sums = (np.bincount(bin_of, weights=values, minlength=bins) for values in (scores, right))
    confidence, accuracy = (np.where(counts > 0, total / np.maximum(counts, 1), np.nan) for total in sums)
    return counts, confidence, accuracy


def _expected(counts: np.ndarray, gaps: np.ndarray) -> FloatsC:
    """Return (C,) the mean gap of the bins (C, G), each weighed by its count; NaN where all are empty."""
    total = counts.sum(axis=1)
    return np.where(total > 0, np.where(counts > 0, counts * gaps, 0).sum(axis=1) / np.maximum(total, 1), np.nan)
