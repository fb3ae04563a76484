"""What commands that score detections share: their options, and how they show the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rbox_formats import files

if TYPE_CHECKING:
    from rbox_metrics._report import Report


def scoring_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--protocol`, `--iou` (as `iou_thresholds`, more than one may be given) and `--out`."""
    function = click.option("--out", type=Path, help="A JSON file for the report.")(function)
    function = click.option(
        "--iou",
        "iou_thresholds",
        type=float,
        multiple=True,
        default=(0.5,),
        show_default="0.5",
        help="The overlap that a detection needs; more than one may be given.",
    )(function)
    return click.option(
        "--protocol",
        type=click.Choice(["voc07", "voc"]),
        default="voc07",
        show_default=True,
        help="Average precision by eleven points, or as the area below the curve.",
    )(function)


def show_report(report: Report, out: Path | None, predictions: Path) -> None:
    """Prints a table for each IoU threshold, and writes the report where a file is named, other than the predictions.

    Raises:
        DatasetError: If it is the predictions file.
    """
    if out:
        files.not_an_input(out, predictions)
    from rich.console import Console

    console = Console()
    for at in report.at:
        console.print(report.table(at.iou_threshold))
    if out:
        report.save(out)
        click.echo(f"The report is in {out}.")
