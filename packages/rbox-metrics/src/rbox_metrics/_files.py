"""A predictions file against a dataset: what the commands of detectors and of this package call alike."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from rbox_formats import Dataset, predictions

from rbox_metrics._evaluate import Protocol, evaluate
from rbox_metrics._report import Report

logger = logging.getLogger("rbox_metrics")


def evaluate_file(
    truth: Dataset,
    predictions_path: str | Path,
    *,
    protocol: Protocol = "voc07",
    iou_thresholds: Sequence[float] = (0.5,),
) -> Report:
    """Scores a predictions file against a dataset's annotations.

    Images without a file are left out, where others have one: no detector has seen them. All other images of the
    dataset count, and objects on images that the predictions lack count as missed. Both are said in the log.

    Args:
        truth: The dataset, read with the class names of the predictions, so that labels mean the same in both.
        predictions_path: The file.
        protocol: As in `evaluate`.
        iou_thresholds: As in `evaluate`.

    Raises:
        RboxError: If the file is torn, or holds images that the dataset lacks.
    """
    detections = predictions.read(predictions_path)
    records = list(truth)
    seen = [record for record in records if record.path is not None] or records
    if len(seen) < len(records):
        logger.info("%d of %d label files have no image, and are left out", len(records) - len(seen), len(records))
    missing = {record.image_id for record in seen} - {record.image_id for record in detections}
    if missing:
        logger.warning("%d of %d images have no predictions: their objects count as missed", len(missing), len(seen))
    return evaluate(seen, detections, truth.class_names, protocol=protocol, iou_thresholds=iou_thresholds)
