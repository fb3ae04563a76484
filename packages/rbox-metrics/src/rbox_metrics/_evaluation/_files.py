"""A predictions file against a dataset: what the commands of detectors and of this package call alike."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
from rbox_formats import Convention, Dataset, ImageRecord, datasets

from rbox_metrics._evaluation._evaluate import evaluate
from rbox_metrics._inputs import map_classes
from rbox_metrics._inputs.predictions import Predictions, read_predictions
from rbox_metrics._reports import Report
from rbox_metrics.typing import Geometry, ProtocolName

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
    convention: Convention | str | None = None,
    only_with_images: bool = False,
    count_difficult: bool = False,
) -> Report:
    """Scores a predictions file against a dataset's annotations.

    The truth's classes are those of the report; the detections' are led to them by `class_mapping`, and by name. All
    images of the dataset count, whatever the predictions name: objects on images that they lack count as missed, which
    is said in the log.

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
        class_names: The detector's classes, as in `read_predictions`. None, where `format` is a dataset's: the truth's,
            and those that `class_mapping` leads from.
        class_mapping: From the detector's classes to the truth's, as in `map_classes`.
        annotations: The truth's COCO file, as in `read_predictions`.
        convention: As in `read_predictions`.
        only_with_images: Leaves out images whose file is not there, and the detections on them, where others have one:
            for a dataset of which only the label files are complete.
        count_difficult: Takes difficult objects for ordinary ones: they are to be found as well, by every protocol.

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
        only_with_images=only_with_images,
        count_difficult=count_difficult,
    )
    report = evaluate(
        records,
        detections,
        truth.class_names,
        protocol=protocol,
        geometry=geometry,
        iou_thresholds=iou_thresholds,
        max_dets=max_dets,
        full=full,
    )
    return replace(report, angles=detections.angles)


def load_pair(
    truth: Dataset,
    predictions_path: str | Path,
    *,
    format: str | None = None,
    split: str | None = None,
    class_names: Iterable[str] | None = None,
    class_mapping: Mapping[str, str | None] | None = None,
    annotations: str | Path | None = None,
    convention: Convention | str | None = None,
    only_with_images: bool = False,
    count_difficult: bool = False,
) -> tuple[list[ImageRecord], Predictions]:
    """The images that count and the detections on them, both with the truth's classes; arguments as `evaluate_file`."""
    if class_names is None and format in datasets.FORMATS:
        # Such a file has the dataset's names, but for those that the mapping leads from.
        own = truth.class_names
        class_names = [*(name for name in class_mapping or {} if own.find(name) is None), *own]
    found = read_predictions(
        predictions_path,
        truth,
        class_names=class_names,
        format=format,
        split=split,
        annotations=annotations,
        convention=convention,
    )
    if found.angles is not None:
        logger.info("Angles of boxes in COCO results are read as %s (--convention)", found.angles.replace("-", ", ", 1))
    # Of the kind that it is given.
    detections = cast(Predictions, map_classes(found, found.class_names, truth.class_names, class_mapping))
    records, named = list(truth), {record.image_id for record in detections}
    if only_with_images:
        records, detections = _with_images(records, detections)
    if count_difficult:
        count = sum(int(record.difficult.sum()) for record in records)
        logger.info("%d difficult objects count like any other", count)
        records = [replace(record, difficult=np.zeros(len(record), dtype=bool)) for record in records]
    missed = [record for record in records if record.image_id not in named]
    if missed:
        # Where a file names no image on which nothing was found, to name few is no sign of a mistake.
        level = logging.WARNING if found.has_empty_images else logging.INFO
        text, counts = "%d of %d images have no predictions: their objects count as missed", [len(missed), len(records)]
        without = sum(record.path is None for record in missed)
        if without and any(record.path for record in records):
            text += " (%d of them have no image file either: --only-with-images leaves such images out)"
            counts.append(without)
        logger.log(level, text, *counts)
    return records, detections


def _with_images(records: list[ImageRecord], detections: Predictions) -> tuple[list[ImageRecord], Predictions]:
    """The images whose file is there, and the detections but for those on the other images of the dataset."""
    kept = [record for record in records if record.path is not None]
    if len(kept) in (0, len(records)):
        return records, detections
    left_out = {record.image_id for record in records if record.path is None}
    predicted = [record for record in detections if record.image_id not in left_out]
    logger.info(
        "%d of %d images have no file and are left out, with the detections on %d of them",
        len(left_out),
        len(records),
        len(detections) - len(predicted),
    )
    return kept, Predictions.of(
        detections.class_names,
        predicted,
        detections.kind,
        has_empty_images=detections.has_empty_images,
        angles=detections.angles,
    )
