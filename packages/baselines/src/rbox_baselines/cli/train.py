"""`rbox-baselines train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rbox_formats.cli import PATH, PATH_TEXT, command, option, pixels_options, say_renamed, writes
from rbox_formats.progress import is_first_process

from rbox_baselines.cli._common import (
    class_names_option,
    config_options_option,
    set_up_output,
    training_data,
    training_data_options,
)


def _list(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    """Prints the presets and the zoo, and ends the command."""
    if not wanted:
        return
    from rbox_baselines._configs import _mmdet
    from rbox_baselines._configs._encoders import NAMES
    from rbox_baselines._configs._presets import PRESETS
    from rbox_baselines._configs._zoo import zoo

    click.echo("Presets, LMMRotate's baselines and Oriented R-CNN on RSMamba:")
    for name, preset in PRESETS.items():
        if preset.masks is None:
            parts = preset.train_split + (f", scored on {preset.val_split}" if preset.val_split else "")
            click.echo(f"  {name}: {preset.format} ({parts}), {preset.image_size} px, {preset.epochs} epochs")
    click.echo("Presets of masks, each with -short for fewer epochs:")
    for name, preset in PRESETS.items():
        if preset.masks is not None and not name.endswith("-short"):
            half = ", half precision" if preset.masks.half else ""
            click.echo(
                f"  {name}: {preset.format} ({preset.train_split}, scored on {preset.val_split}), "
                f"{preset.image_size} px, {preset.epochs} epochs, {preset.masks.batch_size} images a step{half}"
            )
    click.echo("Detectors on RSMamba and SAM:")
    for name, (head, encoder) in NAMES.items():
        lora = ", with LoRA" if encoder.learns == "lora" else ""
        click.echo(f"  {name}: {head.what}, {encoder.size}{lora}")
    click.echo("MMRotate's zoo:")
    for name in zoo():
        click.echo(f"  {name}")
    click.echo("mmdet's instance models, which learn masks:")
    for name in _mmdet.zoo():
        click.echo(f"  {name}")
    context.exit()


def _resume(context: click.Context, _option: click.Parameter, given: bool) -> None:
    if given and not context.resilient_parsing:
        say_renamed(context, "--resume", "the default (--restart starts again)")


@command(
    "rbox-baselines train rotated-retinanet-dota-train --data windows --out runs/retinanet",
    "rbox-baselines train --list",
)
@click.argument("config", type=PATH_TEXT)
@option(
    "--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="List presets and zoo, and exit."
)
@training_data_options
@class_names_option
@option(
    "--backbone",
    type=PATH_TEXT,
    help="A file with the backbone's weights, or none for random ones. [default: what the config names]",
    group="Model",
)
@option(
    "--sam",
    type=PATH_TEXT,
    help="A folder or hub name of transformers' SAM, for models with parts of it. [default: what the config names]",
    group="Model",
)
@option("--model", "load_from", type=PATH, old="--load-from", help="A checkpoint to start from.", group="Model")
@config_options_option
@option(
    "--image-size",
    type=click.IntRange(min=32),
    help="The longer side that images are resized to, in pixels. [default: the config's]",
    group="Windows and images",
)
@option("--amp", is_flag=True, help="Use half precision where it is safe, on a GPU.", group="Training")
@option(
    "--auto-scale-lr",
    is_flag=True,
    help="Scale the learning rate with the number of images in a step.",
    group="Training",
)
@option(
    "--launcher",
    type=click.Choice(["none", "pytorch", "slurm"]),
    default="none",
    help="What started the processes; pytorch means torchrun.",
    group="Training",
)
@option(
    "--seed",
    type=int,
    help="Random seed of weights, order and augmentation. [default: the config's, or 0]",
    group="Training",
)
@option(
    "--out",
    type=PATH,
    required=True,
    old="--work-dir",
    help="The folder for checkpoints and logs. If a stopped run is there, it is resumed.",
    group="Output",
)
@option("--restart", is_flag=True, help="Start again, even if --out has checkpoints.", group="Output")
@option("--resume", is_flag=True, hidden=True, expose_value=False, callback=_resume)
@option("--tensorboard", is_flag=True, help="Write TensorBoard's files too.", group="Output")
@pixels_options
@writes("out", shared=True)
def train(
    config: str,
    data: Path | None,
    format: str | None,
    split: str | None,
    val_split: str | None,
    drop: tuple[str, ...],
    class_names: tuple[str, ...] | None,
    out: Path,
    restart: bool,
    **settings: Any,
) -> None:
    """Train a model of MMRotate, or an instance model of mmdet.

    CONFIG is a preset, a config of MMRotate's zoo or of mmdet's instance models (--list), or a config file. With --data
    the model learns the classes of that dataset, in any format that rbox-formats reads. After each epoch it is scored
    by rbox-metrics, and the best checkpoint is kept beside the others. A model that learns masks is scored by mask AP,
    and takes the quads of a dataset that has no masks.

    After a stopped run, the same command resumes from the last checkpoint in --out.
    """
    source = training_data(config, data, format, split, val_split, drop)
    set_up_output()
    from rbox_baselines import train as run

    last = run(config, out, data=source, class_names=class_names, resume=not restart, **settings)
    if is_first_process():
        click.echo(f"The last checkpoint is {last}.")
