"""Evaluation: a predictions file against a dataset's annotations."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import rbox_metrics
from rbox_formats import Dataset, predictions

logger = logging.getLogger("lmm_detector")


def evaluate(
    truth: Dataset,
    predictions_path: str | Path,
    *,
    protocol: Literal["voc07", "voc"] = "voc07",
    iou_thresholds: Sequence[float] = (0.5,),
) -> rbox_metrics.Report:
    """Scores a predictions file with rbox_metrics.

    Images without a file are left out, where others have one: no detector has seen them. All other images of the
    dataset count, and objects on images that the predictions lack count as missed.

    Args:
        truth: The dataset, read with the class names of the predictions.
        predictions_path: The file.
        protocol: As in `rbox_metrics.evaluate`.
        iou_thresholds: As in `rbox_metrics.evaluate`.

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
    return rbox_metrics.evaluate(
        seen, detections, truth.class_names, protocol=protocol, iou_thresholds=tuple(iou_thresholds)
    )
