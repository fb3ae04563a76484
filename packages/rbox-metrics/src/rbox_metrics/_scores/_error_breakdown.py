"""What is wrong with the detections that are wrong, and what each kind of error costs."""

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

# What a false positive may be, and a truth that was not found: each is of one kind. A truth is of the first three where
# such a detection points at it.
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

# TIDE's thresholds: up to the second, a detection has nothing to do with a truth.
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
        background_threshold: The overlap below which it has nothing to do with a truth.
        class_names: C of them.
        average_precision: (C,) as it is; NaN for classes without truth.
        costs: (7, C) how much higher it were without the errors of one kind, in the order of `ERROR_KINDS`, from 0 to
            1; NaN for classes without truth.
        false_positives: (6, C) how many detections of each class there are of each of `FALSE_POSITIVE_KINDS`.
        not_found: (4, C) how many truths of each class there are of each of `TRUTH_KINDS`.
        detection_kinds: (D,) int8, the kind of each detection as it was given, an index into `FALSE_POSITIVE_KINDS`; -1
            for those that are no false positives.
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
        """The mean average precision as it is."""
        return mean_known(self.average_precision)

    @property
    def map_costs(self) -> dict[str, float]:
        """What each kind costs of it: the mean over the classes with truth."""
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

    Each false positive of the protocol is of one kind, the first that fits. With `own` and `other` its highest IoU
    with a truth of its own class, and of another:

    - badly_placed: background_threshold <= own < iou_threshold;
    - wrong_angle: likewise, but its angle alone is to blame: turned about its own centre so that its sides lie along
      those of that truth, either way round, it would reach the IoU threshold. (Either way: a box with its sides
      swapped is one that is off by a right angle, and a square's angle is one of four.) Judged on the boxes, of quads
      too;
    - wrong_class: other >= iou_threshold;
    - duplicate: own >= iou_threshold, but the truth is another detection's;
    - background: own and other below background_threshold;
    - wrong_class_and_place: what is left, where other is between the thresholds.

    A truth that was not found is of the kind of the detection with the best score that points at it as its own badly
    placed, wrongly turned or wrongly classed one, and missed where there is none. Difficult truths are no truths here,
    and ignored detections no false positives.

    The cost of a kind is the average precision with its errors repaired, less that without. A detection that is badly
    placed, wrongly turned or of a wrong class becomes a true positive (with its score, in the truth's class, behind
    detections with the same score) where the truth was not found, the best-scored one of the kind only; the others are
    left out. Duplicates, background and what is wrong in both ways are left out. Missed truths are left out; a class
    that has no other ones then has 1 where no false positives are left, and 0 else. The costs do not add up: with
    everything repaired the average precision is 1, but most of it may be owed to the last repair.

    Source: Bolya, Foley, Hays, Hoffman, "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020,
    section 2, and tidecv/quantify.py in dbolya/tide at 09eeffb, whose order of kinds this is. There "badly placed"
    holds the wrong angles; of all detections that point at a truth, whatever their kind, only the best is repaired; an
    IoU equal to a threshold fits in both kinds; and average precision is COCO's.

    >>> from rbox_metrics import FALSE_POSITIVE_KINDS, error_breakdown, from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> errors = error_breakdown(truth, found, ["ship", "plane"])
    >>> dict(zip(FALSE_POSITIVE_KINDS, errors.false_positives.sum(axis=1).tolist()))
    {'wrong_class': 0, 'badly_placed': 0, 'wrong_angle': 0, 'wrong_class_and_place': 0, 'duplicate': 0, 'background': 1}

    Args:
        truth: As in `evaluate`.
        predictions: As in `evaluate`.
        class_names: What the labels of both index.
        iou_threshold: Above `background_threshold`, up to 1.
        background_threshold: Above 0.
        protocol: How detections find truths and the average precision is taken, as in `evaluate`.
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
        paired: What they are of.
        protocol: How averages are taken.
        outcomes: (D,) by place in the order.
        kinds: (D,) as in `ErrorBreakdown.detection_kinds`.
        target: (D,) the truth that each false positive of a kind that finds one when repaired points at; -1 for others.
        loose: (T,) ordinary truths that were not found.
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
        # The last place is that of -1.
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
        # At the end of one class and the start of the next, the one that belongs to the lower class goes first.
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

    In VOC's it is even the one that it overlaps most of all, or it would be no true positive.
    """
    taken = np.zeros(len(difficult), dtype=np.bool_)
    _find(order, outcomes, starts, truth, difficult, taken)
    return taken


def _count(kinds: np.ndarray, labels: np.ndarray, which: Iterable[int], classes: int) -> IntsKindsC:
    return np.stack([np.bincount(labels[kinds == kind], minlength=classes) for kind in which])
