"""`lmm-detector evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rbox_formats.cli import dataset_options, show_messages
from rbox_metrics.cli import output_options, score, scoring_options

from lmm_detector._cli._common import open_truth, predictions_option


@click.command()
@dataset_options()
@predictions_option
@scoring_options
@output_options
def evaluate(data: Path, format: str, split: str | None, predictions_path: Path, **options: Any) -> None:
    """Score a predictions file against a dataset's annotations.

    Images count whose file is there, as in `predict` and `train`. `rbox-metrics evaluate --only-with-images` does the
    same, for predictions of other kinds too.
    """
    show_messages("rbox_metrics")
    score(open_truth(format, data, split, predictions_path), predictions_path, only_with_images=True, **options)
