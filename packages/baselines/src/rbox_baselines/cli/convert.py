"""`rbox-baselines convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rbox_formats.cli import PATH, PATH_TEXT, command, named_classes_option, option, writes

from rbox_baselines.cli._common import config_options_option, set_up_output


@command(
    "rbox-baselines convert rsprompter.pth rsprompter-anchor-sam-base-nwpu --out nwpu.pth",
    "rbox-baselines convert model_parameters.pth mask-rcnn-rsmamba-base --out distilled.pth",
)
@click.argument("source", type=PATH)
@click.argument("config", type=PATH_TEXT)
@named_classes_option(
    "The classes that the model was trained on: NAMES that has a list. [default: those that SOURCE names, or the "
    "preset's]",
    group="Model",
)
@config_options_option
@option("--out", type=PATH, required=True, help="The checkpoint to write.", group="Output")
@writes("out")
def convert(source: Path, config: str, out: Path, **settings: Any) -> None:
    """Convert weights of RSPrompter or RS4D to a checkpoint.

    SOURCE is their file: a detector, or a distilled RSMamba alone. CONFIG is the preset or config of the same model.
    Every weight must have its place in it. No code of SOURCE is run.
    """
    set_up_output()
    from rbox_baselines import convert_checkpoint as run

    made = run(source, config, out, **settings)
    use = f"train ... --backbone {made.path}" if made.is_backbone else f"predict --model {made.path}"
    click.echo(
        f"{made.weights} weights are in {made.path}, {made.renamed} of them under other names than before. "
        f"Next: rbox-baselines {use}"
    )
