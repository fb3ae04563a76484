"""The kinds of errors, and how much average precision each costs."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, no_type_check

import numpy as np
from rbox_formats import ImageRecord

from rbox_metrics._inputs import FlatBoxes, check_iou_thresholds, check_number
from rbox_metrics._jit import jit
from rbox_metrics._matching import FALSE_POSITIVE, IGNORED, PROTOCOLS, TRUE_POSITIVE, Paired, Protocol, choose, pair
from rbox_metrics._overlaps import Pairs, aligned_overlaps
from rbox_metrics._plain import plain
from rbox_metrics._scores._averages import average_precisions, counts, mean_known
from rbox_metrics._scores._curves import protocol_outcomes
from rbox_metrics._scores._figures import least_overlaps
from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import (
    Bounds,
    FlagsT,
    FloatsC,
    FloatsK,
    FloatsKindsC,
    FloatsN,
    Geometry,
    IntsK,
    IntsKindsC,
    IntsN,
    IntsT,
    OutcomesN,
    ProtocolName,
)

# The kinds of false positives, and of truths that were not found. A truth is of one of the first three kinds if a
# detection of that kind points at it.
FALSE_POSITIVE_KINDS = (
    "wrong_class",
    "badly_placed",
    "wrong_angle",
    "wrong_class_and_place",
    "duplicate",
    "background",
)
MISSED = "missed"
ERROR_KINDS = (*FALSE_POSITIVE_KINDS, MISSED)
TRUTH_KINDS = (*FALSE_POSITIVE_KINDS[:3], MISSED)
_WRONG_CLASS, _BADLY_PLACED, _WRONG_ANGLE, _WRONG_BOTH, _DUPLICATE, _BACKGROUND, _MISSED = range(len(ERROR_KINDS))

# TIDE's thresholds: a detection whose overlap is below the second one does not belong to a truth.
FOREGROUND, BACKGROUND = 0.5, 0.1


@dataclass(frozen=True, eq=False)
class ErrorBreakdown:
    """The errors of C classes by kind, as `error_breakdown` defines them.

    >>> from rbox_metrics import error_breakdown, from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], [0, 0], [0, 1], scores=[0.9, 0.6])
    >>> errors = error_breakdown(truth, found, ["ship", "plane"])
    >>> {kind: cost for kind, cost in errors.map_costs.items() if cost}  # the plane was taken for a ship
    {'wrong_class': 0.5}

    Attributes:
        iou_threshold: The overlap that a detection needs.
        background_threshold: The overlap below which a detection does not belong to a truth.
        class_names: The names of the C classes.
        average_precision: (C,) the average precision, with all errors; NaN for classes without truths.
        costs: (7, C) the gain in average precision if all errors of one kind were repaired, in the order of
            `ERROR_KINDS`, from 0 to 1; NaN for classes without truths.
        false_positives: (6, C) how many detections of each class there are of each of `FALSE_POSITIVE_KINDS`.
        not_found: (4, C) how many truths of each class there are of each of `TRUTH_KINDS`.
        detection_kinds: (D,) int8, the kind of each detection, in the order in which they were given: an index into
            `FALSE_POSITIVE_KINDS`, or -1 for a detection that is not a false positive.
    """

    iou_threshold: float
    background_threshold: float
    class_names: tuple[str, ...]
    average_precision: FloatsC
    costs: FloatsKindsC
    false_positives: IntsKindsC
    not_found: IntsKindsC
    detection_kinds: OutcomesN

    @property
    def map(self) -> float:
        """The mean average precision, with all errors."""
        return mean_known(self.average_precision)

    @property
    def map_costs(self) -> dict[str, float]:
        """How much of it each kind costs: the mean over the classes with truths."""
        return {kind: mean_known(costs) for kind, costs in zip(ERROR_KINDS, self.costs, strict=True)}

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON, without the kinds of the single detections; NaN becomes None."""
        return plain(
            {
                "iou_threshold": self.iou_threshold,
                "background_threshold": self.background_threshold,
                "class_names": self.class_names,
                "map": self.map,
                "map_costs": self.map_costs,
                "average_precision": self.average_precision,
                "costs": dict(zip(ERROR_KINDS, self.costs, strict=True)),
                "false_positives": dict(zip(FALSE_POSITIVE_KINDS, self.false_positives, strict=True)),
                "not_found": dict(zip(TRUTH_KINDS, self.not_found, strict=True)),
            }
        )


def error_breakdown(
    truth: Iterable[ImageRecord] | FlatBoxes,
    predictions: Iterable[ImageRecord] | FlatBoxes,
    class_names: Iterable[str],
    *,
    iou_threshold: float = FOREGROUND,
    background_threshold: float = BACKGROUND,
    protocol: ProtocolName = "voc07",
    geometry: Geometry | None = None,
) -> ErrorBreakdown:
    """Sort the errors into kinds, and compute how much average precision each kind costs.

    Each false positive of the protocol has one kind. `own` is its highest IoU with a truth of its own class, `other`
    its highest IoU with a truth of another class:

    - badly_placed: background_threshold <= own < iou_threshold, and not wrong_angle;
    - wrong_angle: background_threshold <= own < iou_threshold, and only the angle is wrong: turned about its centre, so
      that its sides are along those of that truth, it would reach the IoU threshold. Both ways to do so are tried: a
      box with width and height swapped is turned by a right angle. Also where quads are compared, the boxes decide
      this;
    - wrong_class: other >= iou_threshold;
    - duplicate: own >= iou_threshold, but another detection has found the truth;
    - background: own and other are below background_threshold;
    - wrong_class_and_place: all others; `other` is between the thresholds.

    If several kinds fit, the first in this list is taken. A badly placed, wrongly turned or wrongly
    classed detection points at the truth of that overlap. A truth that was not found has the kind of the detection with
    the best score that points at it; if there is none, it is missed. Difficult truths are not counted as truths here,
    and ignored detections are not false positives.

    The cost of a kind is the average precision with its errors repaired, minus that with all errors. To repair them:

    - Of the badly placed, wrongly turned or wrongly classed detections of the kind that point at a truth which was not
      found, the one with the best score becomes a true positive of the truth's class. It keeps its score, and comes
      after detections with the same score. The others are dropped.
    - Duplicates, background and wrong_class_and_place are dropped.
    - Missed truths are dropped. A class without other truths then has 1 if it has no false positives, else 0.

    The costs do not add up to anything: with everything repaired the average precision is 1, but the last repair may
    contribute most of it.

    Source: Bolya, Foley, Hays, Hoffman, "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020,
    section 2, and tidecv/quantify.py in dbolya/tide at 09eeffb, which has the same order of kinds. TIDE differs in
    this: its "badly placed" includes wrong angles; only the best of all detections that point at a truth is repaired,
    whatever its kind; an IoU equal to a threshold fits both kinds; and the average precision is COCO's.

    >>> from rbox_metrics import FALSE_POSITIVE_KINDS, error_breakdown, from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> errors = error_breakdown(truth, found, ["ship", "plane"])
    >>> dict(zip(FALSE_POSITIVE_KINDS, errors.false_positives.sum(axis=1).tolist()))
    {'wrong_class': 0, 'badly_placed': 0, 'wrong_angle': 0, 'wrong_class_and_place': 0, 'duplicate': 0, 'background': 1}

    Args:
        truth: As in `evaluate`.
        predictions: As in `evaluate`.
        class_names: The classes, in the order of the labels.
        iou_threshold: The overlap that a detection needs, above `background_threshold`, up to 1.
        background_threshold: The overlap below which a detection does not belong to a truth, above 0.
        protocol: How detections find truths, and how the average precision is computed, as in `evaluate`.
        geometry: As in `evaluate`.

    Raises:
        MetricsError: As in `evaluate`, and if the thresholds do not rise.
    """
    chosen, geometry = choose(protocol, geometry)
    check_iou_thresholds((iou_threshold,))
    if not 0 < check_number(background_threshold, "background_threshold") < iou_threshold:
        raise MetricsError(
            f"expected a background threshold above 0 and below {iou_threshold:g}, got {background_threshold:g}"
        )
    paired = pair(truth, predictions, class_names, geometry=geometry, least=background_threshold)
    return breakdown_of(paired, iou_threshold=iou_threshold, background_threshold=background_threshold, protocol=chosen)


def breakdown_of(
    paired: Paired,
    *,
    iou_threshold: float = FOREGROUND,
    background_threshold: float = BACKGROUND,
    protocol: Protocol = PROTOCOLS["voc07"],
) -> ErrorBreakdown:
    """Return the errors of detections that were paired across classes, down to the background threshold."""
    errors = Errors.of(paired, iou_threshold, background_threshold, protocol)
    as_it_is = errors.repaired(())
    return ErrorBreakdown(
        iou_threshold=iou_threshold,
        background_threshold=background_threshold,
        class_names=tuple(paired.names),
        average_precision=as_it_is,
        costs=np.stack([errors.repaired((kind,)) - as_it_is for kind in range(len(ERROR_KINDS))]),
        false_positives=_count(errors.kinds, paired.detections.labels, range(_MISSED), paired.classes),
        not_found=_count(
            errors.truth_kinds,
            paired.truths.labels,
            (_WRONG_CLASS, _BADLY_PLACED, _WRONG_ANGLE, _MISSED),
            paired.classes,
        ),
        detection_kinds=errors.kinds,
    )


@dataclass(frozen=True, eq=False)
class Errors:
    """False positives by kind, and which truths they could have found.

    Attributes:
        paired: The ground truth and the detections.
        protocol: How average precisions are computed.
        outcomes: (D,) the outcome of each detection, by its place in the order.
        kinds: (D,) as in `ErrorBreakdown.detection_kinds`.
        target: (D,) the truth that each false positive points at, if its kind points at one; -1 for others.
        loose: (T,) whether each truth is an ordinary one that was not found.
    """

    paired: Paired
    protocol: Protocol
    outcomes: OutcomesN
    kinds: OutcomesN
    target: IntsN
    loose: FlagsT

    @classmethod
    def of(cls, paired: Paired, iou_threshold: float, background_threshold: float, protocol: Protocol) -> Errors:
        """Find the errors, by the kinds of `error_breakdown`."""
        (least,) = least_overlaps((iou_threshold,), protocol).tolist()
        outcomes = protocol_outcomes(paired, protocol, np.array([least]))[0]
        kinds, target = _kinds(paired, outcomes, least, background_threshold)
        difficult = paired.truths.difficult
        found = _found(paired.order, outcomes, paired.starts, paired.pairs.truth, difficult)
        return cls(paired, protocol, outcomes, kinds, target, ~difficult & ~found)

    def best_candidates(self, kinds: Collection[int]) -> IntsK:
        """Return the best detection of these kinds for each missed truth that any of them points at."""
        pointing = np.flatnonzero(self._are(kinds) & (self.target >= 0))
        pointing = pointing[self.loose[self.target[pointing]]]
        keys = (self.paired.place[pointing], -self.paired.scores[pointing], self.target[pointing])
        ranked = pointing[np.lexsort(keys)]
        return ranked[np.flatnonzero(np.diff(self.target[ranked], prepend=-1))]

    @property
    def truth_kinds(self) -> IntsT:
        """(T,) the kind of each truth, -1 for those that were found and for difficult ones."""
        kinds = np.where(self.loose, _MISSED, -1)
        candidates = self.best_candidates(range(_MISSED))
        kinds[self.target[candidates]] = self.kinds[candidates]
        return kinds

    def repaired(self, kinds: Collection[int]) -> FloatsC:
        """Return (C,) average precisions without the errors of some kinds; NaN for classes without ground truth."""
        paired, truths = self.paired, self.paired.truth_counts
        outcomes = self.outcomes.copy()
        outcomes[paired.place[self._are(kinds)]] = IGNORED
        found = self.best_candidates(kinds)
        renamed = self.kinds[found] == _WRONG_CLASS
        outcomes[paired.place[found[~renamed]]] = TRUE_POSITIVE
        new = found[renamed]
        outcomes, bounds = self._with_hits(outcomes, paired.scores[new], paired.truths.labels[self.target[new]])
        left = truths
        if _MISSED in kinds:
            left = truths - np.bincount(paired.truths.labels[self.truth_kinds == _MISSED], minlength=paired.classes)
        (averages,) = average_precisions(outcomes[None], bounds, left, self.protocol.recalls)
        _, (wrong,) = counts(outcomes[None], bounds)
        return np.where((left == 0) & (truths > 0), wrong == 0, averages)

    def _are(self, kinds: Collection[int]) -> np.ndarray:
        """Return (D,) whether each is a false positive of one of these kinds."""
        # Index -1 is the last place.
        chosen = np.zeros(len(ERROR_KINDS) + 1, dtype=bool)
        chosen[list(kinds)] = True
        return chosen[self.kinds]

    def _with_hits(self, outcomes: OutcomesN, scores: FloatsK, labels: IntsK) -> tuple[np.ndarray, Bounds]:
        """Return outcomes and bounds with true positives inserted, each after the detections of the same score."""
        paired = self.paired
        places = np.empty(len(labels), dtype=np.int64)
        for c in np.unique(labels):
            start, stop = paired.bounds[c], paired.bounds[c + 1]
            falling = -paired.scores[paired.order[start:stop]]
            places[labels == c] = start + np.searchsorted(falling, -scores[labels == c], side="right")
        # Between the end of a class and the start of the next, the one of the lower class comes first.
        order = np.argsort(labels, kind="stable")
        more = np.cumsum(np.bincount(labels, minlength=paired.classes))
        bounds = paired.bounds + np.concatenate([np.zeros(1, np.int64), more])
        return np.insert(outcomes, places[order], np.int8(TRUE_POSITIVE)), bounds


def _kinds(paired: Paired, outcomes: OutcomesN, least: float, background: float) -> tuple[OutcomesN, IntsN]:
    """Return the kind of each detection, -1 if it is not a false positive, and the truth that it points at, or -1."""
    ordinary = ~paired.truths.difficult
    own, own_iou = _nearest(paired.pairs, ordinary, len(outcomes))
    other, other_iou = _nearest(paired.others, ordinary, len(outcomes))
    placed = (background <= own_iou) & (own_iou < least)
    cases = (placed, other_iou >= least, own_iou >= least, (own_iou < background) & (other_iou < background))
    kinds = np.select(cases, (_BADLY_PLACED, _WRONG_CLASS, _DUPLICATE, _BACKGROUND), _WRONG_BOTH).astype(np.int8)
    kinds[paired.order[outcomes != FALSE_POSITIVE]] = -1
    bad = np.flatnonzero(kinds == _BADLY_PLACED)
    turned = _turned_iou(paired.detections.boxes[bad], paired.truths.boxes[own[bad]])
    kinds[bad[turned >= least]] = _WRONG_ANGLE
    pointing = (kinds == _BADLY_PLACED) | (kinds == _WRONG_ANGLE)
    return kinds, np.select((pointing, kinds == _WRONG_CLASS), (own, other), -1)


def _nearest(pairs: Pairs, wanted: FlagsT, count: int) -> tuple[IntsN, FloatsN]:
    """Return the wanted truth that each detection overlaps most, or -1, and their IoU, or 0."""
    pairs = pairs.select(wanted[pairs.truth])
    first = pairs.select(np.flatnonzero(np.diff(pairs.detection, prepend=-1)))
    truth, iou = np.full(count, -1), np.zeros(count)
    truth[first.detection], iou[first.detection] = first.truth, first.iou
    return truth, iou


def _turned_iou(boxes: np.ndarray, truths: np.ndarray) -> FloatsN:
    """Return (K,) the IoU of boxes (K, 5) turned to the angle of truths (K, 5): the better of the two ways."""
    ways = []
    for turn in (0.0, math.pi / 2):
        turned = np.column_stack([boxes[:, :4], truths[:, 4] + turn])
        ways.append(aligned_overlaps(turned, truths))
    return np.maximum(*ways)


@jit
@no_type_check
def _find(order, outcomes, starts, truth, difficult, taken):
    for place in range(len(order)):
        if outcomes[place] != TRUE_POSITIVE:
            continue
        for k in range(starts[order[place]], starts[order[place] + 1]):
            if not difficult[truth[k]] and not taken[truth[k]]:
                taken[truth[k]] = True
                break


def _found(order: IntsN, outcomes: OutcomesN, starts: Bounds, truth: IntsK, difficult: FlagsT) -> FlagsT:
    """Return (T,) whether each truth was found: a true positive finds the free one that it overlaps most.

    In VOC's protocol that is also the truth that it overlaps most of all; otherwise it would not be a true positive.
    """
    taken = np.zeros(len(difficult), dtype=np.bool_)
    _find(order, outcomes, starts, truth, difficult, taken)
    return taken


def _count(kinds: np.ndarray, labels: np.ndarray, which: Iterable[int], classes: int) -> IntsKindsC:
    return np.stack([np.bincount(labels[kinds == kind], minlength=classes) for kind in which])
