"""`lmm-detector convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rbox_formats.cli import PATH, codec_options, command, named_classes_option, option, writes

from lmm_detector.cli._common import DTYPE, set_up_output


@command(
    "lmm-detector convert lmmrotate-checkpoint detector --class-names dota --window 1024",
    "lmm-detector convert microsoft-florence2 florence2",
)
@click.argument("source", type=PATH)
@click.argument("out", type=PATH)
@named_classes_option(
    "The classes that the model was trained on: NAMES that has a list, such as dota. With them OUT is a detector, "
    "without them a model to train one from.",
    group="Model",
)
@option("--prompt", help="The prompt that asks for boxes. [default: LMMRotate's sentence]", group="Text format")
@codec_options
@option(
    "--window",
    type=int,
    help="Side in pixels of the windows that the model was trained on. [default: as --image-size]",
    group="Windows and images",
)
@option(
    "--gap",
    type=int,
    help="Overlap of neighbouring windows in pixels. [default: 200 for windows of 1024, others in proportion]",
    group="Windows and images",
)
@option(
    "--image-size",
    type=int,
    help="The size that images are resized to, in pixels. [default: the processor's]",
    group="Windows and images",
)
@option("--processor", type=PATH, help="A folder with tokenizer and image processor. [default: SOURCE]", group="Model")
@option("--dtype", type=DTYPE, help="The precision of the weights. [default: as stored]", group="Model")
@option(
    "--strict/--no-strict",
    default=True,
    help="Refuse unknown keys and missing weights; otherwise unknown keys are dropped and missing weights are random.",
    group="Model",
)
@writes("out")
def convert(source: Path, out: Path, **settings: Any) -> None:
    """Convert a Florence-2 of Microsoft's remote code to transformers' layout.

    SOURCE is its folder, OUT the new one. LMMRotate's checkpoints have this layout; give --class-names for them. No
    code of SOURCE is run.
    """
    set_up_output()
    from lmm_detector import convert_checkpoint as run

    made = run(source, out, **settings)
    verb = "predict" if made.is_detector else "train"
    click.echo(f"{made.weights} weights are in {made.folder}. Next: lmm-detector {verb} --model {made.folder} ...")
