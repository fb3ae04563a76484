"""`lmm-detector evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click
from rbox_formats.cli import dataset_options

from lmm_detector._cli._common import open_truth, predictions_option


@click.command()
@dataset_options()
@predictions_option
@click.option("--out", type=Path, help="Where to write the report as JSON.")
@click.option(
    "--protocol",
    type=click.Choice(["voc07", "voc"]),
    default="voc07",
    show_default=True,
    help="Average precision by eleven points, or as the area below the curve.",
)
@click.option(
    "--iou",
    "iou_thresholds",
    multiple=True,
    type=float,
    default=(0.5,),
    show_default=True,
    help="IoU from which a detection counts; more than one may be given.",
)
def evaluate(
    data: Path,
    format: str,
    split: str | None,
    predictions_path: Path,
    out: Path | None,
    protocol: Literal["voc07", "voc"],
    iou_thresholds: tuple[float, ...],
) -> None:
    """Score a predictions file against a dataset's annotations."""
    import logging

    from rich.console import Console

    from lmm_detector._evaluation import evaluate as run

    logging.basicConfig(format="%(message)s", level=logging.INFO)
    truth = open_truth(format, data, split, predictions_path)
    report = run(truth, predictions_path, protocol=protocol, iou_thresholds=iou_thresholds)
    Console().print(report.table())
    if out:
        report.save(out)
        click.echo(f"The report is in {out}.")
