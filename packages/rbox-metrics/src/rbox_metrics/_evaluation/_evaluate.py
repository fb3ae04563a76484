"""A dataset's detections against its ground truth, in one pass."""

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

    In what follows, a truth is one object of the ground truth.

    At each IoU threshold `map` is the mean, over the classes with ground truth, of the average precision. The protocol
    says how that is computed:

    - `voc07`: as MMRotate's `eval_rbbox_map`, which its DOTAMetric calls. Detections are taken by falling score. Each
      claims the truth of its class and image that it overlaps most; if a better detection has claimed that truth
      before, it is a false positive. The precision is averaged at PASCAL VOC 2007's eleven recalls. As in MMRotate,
      difficult truths do not exist on images that have no ordinary truth: detections on them are false positives.
    - `voc`: as `voc07`, but the average precision is the area below the curve.
    - `dota`: as DOTA's development kit (`dota_evaluation_task1.py`). Like `voc07`, but it compares the polygons as
      annotated, an overlap must exceed the threshold, and every difficult truth exists.
    - `coco`: as MMRotate's `RotatedCocoMetric`. The precision is averaged at 101 recalls, a detection takes the free
      truth that it overlaps most, difficult truths are crowds, and the best `max_dets` detections of each class on an
      image count. There are also `map_small`, `map_medium`, `map_large` (truths up to 32 x 32 px, up to 96 x 96 px, and
      larger) and the recalls `mar_*`.
    - `fair1m`: as LMMRotate's FAIRMetric and other public code score FAIR1M: the same as `voc07`. What the benchmark's
      own server computes is not published.

    The other metrics use only the protocol's geometry and its rule for thresholds (reach or exceed):

    - `map_nc`, for detectors without scores: VOC07 with every score 1, as LMMRotate reports it. It depends on the order
      of the images in the ground truth and of the boxes on them.
    - `map_nc_tied`: all detections of a class have the same score, so its curve has a single point (precision, recall).
      The VOC07 average precision of that curve is the precision times the share of the eleven recalls 0, 0.1, ..., 1
      that the recall reaches. Detections and truths are matched one to one by falling IoU, without regard to scores.
    - `map_nc_random`, `map_nc_spread`: mean and standard deviation of VOC07's mAP over ten random orders, which are the
      same each time.
    - precision, recall and F1 of all given detections, matched one to one by falling score, then by falling IoU: per
      class, over all detections together (`micro`), and as the mean over the classes with ground truth (`macro`).

    Only `map_nc` depends on the order of boxes, images or files. Elsewhere, detections of equal score are taken in the
    order of their images' ids (or numbers, where images have no ids), then of (cx, cy, w, h, angle).

    Difficult truths need not be found, and detections on them count as neither right nor wrong. Detections without
    scores are taken to have score 1. On an image without predictions all truths are missed.

    With geometry "mask", overlaps are those of the masks' pixels, as pycocotools computes them, and `coco` gives its
    mask AP (`max_dets=(1, 10, 100)` is COCO's own). An object without a mask has its quad, or its box, as mask;
    polygons are filled by COCO's rule. The overlap with a difficult truth is the share of the detection that lies in
    it. Areas are numbers of pixels. With "boundary", the overlap is the smaller one of that and the overlap of the
    masks' boundaries (Boundary IoU). What a full report says of places and angles is that of the boxes.

    A class without ground truth (or with difficult truths only) has NaN for every metric and is in no mean over
    classes; its detections are false positives in the `micro` metrics. A class with ground truth and no detections has
    0 for every metric. Without any ground truth every metric is NaN.

    >>> from rbox_metrics import from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> report = evaluate(truth, found, ["ship", "plane"], iou_thresholds=(0.5, 0.75))
    >>> report.figures["map"], report.figures["map_50"], report.figures["precision_micro"]
    (0.5, 0.5, 0.5)

    Args:
        truth: The ground truth, as records of images (such as an `rbox_formats.Dataset`) or as flat arrays.
        predictions: The detections, as records or as flat arrays. Records may come in any order, and images may be
            missing. Flat arrays must number the images as the ground truth's do.
        class_names: The classes, in the order of the labels.
        protocol: How the average precision of `map` is computed, as described above.
        geometry: What is compared: "rbox" compares boxes, "quad" compares quads as annotated and detected, "mask" and
            "boundary" compare masks. Default: "quad" for `dota`, "rbox" for the others.
        iou_thresholds: Each above 0, up to 1. An IoU equal to it is enough, except for `dota`. Default: 0.5; for `coco`
            0.5, 0.55, ..., 0.95.
        max_dets: For `coco` only: rising limits on the detections of a class on an image. Each limit N has a recall
            `mar_N`, and `map` uses the last. Default: 100, 300, 1000.
        full: Whether to add the sweep over score thresholds, the confusion matrix, the errors and what they cost, the
            curves, the calibration and the placement, all at the lowest IoU threshold.

    Raises:
        MetricsError: If the predictions have an image that is not in the ground truth, an image comes twice, a label is
            out of range, a box or score is not a number, flat arrays have different image ids, or the library for the
            overlaps of masks (extra `masks`) is not installed.
    """
    from rbox_metrics._matching import choose, pair
    from rbox_metrics._scores import BACKGROUND, figures_at

    chosen, geometry = choose(protocol, geometry)
    thresholds = check_iou_thresholds(chosen.iou_thresholds if iou_thresholds is None else iou_thresholds)
    if max_dets is not None and protocol != "coco":
        raise MetricsError(f"expected max_dets only with protocol 'coco', got it with protocol {protocol!r}")
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
