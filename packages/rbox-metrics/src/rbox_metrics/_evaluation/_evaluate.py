"""A dataset's detections against its truth, in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rbox_formats import ImageRecord, crosses_itself

from rbox_metrics._inputs import FlatBoxes, check_iou_thresholds, check_max_dets
from rbox_metrics._reports import Report
from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import Geometry, ProtocolName

if TYPE_CHECKING:
    from rbox_metrics._matching import Paired, Protocol


def evaluate(
    truth: Iterable[ImageRecord] | FlatBoxes,
    predictions: Iterable[ImageRecord] | FlatBoxes,
    class_names: Iterable[str],
    *,
    protocol: ProtocolName = "voc07",
    geometry: Geometry | None = None,
    iou_thresholds: Sequence[float] | None = None,
    max_dets: Sequence[int] | None = None,
    full: bool = False,
) -> Report:
    """Score detections against ground truth.

    At each IoU threshold `map` is the mean, over the classes with truth, of the average precision, by protocol:

    - `voc07`: as MMRotate's `eval_rbbox_map`, and so its DOTAMetric. Detections are taken by falling score, each claims
      the truth of its class and image that it overlaps most, whether or not a better one has claimed it before (which
      makes it a false positive), and the precision is averaged at PASCAL VOC 2007's eleven recalls. As there, difficult
      truths on an image without any ordinary one are forgotten: what lies on them is a false positive.
    - `voc`: the same as the area below the curve.
    - `dota`: as DOTA's development kit (`dota_evaluation_task1.py`): like `voc07`, but on the polygons as annotated, an
      overlap must exceed the threshold, and no difficult truth is forgotten.
    - `coco`: as MMRotate's `RotatedCocoMetric`: at 101 recalls, a detection takes the free truth that it overlaps most,
      difficult truths are crowds, and the best `max_dets` detections of each class on an image count. The figures also
      have `map_small`, `map_medium`, `map_large` (truths up to 32 x 32, 96 x 96 px, and above) and the recalls `mar_*`.
    - `fair1m`: as LMMRotate's FAIRMetric and other public code score FAIR1M, which is `voc07`. What the benchmark's own
      server computes is not published.

    Other figures do not depend on the protocol, but for its geometry and whether its thresholds must be exceeded:

    - `map_nc`, for detectors without confidences: VOC07 with every score 1, as LMMRotate reports it. It depends on the
      order of the images in the truth and of the boxes on them.
    - `map_nc_tied`: all detections of a class are one point (precision, recall) of a curve that has no other, since
      nothing tells them apart, and that curve's VOC07 average precision is the precision times the share of the eleven
      recalls 0, 0.1, ..., 1 that the recall reaches. Detections and truths are matched one to one by falling IoU
      without regard to scores.
    - `map_nc_random`, `map_nc_spread`: mean and standard deviation of VOC07's mAP over ten random orders, the same in
      every run.
    - precision, recall and F1 of all detections given, matched one to one by falling score, then by falling IoU; per
      class, over all detections together (`micro`), and the mean over the classes with truth (`macro`).

    Only `map_nc` depends on the order of boxes, images or files: of equal scores, those on the image whose id comes
    first go first (its number, where images have no ids), then those with the smaller numbers (cx, cy, w, h, angle).

    Difficult truths are not to be found, and detections on them count as neither right nor wrong. Detections without
    scores are taken to have score 1. An image without predictions has all its truths missed.

    A class without truth (difficult ones aside) has NaN for every figure and is in no mean over classes; its detections
    are false positives in the `micro` figures. A class with truth and no detections has 0 for every figure. Without
    any truth at all every figure is NaN.

    >>> from rbox_metrics import from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> report = evaluate(truth, found, ["ship", "plane"], iou_thresholds=(0.5, 0.75))
    >>> report.figures["map"], report.figures["map_50"], report.figures["precision_micro"]
    (0.5, 0.5, 0.5)

    Args:
        truth: Records, such as an `rbox_formats.Dataset`, or flat arrays.
        predictions: Likewise. Records may come in any order and may be fewer than the truth's; flat arrays number the
            images as the truth's do.
        class_names: What the labels of both index.
        protocol: How the average precision of `map` is taken.
        geometry: Compares boxes ("rbox"), or quads as annotated and detected ("quad"). None: "quad" for `dota`,
            else "rbox".
        iou_thresholds: Each above 0, up to 1; an IoU equal to it is enough, but for `dota`. None: 0.5; for `coco` 0.5,
            0.55, ..., 0.95.
        max_dets: For `coco`, rising: each has a recall `mar_N`, and the last holds for `map`. None: 100, 300, 1000.
        full: Adds the sweep over score thresholds, confusion, errors and what they cost, curves, calibration and
            placement, all at the lowest IoU threshold, from the same search for overlaps.

    Raises:
        MetricsError: If the predictions have an image that the truth lacks, an image comes twice, a label is out of
            range, a box or score is not a number, or both have image ids and these differ.
    """
    from rbox_metrics._matching import choose, pair
    from rbox_metrics._scores import BACKGROUND, figures_at

    chosen, geometry = choose(protocol, geometry)
    thresholds = check_iou_thresholds(chosen.iou_thresholds if iou_thresholds is None else iou_thresholds)
    if max_dets is not None and protocol != "coco":
        raise MetricsError(f"expected max_dets only with protocol 'coco', got it with {protocol!r}")
    max_dets = chosen.max_dets if max_dets is None else check_max_dets(max_dets)
    paired = pair(
        truth,
        predictions,
        class_names,
        geometry=geometry,
        least=min(*thresholds, BACKGROUND) if full else min(thresholds),
        across=full,
    )
    at, coco = figures_at(paired, chosen, thresholds, max_dets)
    image_ids = paired.truths.image_ids
    return Report(
        protocol=protocol,
        geometry=paired.geometry,
        class_names=tuple(paired.names),
        images=None if image_ids is None else len(image_ids),
        at=at,
        coco=coco,
        self_crossing_truths=_crossing(paired),
        **(_parts(paired, chosen, thresholds[0]) if full else {}),
    )


def _crossing(paired: Paired) -> int | None:
    """Return how many ground-truth quads cross themselves; None where boxes are compared, since no box does."""
    return int(crosses_itself(paired.truths.corners).sum()) if paired.geometry == "quad" else None


def _parts(paired: Paired, protocol: Protocol, iou_threshold: float) -> dict[str, Any]:
    """Return the additional parts of a full report."""
    from rbox_metrics._scores import (
        breakdown_of,
        calibration_of,
        confusion_of,
        curves_of,
        placement_of,
        sweep_of,
        turned_of,
    )

    return {
        "sweep": sweep_of(paired, protocol, iou_threshold),
        "confusion": confusion_of(paired, iou_threshold=iou_threshold, protocol=protocol),
        "errors": breakdown_of(paired, iou_threshold=iou_threshold, protocol=protocol),
        "curves": curves_of(paired, iou_threshold=iou_threshold, protocol=protocol),
        "calibration": calibration_of(paired, iou_threshold=iou_threshold, protocol=protocol),
        "placement": placement_of(paired, iou_threshold=iou_threshold, protocol=protocol),
        "turned": turned_of(paired),
    }
