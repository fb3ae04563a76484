"""`rbox-baselines distill`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rbox_formats.cli import (
    PATH,
    PATH_TEXT,
    command,
    dataset_options,
    images_to_predict,
    option,
    pixels_options,
    require_images,
    writes,
)
from rbox_formats.progress import is_first_process

from rbox_baselines.cli._common import config_options_option, device_option, set_up_output


def _pairs(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """Read pairs of layers, as STUDENT:TEACHER."""
    pairs = []
    for text in given:
        own, colon, other = text.partition(":")
        if not colon or not own.isdecimal() or not other.isdecimal():
            raise click.BadParameter(f"expected STUDENT:TEACHER, two numbers from 0, got {text!r}")
        pairs.append((int(own), int(other)))
    return tuple(pairs)


_POSITIVE = click.IntRange(min=1)


@command(
    "rbox-baselines distill mask-rcnn-rsmamba-base scenes --teacher sam-vit-base --cache maps --out run",
    "rbox-baselines distill mask-rcnn-rsmamba-base --data windows --teacher sam-vit-base --out run",
)
@click.argument("config", type=PATH_TEXT)
@click.argument("images", nargs=-1, type=PATH_TEXT)
@dataset_options(required=False)
@option(
    "--teacher",
    required=True,
    type=PATH_TEXT,
    help="A folder or hub name of transformers' SAM, or a detector's checkpoint, whose backbone is taken.",
    group="Model",
)
@config_options_option
@device_option
@option("--steps", default=10_000, type=_POSITIVE, help="How many batches to learn from.", group="Training")
@option(
    "--batch-size", default=8, type=_POSITIVE, help="Images of a batch, of all processes together.", group="Training"
)
@option("--learning-rate", default=1e-3, help="The learning rate of AdamW.", group="Training")
@option("--weight-decay", default=0.05, help="The weight decay of AdamW.", group="Training")
@option(
    "--loss",
    default="l1",
    type=click.Choice(["l1", "l2", "cosine"]),
    help="How feature maps are compared.",
    group="Training",
)
@option(
    "--layer",
    "layers",
    multiple=True,
    metavar="STUDENT:TEACHER",
    callback=_pairs,
    help="Also compare a map of the student with one of the teacher, by their numbers from 0. Repeat it for more.",
    group="Training",
)
@option("--layer-weight", default=1.0, help="The weight of each such pair; the last map has 1.", group="Training")
@option(
    "--corrupt",
    "place",
    default="tokens",
    type=click.Choice(["tokens", "image"]),
    help="Where the student's input is corrupted: after RSMamba's patch embedding, or in the image.",
    group="Training",
)
@option(
    "--mask",
    default=0.2,
    type=click.FloatRange(0, 1, max_open=True),
    help="Share of the patches to replace.",
    group="Training",
)
@option(
    "--noise",
    default=0.2,
    type=click.FloatRange(min=0),
    help="Noise to add, in standard deviations of what it is added to.",
    group="Training",
)
@option(
    "--schedule",
    default="constant",
    type=click.Choice(["constant", "linear", "cosine"]),
    help="How mask and noise change until the last step: not at all, or to 0.",
    group="Training",
)
@option("--amp", is_flag=True, help="Compute in half precision where that is safe, on a GPU.", group="Training")
@option("--seed", default=0, help="Seed of weights, order of images and corruption.", group="Training")
@option("--workers", default=2, type=_POSITIVE, help="Threads that read images.", group="Training")
@option(
    "--image-size",
    type=_POSITIVE,
    help="The square that images are resized and padded to, in pixels. [default: the teacher's own, else 1024]",
    group="Windows and images",
)
@option(
    "--held-out",
    default=8,
    type=click.IntRange(min=0),
    help="Images to evaluate on, which are not learnt from.",
    group="Evaluation during training",
)
@option(
    "--evaluate-every",
    default=500,
    type=_POSITIVE,
    help="Steps between evaluations, each with a picture of the features.",
    group="Evaluation during training",
)
@option(
    "--cache",
    type=PATH,
    help="A folder that keeps the teacher's features, which are then computed once for each image.",
    group="Output",
)
@option("--cache-limit", default=50.0, help="The most that the folder may take, in gigabytes.", group="Output")
@option("--save-every", default=500, type=_POSITIVE, help="Steps between checkpoints to resume from.", group="Output")
@option("--restart", is_flag=True, help="Start again instead of resuming the run in --out.", group="Output")
@option("--out", type=PATH, required=True, help="The folder for weights, log and pictures.", group="Output")
@pixels_options
@writes("out", shared=True)
def distill(
    config: str,
    images: tuple[str, ...],
    data: Path | None,
    format: str,
    split: str | None,
    teacher: str,
    options: dict[str, Any],
    device: str | None,
    amp: bool,
    cache: Path | None,
    cache_limit: float,
    restart: bool,
    out: Path,
    **settings: Any,
) -> None:
    """Teach a backbone the features of a larger one, such as SAM's encoder.

    CONFIG is a preset, a detector on RSMamba, a config of MMRotate's zoo, or a file: its backbone learns. The images
    are those of a dataset (--data), or IMAGES: files, folders, patterns ("scenes/**/*.tif"), and lists of files. They
    need no labels. Cut large ones into windows first (rbox-formats split). After a stopped run, the same command
    resumes where that run stopped. The processes of torchrun share each batch. `train --backbone` begins with the
    weights.
    """
    require_images(images, data)
    set_up_output()
    from rbox_formats import files

    from rbox_baselines import Distillation
    from rbox_baselines import distill as run

    files.require_writable(out)
    paths, _ = images_to_predict(images, data, format, split)
    limit = round(cache_limit * 1e9)
    weights = run(
        config,
        teacher,
        paths,
        out,
        Distillation(**settings),
        options=options,
        cache=cache,
        cache_limit=limit,
        device=device,
        amp=amp,
        restart=restart,
        progress=True,
    )
    if is_first_process():
        click.echo(f"The backbone's weights are in {weights}. To begin with them: train --backbone {weights}")
