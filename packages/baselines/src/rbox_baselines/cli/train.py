"""`rbox-baselines train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rbox_formats.cli import class_names_option, pixels_options, writes
from rbox_formats.progress import is_first_process

from rbox_baselines.cli._common import config_options_option, set_up_output, training_data, training_data_options


def _list(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    """Prints the presets and the zoo, and ends the command."""
    if not wanted:
        return
    from rbox_baselines._configs._presets import PRESETS
    from rbox_baselines._configs._zoo import zoo

    click.echo("Presets, LMMRotate's baselines:")
    for name, preset in PRESETS.items():
        parts = preset.train_split + (f", scored on {preset.val_split}" if preset.val_split else "")
        click.echo(f"  {name}: {preset.format} ({parts}), {preset.image_size} px, {preset.epochs} epochs")
    click.echo("MMRotate's zoo:")
    for name in zoo():
        click.echo(f"  {name}")
    context.exit()


@click.command()
@click.argument("config")
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list, help="Lists the names.")
@training_data_options
@class_names_option
@click.option("--work-dir", type=Path, required=True, help="The folder for checkpoints and logs.")
@click.option("--image-size", type=click.IntRange(min=32), help="To which images are resized. [default: the config's]")
@config_options_option
@click.option(
    "--backbone", help="A file with the backbone's weights, or 'none' for random ones. [default: what the config names]"
)
@click.option("--load-from", type=Path, help="A checkpoint to begin with.")
@click.option("--resume", is_flag=True, help="Goes on with the last checkpoint of --work-dir.")
@click.option("--amp", is_flag=True, help="Half precision where it is safe, on a GPU.")
@click.option("--auto-scale-lr", is_flag=True, help="Scales the learning rate with the images of a step.")
@click.option("--tensorboard", is_flag=True, help="Writes TensorBoard's files as well.")
@click.option(
    "--launcher",
    type=click.Choice(["none", "pytorch", "slurm"]),
    default="none",
    show_default=True,
    help="What started the processes; pytorch is torchrun.",
)
@click.option("--seed", type=int, help="Of weights, order and augmentation. [default: the config's, or 0]")
@pixels_options
@writes("work_dir", shared=True)
def train(
    config: str,
    data: Path | None,
    format: str | None,
    split: str | None,
    val_split: str | None,
    left_out: tuple[str, ...],
    class_names: tuple[str, ...] | None,
    work_dir: Path,
    **settings: Any,
) -> None:
    """Train a model of MMRotate: CONFIG is a preset, a config of its zoo (--list), or a config file.

    With --data the model learns the classes of that dataset, in any format that rbox-formats reads. After each epoch
    it is scored by rbox-metrics, and the best checkpoint is kept beside the others.
    """
    source = training_data(config, data, format, split, val_split, left_out)
    set_up_output()
    from rbox_baselines import train as run

    last = run(config, work_dir, data=source, class_names=class_names, **settings)
    if is_first_process():
        click.echo(f"The last checkpoint is {last}.")
