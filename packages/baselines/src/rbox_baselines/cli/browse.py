"""`rbox-baselines browse`."""

from __future__ import annotations

from pathlib import Path

import click
from rbox_formats.cli import PATH, PATH_TEXT, command, option, pixels_options, writes
from rbox_formats.errors import counted

from rbox_baselines.cli._common import (
    class_names_option,
    config_data_options,
    config_options_option,
    set_up_output,
    training_data,
)


@command("rbox-baselines browse rotated-retinanet-dota-train --data DOTA --out pictures --limit 8")
@click.argument("config", type=PATH_TEXT)
@config_data_options("The part of the dataset.")
@class_names_option
@config_options_option
@option("--out", type=PATH, required=True, help="The folder for the pictures.", group="Output")
@option(
    "--limit",
    default=16,
    type=click.IntRange(min=1),
    help="Draw only this many images, the first ones.",
    group="Output",
)
@option("--seed", default=0, help="Random seed of the pipeline.", group="Output")
@option("--every-step", is_flag=True, help="Draw the image after each transform too.", group="Output")
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
    """Draw a dataset as a model sees it in training, with the boxes.

    CONFIG is a preset, a config of MMRotate's zoo, or a file; the images are drawn after its training pipeline. A
    picture is written for each image, and a sheet of the first ones.
    """
    source = training_data(config, data, format, split, None if data is None else "none")
    set_up_output()
    from rbox_formats import files

    from rbox_baselines import load_config
    from rbox_baselines._tools._browse import browse as run

    files.require_writable(out)
    loaded = load_config(config, data=source, class_names=class_names, options=options)
    *pictures, sheet = run(loaded, out, limit=limit, seed=seed, every_step=every_step)
    click.echo(
        f"{counted(len(pictures), 'picture is', 'pictures are')} in {out}, the first ones on one sheet in {sheet}."
    )
