"""`rbox-metrics evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from rbox_metrics.cli import scoring_options, show_report


@click.command()
@click.option("--truth", type=Path, required=True, help="The annotated dataset's folder.")
@click.option("--format", default="dota", show_default=True, help="The dataset's format.")
@click.option("--split", help="The part of the dataset, where it has parts, such as 'val'.")
@click.option("--predictions", type=Path, required=True, help="The detections, as predictions.jsonl.")
@scoring_options
def evaluate(
    truth: Path,
    format: str,
    split: str | None,
    predictions: Path,
    protocol: Literal["voc07", "voc"],
    iou_thresholds: tuple[float, ...],
    out: Path | None,
) -> None:
    """Score detections against a dataset's annotations.

    The dataset is read with the class names that the predictions file gives, so that labels mean the same in both.
    """
    from rbox_formats import datasets
    from rbox_formats import predictions as prediction_files

    import rbox_metrics

    detections = prediction_files.read(predictions)
    names = detections.class_names
    annotated = datasets.read(format, truth, split, names)
    report = rbox_metrics.evaluate(annotated, detections, names, protocol=protocol, iou_thresholds=iou_thresholds)
    show_report(report, out)
