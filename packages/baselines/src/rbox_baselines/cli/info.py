"""`rbox-baselines info`."""

from __future__ import annotations

from pathlib import Path

import click
from rbox_formats.cli import PATH, PATH_TEXT, command, input_size_option, option, writes

from rbox_baselines.cli._common import device_option, set_up_output


@command("rbox-baselines info rotated-retinanet-dota-train --input-size 1024x1024 --out info.json")
@click.argument("config", type=PATH_TEXT)
@option(
    "--model",
    type=PATH,
    old="--checkpoint",
    help="A checkpoint whose weights are measured. [default: random weights]",
    group="Model",
)
@device_option
@input_size_option(
    "The image size, in pixels. [default: the size that the config resizes to]",
    old="--size",
    group="Windows and images",
)
@option("--rounds", default=10, type=click.IntRange(min=1), help="How often the speed is measured.")
@option("--out", type=PATH, help="A JSON file for the results.", group="Output")
@writes("out")
def info(
    config: str,
    model: Path | None,
    input_size: tuple[int, int] | None,
    device: str | None,
    rounds: int,
    out: Path | None,
) -> None:
    """Measure parameters, FLOPs, speed and memory of a model.

    CONFIG is a preset, a config of MMRotate's zoo, or a file. The model runs on one image of noise at a time, from the
    image in memory to boxes. FLOPs are those of convolutions, matrix products and attention, two for each multiply-add.
    The memory is that of the first round: on a GPU of all tensors, on a CPU the growth of the process.
    """
    set_up_output()
    import json

    from rbox_formats import files
    from rbox_metrics import tables
    from rich.console import Console

    from rbox_baselines._tools._info import measure

    if out is not None:
        files.not_an_input(out, model, Path(config))
        files.require_writable(out.parent)
    found = measure(config, checkpoint=model, size=input_size, device=device, rounds=rounds)
    if out is not None:
        files.write_text(out, json.dumps({"config": config, **found.to_dict()}, indent=2) + "\n")
    Console().print(tables.simple_table(config, ["figure", "value"], found.rows()))
    click.echo(f"Not counted: {found.not_counted}.")
    if out is not None:
        click.echo(f"The results are in {out}.")
