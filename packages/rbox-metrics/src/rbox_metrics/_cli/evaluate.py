"""`rbox-metrics evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click
from rbox_formats.cli import show_messages

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

    from rbox_metrics import evaluate_file

    show_messages("rbox_metrics")
    annotated = datasets.read(format, truth, split, prediction_files.read(predictions).class_names)
    show_report(
        evaluate_file(annotated, predictions, protocol=protocol, iou_thresholds=iou_thresholds), out, predictions
    )
