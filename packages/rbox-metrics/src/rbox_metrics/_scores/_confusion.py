"""The confusion matrix: which class was detected as which."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rbox_formats import ImageRecord

from rbox_metrics._inputs import FlatBoxes, check_iou_thresholds, check_number
from rbox_metrics._matching import PROTOCOLS, Paired, Protocol, by_falling, choose, pair, partners, tied_runs
from rbox_metrics._overlaps import Pairs
from rbox_metrics._plain import plain
from rbox_metrics._scores._figures import least_overlaps
from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import CountsLL, FlagsN, FlagsT, Geometry, ProtocolName, SharesLL

# The name of the last row and the last column.
BACKGROUND_LABEL = "background"


@dataclass(frozen=True, eq=False)
class Confusion:
    """How many truths of each class were detected as which class: rows are truths, columns are detections.

    The last row has the detections that found no truth, the last column the truths that no detection found.

    >>> from rbox_metrics import confusion_matrix, from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> confusion = confusion_matrix(truth, found, ["ship", "plane"])
    >>> confusion.labels
    ('ship', 'plane', 'background')
    >>> confusion.counts.tolist()  # a row for each true class
    [[1, 0, 0], [0, 0, 1], [0, 1, 0]]

    Attributes:
        iou_threshold: The overlap that a detection needs.
        score_threshold: Detections with this score or a higher one count. None: all count.
        class_names: The names of the C classes.
        counts: (C + 1, C + 1) int64, the counts; the last row's last value is 0.
    """

    iou_threshold: float
    score_threshold: float | None
    class_names: tuple[str, ...]
    counts: CountsLL

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of rows and columns: the classes, then the background."""
        return (*self.class_names, BACKGROUND_LABEL)

    @property
    def by_truth(self) -> SharesLL:
        """(C + 1, C + 1) each row divided by its sum; the diagonal is the recall. NaN in a row without truths.

        The last row shows how detections without a truth are spread over the classes.
        """
        return _shares(self.counts, self.counts.sum(axis=1, keepdims=True))

    @property
    def by_detection(self) -> SharesLL:
        """(C + 1, C + 1) each column divided by its sum; the diagonal is the precision. NaN in one without detections.

        The last column shows how missed truths are spread over the classes.
        """
        return _shares(self.counts, self.counts.sum(axis=0, keepdims=True))

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary for JSON."""
        return plain(
            {
                "iou_threshold": self.iou_threshold,
                "score_threshold": self.score_threshold,
                "labels": self.labels,
                "counts": self.counts,
            }
        )


def confusion_matrix(
    truth: Iterable[ImageRecord] | FlatBoxes,
    predictions: Iterable[ImageRecord] | FlatBoxes,
    class_names: Iterable[str],
    *,
    iou_threshold: float = 0.5,
    score_threshold: float | None = None,
    protocol: ProtocolName = "voc07",
    geometry: Geometry | None = None,
) -> Confusion:
    """Count which class was detected as which.

    Detections and truths are matched one to one, in two rounds. The first round is within each class, by falling score,
    then by falling IoU. This is the matching of `evaluate`'s precision and recall, which are the diagonal divided by
    the sums of columns and rows. The second round matches what is left across classes, by falling IoU (then score, then
    the boxes' numbers). So a detection of another class never takes a truth that a detection of its own class finds.
    (The confusion matrix of YOLOv5 and its successors matches all classes in one round by falling IoU: it may count
    such a truth as confused, and the right detection as background.)

    Difficult truths are in no row. A detection that finds no other truth, and overlaps a difficult one of its class by
    the threshold or more, is in no column. A detection on a difficult truth of another class counts as background.

    >>> from rbox_metrics import confusion_matrix, from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3]], labels=[0], image_index=[0])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3]], labels=[1], image_index=[0])
    >>> confusion_matrix(truth, found, ["ship", "plane"]).counts.tolist()  # a ship, taken for a plane
    [[0, 1, 0], [0, 0, 0], [0, 0, 0]]

    Args:
        truth: As in `evaluate`.
        predictions: As in `evaluate`.
        class_names: The classes, in the order of the labels.
        iou_threshold: The overlap that a detection needs, above 0, up to 1.
        score_threshold: Detections with this score or a higher one count. Default: all. Give a threshold for a detector
            that returns boxes with very low scores, such as the best one for F1 that `sweep_scores` finds.
        protocol: Which geometry is compared, and whether the IoU must exceed its threshold, as in `evaluate`.
        geometry: As in `evaluate`.

    Raises:
        MetricsError: As in `evaluate`, and if the score threshold is not a number.
    """
    chosen, geometry = choose(protocol, geometry)
    check_iou_thresholds((iou_threshold,))
    paired = pair(truth, predictions, class_names, geometry=geometry, least=iou_threshold)
    return confusion_of(paired, iou_threshold=iou_threshold, score_threshold=score_threshold, protocol=chosen)


def confusion_of(
    paired: Paired,
    *,
    iou_threshold: float = 0.5,
    score_threshold: float | None = None,
    protocol: Protocol = PROTOCOLS["voc07"],
) -> Confusion:
    """Return the confusion matrix of detections that were paired across classes, down to the IoU threshold."""
    if score_threshold is not None and np.isnan(check_number(score_threshold, "score_threshold")):
        raise MetricsError("expected a number for the score threshold, got NaN")
    (least,) = least_overlaps((iou_threshold,), protocol).tolist()
    truths, detections, background = paired.truths, paired.detections, paired.classes
    counted = np.ones(len(detections), bool) if score_threshold is None else paired.scores >= score_threshold

    # Detections with lower scores come later: they do not change the outcomes of those above the threshold.
    partner, _ = partners(paired.ranked, truths.difficult, least, len(detections))
    partner[~counted] = -1
    on_difficult = paired.pairs.detection[truths.difficult[paired.pairs.truth] & (paired.pairs.iou >= least)]
    counted[on_difficult[partner[on_difficult] < 0]] = False
    free = ~truths.difficult
    free[partner[partner >= 0]] = False
    left = _across(paired, counted & (partner < 0), free, least)
    confused, _ = partners(left, ~free, least, len(detections))
    partner = np.where(confused >= 0, confused, partner)
    free[partner[partner >= 0]] = False

    rows = np.where(partner >= 0, np.append(truths.labels, background)[partner], background)
    size = background + 1
    cells = np.concatenate([(rows * size + detections.labels)[counted], truths.labels[free] * size + background])
    return Confusion(
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        class_names=tuple(paired.names),
        counts=np.bincount(cells, minlength=size * size).reshape(size, size),
    )


def _across(paired: Paired, loose: FlagsN, free: FlagsT, least: float) -> Pairs:
    """Pair detections and truths of different classes that have no partner: by falling IoU, then falling score.

    Ties are sorted by the labels and the numbers of the boxes, never by their place in the input. If these are equal
    too, either order counts up the same cells.
    """
    others = paired.others
    pairs = others.select((others.iou >= least) & loose[others.detection] & free[others.truth])
    score = paired.scores[pairs.detection]
    order = by_falling(pairs.iou, score)
    tied = (np.diff(pairs.iou[order]) == 0) & (np.diff(score[order]) == 0)
    members, run = tied_runs(tied, len(order))
    chosen = pairs.select(order[members])
    detections, truths = paired.detections, paired.truths
    keys = (
        *truths.numbers(chosen.truth)[::-1],
        *detections.numbers(chosen.detection)[::-1],
        truths.labels[chosen.truth],
        detections.labels[chosen.detection],
        run,
    )
    order[members] = order[members][np.lexsort(keys)]
    return pairs.select(order)


def _shares(counts: np.ndarray, whole: np.ndarray) -> SharesLL:
    return np.where(whole > 0, counts / np.maximum(whole, 1), np.nan)
