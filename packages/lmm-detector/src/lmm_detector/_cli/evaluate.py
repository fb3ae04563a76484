"""`lmm-detector evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click
from rbox_formats.cli import dataset_options, show_messages
from rbox_metrics.cli import scoring_options, show_report

from lmm_detector._cli._common import open_truth, predictions_option


@click.command()
@dataset_options()
@predictions_option
@scoring_options
def evaluate(
    data: Path,
    format: str,
    split: str | None,
    predictions_path: Path,
    protocol: Literal["voc07", "voc"],
    iou_thresholds: tuple[float, ...],
    out: Path | None,
) -> None:
    """Score a predictions file against a dataset's annotations."""
    from rbox_metrics import evaluate_file

    show_messages("rbox_metrics")
    truth = open_truth(format, data, split, predictions_path)
    show_report(
        evaluate_file(truth, predictions_path, protocol=protocol, iou_thresholds=iou_thresholds), out, predictions_path
    )
