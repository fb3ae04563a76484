"""A predictions file against a dataset: what the commands of this package and of the detectors call."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from rbox_formats import Convention, Dataset, ImageRecord, datasets
from rbox_formats.errors import quoted

from rbox_metrics._evaluation._evaluate import evaluate
from rbox_metrics._inputs import map_classes
from rbox_metrics._inputs.predictions import Predictions, read_predictions
from rbox_metrics._reports import Report
from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import Geometry, ProtocolName

logger = logging.getLogger("rbox_metrics")


def evaluate_file(
    truth: Dataset,
    predictions_path: str | Path | Sequence[str | Path],
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
    images: Collection[str] | None = None,
    count_difficult: bool = False,
) -> Report:
    """Score a predictions file against the ground truth of a dataset, as the commands of all packages do.

    The report has the classes of the ground truth. The detections' classes are mapped to them by `class_mapping`, and
    otherwise by name. All images of the dataset count, also those without predictions: all objects on them are missed,
    and the log says so. This includes images without a file, which no detector can have seen.

    >>> import numpy as np
    >>> from rbox_formats import ClassNames, Dataset, ImageRecord
    >>> import tempfile
    >>> truth = [ImageRecord(name, np.array([[50, 40, 20, 10, 0.3]]), np.array([0])) for name in ("P1", "P2")]
    >>> from rbox_formats.predictions import Header, Writer
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Writer(f"{folder}/found.jsonl", Header(ClassNames(["ship"]), "mine")) as writer:
    ...         writer.write(truth[0])
    ...     report = evaluate_file(Dataset(["ship"], truth), f"{folder}/found.jsonl")
    >>> report.images, report.figures["recall_micro"]  # P2 was not answered
    (2, 0.5)

    Args:
        truth: The dataset with the ground truth.
        predictions_path: A file, a zip or a folder of any kind that `read_predictions` reads, or a list of the part
            files of one run.
        protocol: As in `evaluate`.
        geometry: As in `evaluate`.
        iou_thresholds: As in `evaluate`.
        max_dets: As in `evaluate`.
        full: As in `evaluate`.
        format: The kind of the predictions, as in `read_predictions`.
        split: As in `read_predictions`.
        class_names: The detector's classes, as in `read_predictions`. Default, if `format` is a dataset format: the
            classes of the ground truth, and those that `class_mapping` maps from.
        class_mapping: From the detector's classes to the ground truth's, as in `map_classes`.
        annotations: The COCO file of the ground truth, as in `read_predictions`.
        convention: As in `read_predictions`.
        only_with_images: Whether to ignore images without a file, and the detections on them: for a dataset that has
            all label files but not all images. The report says so (`Report.only_with_images`).
        images: The ids of the images that count, such as a sample. Default: all.
        count_difficult: Whether difficult objects count like any other, in every protocol.

    Raises:
        RboxError: If the file is cut short, has images that are not in the dataset, or has classes that are neither in
            the dataset nor in the mapping; if no image has a file and only those with a file count; or if `images`
            names an image that is not in the dataset.
    """
    report, _ = score_file(
        truth,
        predictions_path,
        protocol=protocol,
        geometry=geometry,
        iou_thresholds=iou_thresholds,
        max_dets=max_dets,
        full=full,
        format=format,
        split=split,
        class_names=class_names,
        class_mapping=class_mapping,
        annotations=annotations,
        convention=convention,
        only_with_images=only_with_images,
        images=images,
        count_difficult=count_difficult,
    )
    return report


def score_file(
    truth: Dataset,
    predictions_path: str | Path | Sequence[str | Path],
    *,
    protocol: ProtocolName = "voc07",
    geometry: Geometry | None = None,
    iou_thresholds: Sequence[float] | None = None,
    max_dets: Sequence[int] | None = None,
    full: bool = False,
    only_with_images: bool = False,
    **reading: Any,
) -> tuple[Report, Predictions]:
    """Return what `evaluate_file` returns, and the detections that were scored."""
    pair = load_pair(truth, predictions_path, only_with_images=only_with_images, **reading)
    report = evaluate(
        pair.truth,
        pair.detections,
        truth.class_names,
        protocol=protocol,
        geometry=geometry,
        iou_thresholds=iou_thresholds,
        max_dets=max_dets,
        full=full,
    )
    report = replace(
        report,
        angles=pair.detections.angles,
        only_with_images=only_with_images,
        images_left_out=pair.left_out,
    )
    return report, pair.detections


class Pair(NamedTuple):
    """What is scored.

    Attributes:
        truth: The images that count.
        detections: The detections on these images, with the classes of the ground truth.
        left_out: How many images of the dataset do not count.
    """

    truth: list[ImageRecord]
    detections: Predictions
    left_out: int


def load_pair(
    truth: Dataset,
    predictions_path: str | Path | Sequence[str | Path],
    *,
    format: str | None = None,
    split: str | None = None,
    class_names: Iterable[str] | None = None,
    class_mapping: Mapping[str, str | None] | None = None,
    annotations: str | Path | None = None,
    convention: Convention | str | None = None,
    only_with_images: bool = False,
    images: Collection[str] | None = None,
    count_difficult: bool = False,
) -> Pair:
    """Read what is to be scored, ground truth and detections with the same classes, as `evaluate_file` does."""
    if class_names is None and format in datasets.FORMATS:
        # Such a file has the dataset's class names, except those that the mapping maps from.
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
    # The result has the type of what is given.
    detections = cast(Predictions, map_classes(found, found.class_names, truth.class_names, class_mapping))
    every, named = list(truth), {record.image_id for record in detections}
    records = _that_count(every, only_with_images, images)
    if len(records) < len(every):
        detections = _without(detections, {record.image_id for record in every} - {one.image_id for one in records})
    if count_difficult:
        count = sum(int(record.difficult.sum()) for record in records)
        logger.info("%d difficult objects count like any other", count)
        records = [replace(record, difficult=np.zeros(len(record), dtype=bool)) for record in records]
    missed = [record for record in records if record.image_id not in named]
    if missed:
        # Some kinds of files never name images without detections: that images are missing is then no sign of a
        # mistake.
        level = logging.WARNING if found.has_empty_images else logging.INFO
        text, counts = "%d of %d images have no predictions: their objects count as missed", [len(missed), len(records)]
        without = sum(record.path is None for record in missed)
        if without and any(record.path for record in records):
            text += " (%d of them have no image file either: --only-with-images leaves such images out)"
            counts.append(without)
        logger.log(level, text, *counts)
    return Pair(records, detections, len(every) - len(records))


def _that_count(
    records: list[ImageRecord], only_with_images: bool, images: Collection[str] | None
) -> list[ImageRecord]:
    """Return the images of a dataset that are scored."""
    if images is not None:
        chosen = set(images)
        if unknown := chosen - {record.image_id for record in records}:
            raise MetricsError(f"expected images that are in the ground truth, got {quoted(min(unknown))}")
        records = [record for record in records if record.image_id in chosen]
    if not only_with_images:
        return records
    kept = [record for record in records if record.path is not None]
    if records and not kept:
        raise MetricsError(
            f"none of the {len(records)} images has a file, and only images with a file count",
            remedy="Leave --only-with-images out (only_with_images=True): all images then count.",
        )
    if len(kept) < len(records):
        logger.info("%d of %d images have no file and do not count", len(records) - len(kept), len(records))
    return kept


def _without(detections: Predictions, left_out: set[str]) -> Predictions:
    """Return the detections except those on some images."""
    return Predictions.of(
        detections.class_names,
        [record for record in detections if record.image_id not in left_out],
        detections.kind,
        has_empty_images=detections.has_empty_images,
        angles=detections.angles,
    )
