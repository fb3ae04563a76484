"""`rbox-metrics plot`."""

from __future__ import annotations

import json
from pathlib import Path

import click
from rbox_formats.cli import writes

from rbox_metrics.cli._scoring import check_outputs
from rbox_metrics.cli._tables import run_names


@click.command()
@click.argument("reports", type=Path, nargs=-1, required=True)
@click.option("--out", type=Path, required=True, help="A folder for the pictures.")
@writes("out")
def plot(reports: tuple[Path, ...], out: Path) -> None:
    """Draw REPORTS, which `evaluate --out report.json` wrote: several runs side by side."""
    from rbox_metrics.errors import MetricsError
    from rbox_metrics.plots import draw

    check_outputs((), *reports, pictures=out)
    found = {}
    for name, path in zip(run_names(reports), reports, strict=True):
        try:
            found[name] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise MetricsError(f"expected a report in JSON, got {error}", path=path) from error
    for picture in draw(found, out):
        click.echo(str(picture))
