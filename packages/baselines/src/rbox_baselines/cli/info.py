"""`rbox-baselines info`."""

from __future__ import annotations

from pathlib import Path

import click
from rbox_formats.cli import parse_size, writes

from rbox_baselines.cli._common import set_up_output


@click.command()
@click.argument("config")
@click.option("--checkpoint", type=Path, help="The weights to measure with. [default: random ones]")
@click.option(
    "--size",
    metavar="WIDTHxHEIGHT",
    callback=lambda _context, _option, value: None if value is None else parse_size(value),
    help="Of the image, in pixels. [default: to which the config resizes]",
)
@click.option("--device", help="Such as cpu or cuda:0. [default: the GPU, where there is one]")
@click.option("--rounds", default=10, show_default=True, type=click.IntRange(min=1), help="How often it is timed.")
@click.option("--out", type=Path, help="A JSON file for the figures.")
@writes("out")
def info(
    config: str,
    checkpoint: Path | None,
    size: tuple[int, int] | None,
    device: str | None,
    rounds: int,
    out: Path | None,
) -> None:
    """Parameters, FLOPs, images per second and peak memory of a model: CONFIG is a preset, a zoo config, or a file.

    It runs on one image of noise at a time, from the image in memory to boxes. FLOPs are those of convolutions, matrix
    products and attention, two for each multiply-add. The memory is that of the first round: on a GPU of all tensors,
    on a CPU the growth of the process.
    """
    set_up_output()
    import json

    from rbox_formats import files
    from rbox_metrics import tables
    from rich.console import Console

    from rbox_baselines._tools._info import measure

    if out is not None:
        files.not_an_input(out, checkpoint, Path(config))
        files.require_writable(out.parent)
    found = measure(config, checkpoint=checkpoint, size=size, device=device, rounds=rounds)
    if out is not None:
        files.write_text(out, json.dumps({"config": config, **found.to_dict()}, indent=2) + "\n")
    Console().print(tables.simple_table(config, ["figure", "value"], found.rows()))
    click.echo(f"Not counted: {found.not_counted}.")
    if out is not None:
        click.echo(f"The figures are in {out}.")
