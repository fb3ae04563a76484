"""`rbox-baselines curves`."""

from __future__ import annotations

from pathlib import Path

import click
from rbox_formats.cli import writes


@click.command()
@click.argument("runs", nargs=-1, required=True, type=Path, metavar="RUN...")
@click.option("--out", type=Path, required=True, help="The picture (.png) to write.")
@click.option(
    "--keys",
    multiple=True,
    help="What to draw: names between commas, such as loss_cls,mAP, or patterns, such as 'loss*'. [default: loss,mAP]",
)
@click.option("--table", type=Path, help="A CSV file for the table.")
@writes("out", "table")
def curves(runs: tuple[Path, ...], out: Path, keys: tuple[str, ...], table: Path | None) -> None:
    """Draw the losses and scores of trainings, each RUN a work directory, in one plot.

    A run that was stopped and resumed is one curve. The table tells how long an iteration took (the mean over epochs,
    its spread, the slowest and the fastest epoch, each without its first line), and each score, last and best.
    """
    from rbox_formats import files
    from rbox_metrics import tables
    from rbox_metrics.cli import check_matplotlib
    from rbox_metrics.plots.style import save
    from rich.console import Console

    from rbox_baselines._tools import _curves, _logs

    if out.suffix.lower() != ".png":
        raise click.BadParameter(f"expected a file ending in .png, got {out}", param_hint="--out")
    if table is not None and table.suffix.lower() != ".csv":
        raise click.BadParameter(f"expected a file ending in .csv, got {table}", param_hint="--table")
    check_matplotlib()
    for path in filter(None, (out, table)):
        files.require_writable(path.parent)
    paths = list(dict.fromkeys(path.resolve() for path in runs))
    logs = [_logs.read_log(path, name) for path, name in zip(paths, _curves.run_names(paths), strict=True)]
    wanted = [key.strip() for each in keys for key in each.split(",") if key.strip()]
    names = _logs.choose(logs, wanted)
    save(_curves.plot(logs, names), out)
    header, body = _curves.rows(logs, names)
    if table is not None:
        files.write_text(table, tables.csv_table(header, body))
    Console().print(tables.simple_table("time of an iteration, scores in percent", *_curves.narrow(header, body)))
    click.echo(f"The picture is in {out}.")
    if table is not None:
        click.echo(f"The table is in {table}.")
