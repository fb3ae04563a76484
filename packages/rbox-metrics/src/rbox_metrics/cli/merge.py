"""`rbox-metrics merge`."""

from __future__ import annotations

from pathlib import Path

import click
from rbox_formats import files
from rbox_formats.cli import writes


@click.command()
@click.option("--predictions", "predictions_path", type=Path, required=True, help="predictions.jsonl of windows.")
@click.option("--out", type=Path, required=True, help="predictions.jsonl of the images.")
@click.option("--iou", "iou_threshold", type=float, default=0.1, show_default=True, help="More overlap is a duplicate.")
@click.option(
    "--window-size", type=int, help="The side that windows were resized to, where they were. [default: as cut]"
)
@writes("out")
def merge(predictions_path: Path, out: Path, iou_threshold: float, window_size: int | None) -> None:
    """Join detections on windows named as `rbox-formats split` and DOTA's kit name them (P0706__1024__0___824)."""
    from rbox_metrics._suppression import merge_file

    files.not_an_input(out, predictions_path)
    count = merge_file(predictions_path, out, iou_threshold=iou_threshold, window_size=window_size)
    click.echo(f"The detections on {count} images are in {out}.")
