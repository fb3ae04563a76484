"""`rbox-baselines browse`."""

from __future__ import annotations

from pathlib import Path

import click
from rbox_formats.cli import class_names_option, pixels_options, writes

from rbox_baselines.cli._common import config_options_option, set_up_output, training_data


@click.command()
@click.argument("config")
@click.option("--data", type=Path, help="The dataset's folder. [default: the config's own dataset]")
@click.option("--format", help="The dataset's format. [default: the preset's, else dota]")
@click.option("--split", help="The part of the dataset. [default: the preset's, else train]")
@class_names_option
@config_options_option
@click.option("--out", type=Path, required=True, help="The folder for the pictures.")
@click.option(
    "--limit", default=16, show_default=True, type=click.IntRange(min=1), help="Draw the first so many images."
)
@click.option("--seed", default=0, show_default=True, help="Of what the pipeline does by chance.")
@click.option("--every-step", is_flag=True, help="Draws the image after each transform as well.")
@pixels_options
@writes("out")
def browse(
    config: str,
    data: Path | None,
    format: str | None,
    split: str | None,
    class_names: tuple[str, ...] | None,
    options: dict[str, object],
    out: Path,
    limit: int,
    seed: int,
    every_step: bool,
) -> None:
    """Draw a dataset as a model learns from it: after the training pipeline of CONFIG, with the boxes.

    CONFIG is a preset, a config of MMRotate's zoo, or a file. A picture is written for each image, and a sheet of the
    first ones.
    """
    source = training_data(config, data, format, split, None if data is None else "none")
    set_up_output()
    from rbox_formats import files

    from rbox_baselines import load_config
    from rbox_baselines._tools._browse import browse as run

    files.require_writable(out)
    loaded = load_config(config, data=source, class_names=class_names, options=options)
    *pictures, sheet = run(loaded, out, limit=limit, seed=seed, every_step=every_step)
    click.echo(f"{len(pictures)} pictures are in {out}, the first ones on one sheet in {sheet}.")
