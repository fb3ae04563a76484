"""`lmm-detector convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rbox_formats.cli import codec_options, parse_class_names, writes

from lmm_detector.cli._common import set_up_output


@click.command()
@click.argument("source", type=Path)
@click.argument("out", type=Path)
@click.option(
    "--class-names",
    callback=lambda _context, _option, value: None if value is None else parse_class_names(value),
    help="The classes that it was taught: a comma-separated list, a file with one name per line, or a dataset format "
    "that has a list, such as dota. With them it becomes a detector; left out, a model to train one from.",
)
@codec_options
@click.option("--prompt", help="What asks it for boxes. [default: LMMRotate's sentence]")
@click.option("--window", type=int, help="Side of the windows that it saw, in pixels. [default: as --image-size]")
@click.option("--gap", type=int, help="How far windows overlap, in pixels. [default: 200 at 1024, in proportion]")
@click.option("--processor", type=Path, help="A folder with tokenizer and image processor. [default: SOURCE]")
@click.option("--image-size", type=int, help="What images are resized to, in pixels. [default: as the processor says]")
@click.option("--dtype", help="float32, bfloat16 or float16. [default: as stored]")
@click.option(
    "--strict/--no-strict",
    default=True,
    show_default=True,
    help="Refuse keys that are left over and weights that are missing, rather than drop and draw them at random.",
)
@writes("out")
def convert(source: Path, out: Path, **settings: Any) -> None:
    """Convert a Florence-2 of Microsoft's remote code (SOURCE) to a folder in transformers' layout (OUT).

    LMMRotate's checkpoints are such; give --class-names for them. No code of SOURCE is run.
    """
    set_up_output()
    from lmm_detector import convert_checkpoint as run

    made = run(source, out, **settings)
    verb = "predict" if made.is_detector else "train"
    click.echo(f"{made.weights} weights are in {made.folder}. Next: lmm-detector {verb} --model {made.folder} ...")
