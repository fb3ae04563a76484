"""How much metrics depend on the choice of images, and whether two detectors differ by more than that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from rbox_formats import ImageRecord

from rbox_metrics._evaluation._resampling import (
    INTERVAL_FIGURES,
    Figures,
    Tables,
    as_it_is,
    draws,
    exchanges,
    figures_of,
    image_count,
)
from rbox_metrics._inputs import FlatBoxes, check_iou_thresholds, check_number, check_whole, from_records
from rbox_metrics._matching import PROTOCOLS, Paired, Protocol, choose, pair
from rbox_metrics._plain import plain
from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import FloatsR, Geometry, ProtocolName

RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A metric, and the interval in which it is likely to be on other images of the same kind.

    >>> from rbox_metrics import bootstrap, from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> interval = bootstrap(truth, found, ["ship", "plane"], resamples=100).figures["f1_micro"]
    >>> interval.value, interval.low, interval.high
    (0.5, 0.0, 1.0)

    Attributes:
        value: The metric on the given images.
        low: The lower end of the interval.
        high: The upper end of the interval.
        error: The standard error: the standard deviation over the resamples.
    """

    value: float
    low: float
    high: float
    error: float


@dataclass(frozen=True)
class Intervals:
    """Confidence intervals over images; NaN where a metric is not defined.

    >>> from rbox_metrics import bootstrap, from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> intervals = bootstrap(truth, found, ["ship", "plane"], resamples=100)
    >>> list(intervals.classes), intervals.confidence
    (['ship', 'plane'], 0.95)

    Attributes:
        confidence: The share of the resamples that is inside each interval.
        resamples: How often the images were drawn.
        figures: The interval of each of `INTERVAL_FIGURES`, by name.
        classes: The interval of each class's average precision, by class name.
    """

    confidence: float
    resamples: int
    figures: dict[str, Interval]
    classes: dict[str, Interval]

    def to_dict(self) -> dict[str, Any]:
        """Return the values as a dictionary for JSON; NaN becomes None."""
        return plain(asdict(self))


@dataclass(frozen=True)
class Difference:
    """A metric of two detectors, and their difference.

    >>> from rbox_metrics import compare, from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> difference = compare(truth, found, truth, ["ship", "plane"], resamples=100).figures["f1_micro"]
    >>> difference.a, difference.b, difference.difference
    (0.5, 1.0, 0.5)

    Attributes:
        a: The first detector's value.
        b: The second detector's value.
        difference: b - a.
        low: The lower end of the interval of the difference.
        high: The upper end of the interval of the difference.
        p_value: How often detectors that differ only by chance differ at least as much, in either direction.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class Comparison:
    """Two detectors on the same images, as compared by `compare`; NaN where a metric is not defined.

    >>> from rbox_metrics import compare, from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> comparison = compare(truth, found, truth, ["ship", "plane"], resamples=100)
    >>> comparison.classes["plane"].difference
    1.0

    Attributes:
        confidence: The share of the resamples that is inside each interval.
        resamples: How often the images were drawn, and how often the detectors were swapped.
        figures: The difference of each of `INTERVAL_FIGURES`, by name.
        classes: The difference of each class's average precision, by class name.
    """

    confidence: float
    resamples: int
    figures: dict[str, Difference]
    classes: dict[str, Difference]

    def to_dict(self) -> dict[str, Any]:
        """Return the values as a dictionary for JSON; NaN becomes None."""
        return plain(asdict(self))


def bootstrap(
    truth: Iterable[ImageRecord] | FlatBoxes,
    predictions: Iterable[ImageRecord] | FlatBoxes,
    class_names: Iterable[str],
    *,
    iou_thresholds: Sequence[float] | None = None,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    protocol: ProtocolName = "voc07",
    geometry: Geometry | None = None,
) -> Intervals:
    """Estimate confidence intervals of the metrics of `evaluate`, by drawing images at random with replacement.

    Each drawn set has as many images as there are. The interval holds the middle `confidence` of the metric's values
    on the drawn sets (the percentile method: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section
    13.3). A drawn set may have no ground truth of a class. The class then counts in no mean over classes of that set,
    and the set does not count in the class's own interval.

    The interval says only how much the choice of images matters. It does not include that another training of the
    detector would give other results, or that the annotations have errors. Images must be independent; windows of one
    picture are not. With few images the interval is too narrow.

    >>> from rbox_metrics import bootstrap, from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> figures = bootstrap(truth, found, ["ship", "plane"], resamples=100).figures
    >>> figures["f1_micro"].low, figures["f1_micro"].high  # of two images nothing is known
    (0.0, 1.0)

    Args:
        truth: As in `evaluate`. Flat arrays without image ids are taken to have all images up to the last with a box.
        predictions: As in `evaluate`.
        class_names: The classes, in the order of the labels.
        iou_thresholds: As in `evaluate`; each metric is the mean over them.
        resamples: How often a set of images is drawn, at least 2.
        confidence: The share of the resamples inside the interval, above 0 and below 1.
        seed: Random seed. The same seed gives the same intervals, in whatever order images and boxes come.
        protocol: As in `evaluate`, `coco` with its 1000 best detections of an image.
        geometry: As in `evaluate`.

    Raises:
        MetricsError: As in `evaluate`, and if `resamples`, `confidence` or `seed` is out of its range.
    """
    check_whole(seed, "seed")
    chosen, geometry = choose(protocol, geometry)
    thresholds = check_iou_thresholds(chosen.iou_thresholds if iou_thresholds is None else iou_thresholds)
    paired = pair(truth, predictions, class_names, geometry=geometry, least=min(thresholds), across=False)
    return bootstrap_of(
        paired, iou_thresholds=thresholds, resamples=resamples, confidence=confidence, seed=seed, protocol=chosen
    )


def bootstrap_of(
    paired: Paired,
    *,
    iou_thresholds: Sequence[float] = (0.5,),
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    protocol: Protocol = PROTOCOLS["voc07"],
) -> Intervals:
    """Return the intervals of paired boxes; `pair` must have kept the overlaps down to the thresholds."""
    _check(resamples, confidence)
    images = image_count((paired,))
    tables = Tables.of((paired,), protocol, iou_thresholds, images)
    values = figures_of(tables, as_it_is(tables))
    drawn = figures_of(tables, draws(tables, resamples, seed))

    def interval(of: Callable[[Figures], FloatsR]) -> Interval:
        samples = of(drawn)
        low, high = _percentiles(samples, confidence)
        known = samples[~np.isnan(samples)]
        return Interval(float(of(values)[0]), low, high, float(known.std(ddof=1)) if len(known) > 1 else float("nan"))

    return Intervals(
        confidence,
        resamples,
        {name: interval(partial(Figures.of, name=name)) for name in INTERVAL_FIGURES},
        {name: interval(partial(Figures.of_class, label=c)) for c, name in enumerate(paired.names)},
    )


def compare(
    truth: Iterable[ImageRecord] | FlatBoxes,
    predictions_a: Iterable[ImageRecord] | FlatBoxes,
    predictions_b: Iterable[ImageRecord] | FlatBoxes,
    class_names: Iterable[str],
    *,
    iou_thresholds: Sequence[float] | None = None,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    protocol: ProtocolName = "voc07",
    geometry: Geometry | None = None,
) -> Comparison:
    """Test whether two detectors differ on the same images by more than chance.

    The interval of the difference, b's metric minus a's, is computed as in `bootstrap`, with the same drawn images for
    both detectors. So an image that is hard for both of them does not matter.

    The p-value is that of a paired permutation test. Its null hypothesis: on each image, the two outputs could as well
    be exchanged. So the outputs of about half of the images, picked at random, are exchanged, many times. The p-value
    is the share of these exchanges (counting the true assignment as one) in which the metric differs by as much or
    more, in either direction: (1 + how many) / (1 + resamples), never 0 (Phipson and Smyth, "Permutation P-values
    should never be zero", 2010; the test: Noreen, "Computer-Intensive Methods for Testing Hypotheses", 1989).

    The test is exact for that hypothesis, which includes that the scores of both detectors have the same scale. If one
    detector's scores are calibrated differently, or if it has none, the p-value of `map` says little: read the interval
    instead. Ten classes and four metrics are many tests: one in twenty is below 0.05 by chance.

    >>> from rbox_metrics import compare, from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> figure = compare(truth, found, truth, ["ship", "plane"], resamples=100).figures["f1_micro"]
    >>> figure.difference, float(figure.p_value) > 0.05  # better, but two images prove nothing
    (0.5, True)

    Args:
        truth: As in `bootstrap`.
        predictions_a: The first detector's, as `predictions` in `evaluate`.
        predictions_b: The second detector's, as `predictions` in `evaluate`.
        class_names: The classes, in the order of the labels.
        iou_thresholds: As in `bootstrap`.
        resamples: How often images are drawn, and how often outputs are exchanged, at least 2.
        confidence: The share of the resamples inside the interval, above 0 and below 1.
        seed: As in `bootstrap`.
        protocol: As in `bootstrap`.
        geometry: As in `evaluate`.

    Raises:
        MetricsError: As in `bootstrap`.
    """
    check_whole(seed, "seed")
    chosen, geometry = choose(protocol, geometry)
    thresholds = check_iou_thresholds(chosen.iou_thresholds if iou_thresholds is None else iou_thresholds)
    truths = truth if isinstance(truth, FlatBoxes) else from_records(truth)
    names = tuple(class_names)
    runs = [
        pair(truths, predictions, names, geometry=geometry, least=min(thresholds), across=False)
        for predictions in (predictions_a, predictions_b)
    ]
    return compare_of(
        runs[0],
        runs[1],
        iou_thresholds=thresholds,
        resamples=resamples,
        confidence=confidence,
        seed=seed,
        protocol=chosen,
    )


def compare_of(
    paired_a: Paired,
    paired_b: Paired,
    *,
    iou_thresholds: Sequence[float] = (0.5,),
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    protocol: Protocol = PROTOCOLS["voc07"],
) -> Comparison:
    """Return the comparison of two detectors' detections, both paired with the same ground truth."""
    _check(resamples, confidence)
    runs = (paired_a, paired_b)
    images = image_count(runs)
    # One after the other: each table is as large as a detector's predictions.
    drawn, as_given = [], []
    for run in runs:
        tables = Tables.of((run,), protocol, iou_thresholds, images)
        as_given.append(figures_of(tables, as_it_is(tables)))
        drawn.append(figures_of(tables, draws(tables, resamples, seed)))
    both = Tables.of(runs, protocol, iou_thresholds, images)
    swapped = [figures_of(both, exchanges(both, resamples, seed, second)) for second in (False, True)]

    def difference(of: Callable[[Figures], FloatsR]) -> Difference:
        a, b = (float(of(figures)[0]) for figures in as_given)
        low, high = _percentiles(of(drawn[1]) - of(drawn[0]), confidence)
        by_chance = of(swapped[1]) - of(swapped[0])
        # Sums in another order differ in the last bits.
        as_much = np.count_nonzero(np.abs(by_chance) >= abs(b - a) - 1e-12)
        p_value = float("nan") if np.isnan(b - a) else (1 + as_much) / (1 + resamples)
        return Difference(a, b, b - a, low, high, p_value)

    return Comparison(
        confidence,
        resamples,
        {name: difference(partial(Figures.of, name=name)) for name in INTERVAL_FIGURES},
        {name: difference(partial(Figures.of_class, label=c)) for c, name in enumerate(paired_a.names)},
    )


def _check(resamples: int, confidence: float) -> None:
    if check_whole(resamples, "resamples") < 2:
        raise MetricsError(f"expected 2 resamples or more, got {resamples}")
    if not 0 < check_number(confidence, "confidence") < 1:
        raise MetricsError(f"expected a confidence above 0 and below 1, got {confidence}")


def _percentiles(samples: FloatsR, confidence: float) -> tuple[float, float]:
    known = samples[~np.isnan(samples)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
