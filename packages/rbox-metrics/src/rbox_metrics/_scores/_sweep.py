"""Metrics over score thresholds, all from detections that were sorted and matched once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from rbox_formats import ImageRecord

from rbox_metrics._inputs import FlatBoxes, as_array
from rbox_metrics._matching import FALSE_POSITIVE, TRUE_POSITIVE, Paired, Protocol, choose, pair
from rbox_metrics._scores._averages import counts_passing, mean_known, precision_recall_f1
from rbox_metrics._scores._figures import (
    NO_CONFIDENCE,
    averages_by_input,
    claims_above,
    least_overlaps,
    matches,
    random_averages,
    tied_averages,
)
from rbox_metrics._scores._lmmrotate import f1_lmmrotate
from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import FloatsS, FloatsSC, Geometry, ProtocolName

# From LMMRotate's playground/map_nc_robustness_cal.py: twenty steps, including all that its other scripts try.
GRID = tuple(step / 20 for step in range(20))


@dataclass(frozen=True)
class Best:
    """The highest value of a metric, and the lowest score threshold that gives it; NaN if it has no value.

    >>> from rbox_metrics import from_arrays, sweep_scores
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> best = sweep_scores(truth, found, ["ship", "plane"], thresholds=[0, 0.7]).best("f1_micro")
    >>> best.threshold, round(best.value, 3)
    (0.7, 0.667)
    """

    value: float
    threshold: float


@dataclass(frozen=True, eq=False)
class Sweep:
    """The metrics at each of S score thresholds for C classes, from 0 to 1; NaN for classes without truths.

    Precision, recall and F1 are those of the detections whose score reaches the threshold, matched one to one: `micro`
    over all detections together, `macro` as the mean over classes. The `nc` metrics are those of `evaluate`, of the
    detections whose score exceeds the threshold, as LMMRotate filters them.

    >>> from rbox_metrics import from_arrays, sweep_scores
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> sweep = sweep_scores(truth, found, ["ship", "plane"], thresholds=[0, 0.7])
    >>> sweep.thresholds.tolist(), sweep.precision_micro.tolist(), sweep.recall_micro.tolist()
    ([0.0, 0.7], [0.5, 1.0], [0.5, 0.5])

    Attributes:
        iou_threshold: The overlap that a detection needs.
        class_names: The classes, in the order of the columns.
        thresholds: (S,) the rising score thresholds.
        precision: (S, C) the precision of each class.
        recall: (S, C) the recall of each class.
        f1: (S, C) the F1 of each class.
        precision_micro: (S,) the precision of all detections together.
        recall_micro: (S,) the recall of all detections together.
        f1_micro: (S,) the F1 of all detections together.
        f1_macro: (S,) the mean F1 over classes.
        ap_nc: (S, C) VOC07's average precision of each class with every score 1.
        map_nc: (S,) the mean of `ap_nc` over classes.
        map_nc_tied: (S,) as in `evaluate`.
        map_nc_random: (S,) as in `evaluate`.
        map_nc_spread: (S,) as in `evaluate`.
        f1_lmmrotate: (S,) LMMRotate's F1 as in its code: precision and recall are means over the classes and the
            background, duplicates are hits, and difficult truths are ignored.
    """

    iou_threshold: float
    class_names: tuple[str, ...]
    thresholds: FloatsS
    precision: FloatsSC
    recall: FloatsSC
    f1: FloatsSC
    precision_micro: FloatsS
    recall_micro: FloatsS
    f1_micro: FloatsS
    f1_macro: FloatsS
    ap_nc: FloatsSC
    map_nc: FloatsS
    map_nc_tied: FloatsS
    map_nc_random: FloatsS
    map_nc_spread: FloatsS
    f1_lmmrotate: FloatsS

    def best(self, figure: str, among: Iterable[float] | None = None) -> Best:
        """Return the best threshold, the same one for all classes.

        Args:
            figure: The name of a metric with a value per threshold, such as "map_nc" or "f1_macro".
            among: The thresholds that may be chosen, such as `LMMROTATE_MAP_NC_THRESHOLDS`. Default: all.

        Raises:
            MetricsError: If there is no such metric, or `among` has none of the thresholds.
        """
        if figure not in PER_THRESHOLD:
            raise MetricsError(f"expected a metric among {', '.join(PER_THRESHOLD)}, got {figure!r}")
        chosen = np.ones(len(self.thresholds), bool) if among is None else np.isin(self.thresholds, list(among))
        if not chosen.any():
            swept = ", ".join(f"{value:g}" for value in self.thresholds)
            raise MetricsError(f"expected at least one of the thresholds {swept}, got none of them")
        return _best(getattr(self, figure)[chosen], self.thresholds[chosen])

    @property
    def best_per_class(self) -> dict[str, Best]:
        """The best F1 of each class, with the threshold that gives it."""
        return {name: _best(self.f1[:, c], self.thresholds) for c, name in enumerate(self.class_names)}

    @property
    def f1_macro_per_class(self) -> float:
        """The mean over classes of the best F1 of each at its own threshold."""
        return mean_known(np.array([best.value for best in self.best_per_class.values()]))

    def to_dict(self) -> dict[str, Any]:
        """Return everything as a dictionary; arrays become lists, NaN stays."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            **{name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in values.items()},
            "class_names": list(self.class_names),
            "best": {figure: vars(self.best(figure)) for figure in PER_THRESHOLD},
            "best_f1_per_class": {name: vars(best) for name, best in self.best_per_class.items()},
            "f1_macro_per_class": self.f1_macro_per_class,
        }


# The metrics that `Sweep.best` knows: higher is better.
PER_THRESHOLD = (
    "precision_micro",
    "recall_micro",
    "f1_micro",
    "f1_macro",
    "map_nc",
    "map_nc_tied",
    "map_nc_random",
    "f1_lmmrotate",
)


def sweep_scores(
    truth: Iterable[ImageRecord] | FlatBoxes,
    predictions: Iterable[ImageRecord] | FlatBoxes,
    class_names: Iterable[str],
    *,
    thresholds: Sequence[float] = GRID,
    iou_threshold: float = 0.5,
    protocol: ProtocolName = "voc07",
    geometry: Geometry | None = None,
) -> Sweep:
    """Compute the metrics as a function of the score threshold.

    >>> from rbox_metrics import from_arrays, sweep_scores
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> sweep = sweep_scores(truth, found, ["ship", "plane"], thresholds=[0, 0.7])
    >>> sweep.f1_micro.round(3).tolist()  # of both detections, and of the better one
    [0.5, 0.667]
    >>> sweep.best("f1_micro").threshold
    0.7

    Args:
        truth: As in `evaluate`.
        predictions: As in `evaluate`.
        class_names: The classes, in the order of the labels.
        thresholds: Rising score thresholds. Default: 0, 0.05, ..., 0.95.
        iou_threshold: The overlap that a detection needs, above 0, up to 1.
        protocol: Which geometry is compared, and whether the IoU must exceed its threshold, as in `evaluate`.
        geometry: As in `evaluate`.

    Raises:
        MetricsError: As in `evaluate`, and if the thresholds do not rise.
    """
    from rbox_metrics._inputs import check_iou_thresholds

    chosen, geometry = choose(protocol, geometry)
    check_iou_thresholds((iou_threshold,))
    paired = pair(truth, predictions, class_names, geometry=geometry, least=iou_threshold)
    return sweep_of(paired, chosen, iou_threshold, thresholds)


def sweep_of(paired: Paired, protocol: Protocol, iou_threshold: float, thresholds: Sequence[float] = GRID) -> Sweep:
    """Return the sweep of detections that were paired across classes, down to the IoU threshold."""
    steps = as_array(thresholds, np.float64, "thresholds")
    if steps.ndim != 1 or not len(steps) or not (np.diff(steps) > 0).all() or np.isnan(steps).any():
        raise MetricsError(f"expected rising score thresholds, got {steps.tolist()}")
    least = least_overlaps((iou_threshold,), protocol)
    settings = np.full(len(steps), least[0])
    # How many thresholds, from the first, each detection passes.
    passed = np.searchsorted(steps, paired.scores, side="right")

    outcomes = matches(paired, least)[0]
    by_kind = (paired.order[outcomes == kind] for kind in (TRUE_POSITIVE, FALSE_POSITIVE))
    hits, misses = (
        counts_passing(passed[chosen], paired.detections.labels[chosen], len(steps), paired.classes)
        for chosen in by_kind
    )
    truths = paired.truth_counts
    known = truths > 0
    precision, recall, f1 = (np.where(known, x, np.nan) for x in precision_recall_f1(hits, misses, truths))
    micro = precision_recall_f1(hits.sum(axis=1), misses.sum(axis=1), truths.sum(keepdims=True))
    micro = tuple(x if known.any() else np.full(len(steps), np.nan) for x in micro)

    no_confidence = claims_above(paired, NO_CONFIDENCE, float(least[0]), steps)
    ap_nc = averages_by_input(paired, no_confidence)
    random = _means(random_averages(paired, no_confidence))
    _, _, f1_as_coded = f1_lmmrotate(paired, float(least[0]), passed, len(steps))
    return Sweep(
        iou_threshold=iou_threshold,
        class_names=tuple(paired.names),
        thresholds=steps,
        precision=precision,
        recall=recall,
        f1=f1,
        precision_micro=micro[0],
        recall_micro=micro[1],
        f1_micro=micro[2],
        f1_macro=_means(f1),
        ap_nc=ap_nc,
        map_nc=_means(ap_nc),
        map_nc_tied=_means(tied_averages(paired, settings, steps)),
        map_nc_random=random.mean(axis=0),
        map_nc_spread=random.std(axis=0),
        f1_lmmrotate=f1_as_coded,
    )


def _means(values: np.ndarray) -> np.ndarray:
    """Return (...) of (..., C): the mean over the classes with ground truth, NaN without any."""
    known = ~np.isnan(values)
    count = known.sum(axis=-1)
    total = np.where(known, values, 0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _best(values: FloatsS, thresholds: FloatsS) -> Best:
    if np.isnan(values).all():
        return Best(float("nan"), float("nan"))
    index = int(np.nanargmax(values))
    return Best(float(values[index]), float(thresholds[index]))
