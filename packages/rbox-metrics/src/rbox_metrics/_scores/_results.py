"""The metrics at an IoU threshold, of all classes and of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ClassFigures:
    """The metrics of a class at one IoU threshold, from 0 to 1; NaN for a class without truths.

    >>> from rbox_metrics import evaluate, from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> ship, plane = evaluate(truth, found, ["ship", "plane"]).at[0].classes
    >>> ship.name, ship.truths, ship.ap, plane.ap
    ('ship', 1, 1.0, 0.0)

    Attributes:
        name: The name of the class.
        truths: How many truths there are to find, without the difficult ones.
        difficult: How many difficult truths there are.
        detections: How many detections were given, ignored ones included.
        ap: The average precision by the protocol.
        ap_nc: VOC07's average precision with every score 1, in the order of the input.
        ap_nc_tied: VOC07's average precision with all detections as a single point of the curve.
        ap_nc_random: VOC07's average precision in random orders, the mean over them.
        precision: The precision of all given detections, matched one to one.
        recall: The recall of all given detections, matched one to one.
        f1: The F1 of all given detections, matched one to one.
    """

    name: str
    truths: int
    difficult: int
    detections: int
    ap: float
    ap_nc: float
    ap_nc_tied: float
    ap_nc_random: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class AtThreshold:
    """The metrics at one IoU threshold, as `evaluate` defines them; NaN if there is no ground truth.

    >>> from rbox_metrics import evaluate, from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> at = evaluate(truth, found, ["ship", "plane"], iou_thresholds=(0.5, 0.75)).at[1]
    >>> at.iou_threshold, at.map, at.recall_micro
    (0.75, 0.5, 0.5)
    """

    iou_threshold: float
    map: float
    map_nc: float
    map_nc_tied: float
    map_nc_random: float
    map_nc_spread: float
    f1_micro: float
    f1_macro: float
    precision_micro: float
    recall_micro: float
    classes: tuple[ClassFigures, ...]


@dataclass(frozen=True)
class CocoFigures:
    """The metrics that only COCO's protocol has: means over IoU thresholds and classes with truths; NaN without truths.

    >>> from rbox_metrics import evaluate, from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> coco = evaluate(truth, found, ["ship", "plane"], protocol="coco", max_dets=(1, 100)).coco
    >>> {limit: round(recall, 3) for limit, recall in coco.mar.items()}
    {1: 0.4, 100: 0.4}

    Attributes:
        max_dets: The limits on the detections of a class on an image; the last one holds unless another is named.
        map_by_area: The mean average precision for truths that are "small", "medium" and "large".
        mar: The recall with each of `max_dets`.
        mar_by_area: The recall for truths that are "small", "medium" and "large".
        mar_per_class: The recall of each class, the mean over IoU thresholds.
    """

    max_dets: tuple[int, ...]
    map_by_area: dict[str, float]
    mar: dict[int, float]
    mar_by_area: dict[str, float]
    mar_per_class: tuple[float, ...]

    @property
    def figures(self) -> dict[str, Any]:
        """The metrics by torchmetrics' names."""
        return {
            **{f"map_{name}": value for name, value in self.map_by_area.items()},
            **{f"mar_{limit}": value for limit, value in self.mar.items()},
            **{f"mar_{name}": value for name, value in self.mar_by_area.items()},
            f"mar_{self.max_dets[-1]}_per_class": list(self.mar_per_class),
        }
