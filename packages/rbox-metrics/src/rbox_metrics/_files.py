"""A predictions file against a dataset: what the commands of detectors and of this package call alike."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rbox_formats import LE90, Convention, Dataset, ImageRecord

from rbox_metrics._classes import map_classes
from rbox_metrics._evaluate import evaluate
from rbox_metrics._predictions import read_predictions
from rbox_metrics._report import Report
from rbox_metrics._typing import Geometry, ProtocolName

logger = logging.getLogger("rbox_metrics")


def evaluate_file(
    truth: Dataset,
    predictions_path: str | Path,
    *,
    protocol: ProtocolName = "voc07",
    geometry: Geometry | None = None,
    iou_thresholds: Sequence[float] | None = None,
    max_dets: Sequence[int] | None = None,
    full: bool = False,
    format: str | None = None,
    split: str | None = None,
    class_names: Iterable[str] | None = None,
    class_mapping: Mapping[str, str | None] | None = None,
    annotations: str | Path | None = None,
    convention: Convention | str = LE90,
) -> Report:
    """Scores a predictions file against a dataset's annotations.

    The truth's classes are those of the report; the detections' are led to them by `class_mapping`, and by name. Images
    without a file that no prediction names are left out, where others have one: no detector has seen them. All other
    images of the dataset count, and objects on images that the predictions lack count as missed. Both are said in the
    log.

    Args:
        truth: The dataset.
        predictions_path: A file, a zip or a folder of any kind that `read_predictions` reads.
        protocol: As in `evaluate`.
        geometry: As in `evaluate`.
        iou_thresholds: As in `evaluate`.
        max_dets: As in `evaluate`.
        full: As in `evaluate`.
        format: The kind of the predictions, as in `read_predictions`.
        split: As in `read_predictions`.
        class_names: The detector's classes, as in `read_predictions`.
        class_mapping: From the detector's classes to the truth's, as in `map_classes`.
        annotations: The truth's COCO file, as in `read_predictions`.
        convention: As in `read_predictions`.

    Raises:
        RboxError: If the file is torn, holds images that the dataset lacks, or classes that are neither the dataset's
            nor in the mapping.
    """
    records, detections = load_pair(
        truth,
        predictions_path,
        format=format,
        split=split,
        class_names=class_names,
        class_mapping=class_mapping,
        annotations=annotations,
        convention=convention,
    )
    return evaluate(
        records,
        detections,
        truth.class_names,
        protocol=protocol,
        geometry=geometry,
        iou_thresholds=iou_thresholds,
        max_dets=max_dets,
        full=full,
    )


def load_pair(
    truth: Dataset,
    predictions_path: str | Path,
    *,
    format: str | None = None,
    split: str | None = None,
    class_names: Iterable[str] | None = None,
    class_mapping: Mapping[str, str | None] | None = None,
    annotations: str | Path | None = None,
    convention: Convention | str = LE90,
) -> tuple[list[ImageRecord], Dataset]:
    """The images that count and the detections on them, both with the truth's classes; arguments as `evaluate_file`."""
    found = read_predictions(
        predictions_path,
        truth,
        class_names=class_names,
        format=format,
        split=split,
        annotations=annotations,
        convention=convention,
    )
    detections = map_classes(found, found.class_names, truth.class_names, class_mapping)
    records, named = list(truth), {record.image_id for record in detections}
    seen = [record for record in records if record.path is not None or record.image_id in named]
    if all(record.path is None for record in records):
        seen = records
    if len(seen) < len(records):
        logger.info("%d of %d label files have no image, and are left out", len(records) - len(seen), len(records))
    missing = {record.image_id for record in seen} - named
    if missing:
        # Where a file names no image on which nothing was found, to name few is no sign of a mistake.
        level = logging.WARNING if found.has_empty_images else logging.INFO
        logger.log(level, "%d of %d images have no predictions: their objects count as missed", len(missing), len(seen))
    return seen, detections
