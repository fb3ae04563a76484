"""`rbox-baselines curves`."""

from __future__ import annotations

from pathlib import Path

import click
from rbox_formats.cli import PATH, command, option, writes


@command(
    "rbox-baselines curves runs/retinanet runs/fcos --out losses.png",
    "rbox-baselines curves runs/retinanet --key 'loss*' --key mAP --out losses.png --out losses.csv",
)
@click.argument("runs", nargs=-1, required=True, type=PATH, metavar="RUN...")
@option(
    "--key",
    "keys",
    multiple=True,
    old="--keys",
    help="What to draw, such as loss_cls, or a pattern, such as 'loss*'. Repeat it for more. [default: loss and mAP]",
    group="Output",
)
@option(
    "--out",
    type=PATH,
    multiple=True,
    required=True,
    old="--table",
    help="A file for the chart (.png) or for the table (.csv). Repeat it for both.",
    group="Output",
)
@writes("out")
def curves(runs: tuple[Path, ...], out: tuple[Path, ...], keys: tuple[str, ...]) -> None:
    """Draw the losses and scores of runs in one chart.

    Each RUN is the --out of a training. A run that was stopped and resumed is one curve. The table says how long an
    iteration took (the mean over epochs, its spread, the slowest and the fastest epoch, each without its first line),
    and each score, last and best.
    """
    from rbox_formats import files
    from rbox_metrics import tables
    from rbox_metrics.cli import check_matplotlib
    from rbox_metrics.plots.style import save
    from rich.console import Console

    from rbox_baselines._tools import _curves, _logs

    charts, table_files = ([path for path in out if path.suffix.lower() == ending] for ending in (".png", ".csv"))
    if others := set(out) - {*charts, *table_files}:
        raise click.BadParameter(f"expected a file ending in .png or .csv, got {min(others)}", param_hint="--out")
    if charts:
        check_matplotlib()
    for path in out:
        files.require_writable(path.parent)
    paths = list(dict.fromkeys(path.resolve() for path in runs))
    logs = [_logs.read_log(path, name) for path, name in zip(paths, _curves.run_names(paths), strict=True)]
    wanted = [key.strip() for each in keys for key in each.split(",") if key.strip()]
    names = _logs.choose(logs, wanted)
    for path in charts:
        save(_curves.plot(logs, names), path)
    header, body = _curves.rows(logs, names)
    for path in table_files:
        files.write_text(path, tables.csv_table(header, body))
    Console().print(tables.simple_table("time of an iteration, scores in percent", *_curves.narrow(header, body)))
    for path in out:
        click.echo(f"The {'chart' if path in charts else 'table'} is in {path}.")
