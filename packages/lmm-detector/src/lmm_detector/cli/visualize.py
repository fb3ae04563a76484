"""`lmm-detector visualize`."""

from __future__ import annotations

from pathlib import Path

import click
from rbox_formats.cli import dataset_options, pixels_options, writes

from lmm_detector.cli._common import open_truth, predictions_option


@click.command()
@dataset_options()
@predictions_option
@click.option("--out", type=Path, required=True, help="The folder for the pictures.")
@click.option("--limit", type=click.IntRange(min=1), help="Draw the first so many images only.")
@pixels_options
@writes("out")
def visualize(data: Path, format: str, split: str | None, predictions_path: Path, out: Path, limit: int | None) -> None:
    """Draw annotations beside predictions, a picture for each image, and a sheet that tells right, wrong and missed."""
    from lmm_detector._evaluation._pictures import visualize as run

    *pictures, sheet = run(open_truth(format, data, split, predictions_path), predictions_path, out, limit=limit)
    click.echo(f"{len(pictures)} pictures are in {out}, the first ones on one sheet in {sheet}.")
