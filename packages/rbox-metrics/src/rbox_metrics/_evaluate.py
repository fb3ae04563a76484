"""A dataset's detections against its truth, in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from rbox_formats import ClassNames, ImageRecord

from rbox_metrics._flat import FlatBoxes, from_records
from rbox_metrics._report import Report
from rbox_metrics.errors import MetricsError

Protocol = Literal["voc07", "voc"]


def evaluate(
    truth: Iterable[ImageRecord] | FlatBoxes,
    predictions: Iterable[ImageRecord] | FlatBoxes,
    class_names: Iterable[str],
    *,
    protocol: Protocol = "voc07",
    iou_thresholds: Sequence[float] = (0.5,),
) -> Report:
    """Scores detections against annotations.

    At each IoU threshold:

    - `map`: the mean over the classes with truth of the average precision. Detections are taken by falling score, each
      claims the truth of its class and image that it overlaps most (see `_matching.claim`), and the precision over
      the recall is averaged by VOC07's eleven points (`voc07`) or as the area below it (`voc`). As MMRotate's
      `eval_rbbox_map`. Of equal scores the detection on the image that comes first in the truth goes first, then the
      first on the image.
    - `map_nc`, for detectors without confidences: the same by VOC07 with every score 1, as LMMRotate reports it. It
      depends on the order of the images and of the boxes on them.
    - `map_nc_tied`: all detections of a class are one point (precision, recall) of a curve that has no other, since
      nothing tells them apart, and that curve's VOC07 average precision is the precision times the share of the eleven
      recalls 0, 0.1, ..., 1 that the recall reaches. Detections and truths are matched one to one by falling IoU
      without regard to scores: no order of boxes, images or files changes it.
    - precision, recall and F1 of all detections given, matched one to one by falling score, then by falling IoU; per
      class, over all detections together (`micro`), and the mean over the classes with truth (`macro`).

    Difficult truths are not to be found, and detections on them count as neither right nor wrong. Detections without
    scores are taken to have score 1. An image without predictions has all its truths missed.

    A class without truth (difficult ones aside) has NaN for every figure and is in no mean over classes; its detections
    are false positives in the `micro` figures. A class with truth and no detections has 0 for every figure. Without
    any truth at all every figure is NaN.

    Args:
        truth: Records, such as an `rbox_formats.Dataset`, or flat arrays.
        predictions: Likewise. Records may come in any order and may be fewer than the truth's.
        class_names: What the labels of both index.
        protocol: How the average precision of `map` is taken.
        iou_thresholds: Each above 0, up to 1; an IoU equal to it is enough.

    Raises:
        MetricsError: If the predictions have an image that the truth lacks, an image comes twice, a label is out of
            range, a box or score is not a number, or only one of the two is in flat arrays without image ids.
    """
    names = ClassNames(class_names)
    thresholds = _check_thresholds(iou_thresholds)
    if protocol not in ("voc07", "voc"):
        raise MetricsError(f"expected protocol 'voc07' or 'voc', got {protocol!r}")
    truths, detections = _flat(truth, predictions)
    _check_labels(truths, len(names), "truth")
    _check_labels(detections, len(names), "predictions")

    from rbox_metrics._figures import Matched, figures_at

    matched = Matched.of(truths, detections, len(names), min(thresholds))
    return Report(
        protocol=protocol,
        class_names=tuple(names),
        images=None if truths.image_ids is None else len(truths.image_ids),
        at=tuple(figures_at(threshold, matched, names, protocol) for threshold in thresholds),
    )


def _check_thresholds(values: Sequence[float]) -> tuple[float, ...]:
    thresholds = tuple(float(value) for value in values)
    if not thresholds or len(set(thresholds)) != len(thresholds) or not all(0 < value <= 1 for value in thresholds):
        raise MetricsError(f"expected distinct IoU thresholds above 0 and up to 1, got {list(values)}")
    return thresholds


def _flat(
    truth: Iterable[ImageRecord] | FlatBoxes, predictions: Iterable[ImageRecord] | FlatBoxes
) -> tuple[FlatBoxes, FlatBoxes]:
    """Both as flat arrays whose images are numbered alike."""
    truths = truth if isinstance(truth, FlatBoxes) else from_records(truth)
    if isinstance(predictions, FlatBoxes):
        detections = predictions
    elif truths.image_ids is None:
        raise MetricsError(
            "expected predictions as flat arrays, like the truth, got records",
            remedy="Turn both into flat arrays by from_records(records, image_ids).",
        )
    else:
        detections = from_records(predictions, truths.image_ids)
    if truths.image_ids is not None:
        if detections.image_ids not in (None, truths.image_ids):
            raise MetricsError(
                "expected the same images in the same order in truth and predictions, got others",
                remedy="Make the predictions' flat arrays by from_records(predictions, truth.image_ids).",
            )
        count = len(truths.image_ids)
        if len(detections) and detections.image_index.max() >= count:
            raise MetricsError(f"expected image indices below {count}, got {detections.image_index.max()}")
    return truths, detections


def _check_labels(boxes: FlatBoxes, classes: int, what: str) -> None:
    bad = (boxes.labels < 0) | (boxes.labels >= classes)
    if bad.any():
        first = int(bad.argmax())
        raise MetricsError(
            f"expected labels of {classes} classes, from 0, in the {what}, got {boxes.labels[first]} "
            f"at {boxes.name_of(first)}"
        )
