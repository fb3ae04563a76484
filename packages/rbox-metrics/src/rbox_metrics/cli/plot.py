"""`rbox-metrics plot`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rbox_formats.cli import PATH, command, option, writes
from rbox_formats.errors import said

from rbox_metrics.cli._scoring import check_outputs
from rbox_metrics.cli._tables import run_names


@command("rbox-metrics plot report.json other-report.json --out charts")
@click.argument("reports", type=PATH, nargs=-1, required=True)
@option("--out", type=PATH, required=True, help="The folder for the charts.", group="Output")
@writes("out")
def plot(reports: tuple[Path, ...], out: Path) -> None:
    """Draw charts of one or more REPORTS, side by side.

    REPORTS are the files that `rbox-metrics evaluate --out report.json` wrote.
    """
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
