"""`rbox-metrics plot`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rbox_formats.cli import writes
from rbox_formats.errors import said

from rbox_metrics.cli._scoring import check_outputs
from rbox_metrics.cli._tables import run_names


@click.command()
@click.argument("reports", type=Path, nargs=-1, required=True)
@click.option("--out", type=Path, required=True, help="A folder for the pictures.")
@writes("out")
def plot(reports: tuple[Path, ...], out: Path) -> None:
    """Draw REPORTS, which `evaluate --out report.json` wrote: several runs side by side."""
    from rbox_metrics.plots import draw

    check_outputs((), *reports, pictures=out)
    found = {name: read_report(path) for name, path in zip(run_names(reports), reports, strict=True)}
    for picture in draw(found, out):
        click.echo(str(picture))


def read_report(path: Path) -> Any:
    """What a report's file holds; `plots.figures` says whether that is a report.

    Raises:
        MetricsError: If it is no JSON.
    """
    from rbox_metrics.errors import MetricsError

    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise MetricsError(f"expected a report in JSON, got {said(error)}", path=path) from error
