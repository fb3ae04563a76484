"""`rbox-formats split`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from rbox_formats._records import ClassNames
from rbox_formats.cli._locking import writes
from rbox_formats.cli._options import (
    class_names_option,
    dataset_options,
    folder_options,
    only_labelled_option,
    pixels_options,
)


@click.command()
@dataset_options()
@folder_options
@class_names_option
@only_labelled_option
@pixels_options
@click.option("--out", type=Path, required=True, help="The folder of the dataset of windows.")
@click.option("--out-format", default="dota", show_default=True, help="The format of its annotations.")
@click.option("--size", type=int, default=1024, show_default=True, help="Side of the windows, in pixels.")
@click.option("--gap", type=int, help="How far they overlap, in pixels. [default: DOTA's 200 at 1024, in proportion]")
@click.option(
    "--scale",
    "scales",
    type=float,
    multiple=True,
    default=(1.0,),
    show_default=True,
    help="How large the image is seen; more than one may be given. DOTA's recipe: 0.5, 1 and 1.5, with --gap 500.",
)
@click.option(
    "--iof",
    "iof_threshold",
    type=float,
    default=0.7,
    show_default=True,
    help="Share of an object inside a window from which it belongs to it (0..1).",
)
@click.option(
    "--border",
    type=click.Choice(["keep", "clip"]),
    default="keep",
    show_default=True,
    help="Of objects that a window cuts, keep the outline, or clip it and take the smallest rectangle around the rest.",
)
@click.option(
    "--below",
    type=click.Choice(["drop", "difficult"]),
    default="drop",
    show_default=True,
    help="What becomes of objects below --iof.",
)
@click.option(
    "--min-image-share",
    type=float,
    default=0.6,
    show_default=True,
    help="Share of a window that lies on the image, above which it is taken; the best ones are, if none has it.",
)
@click.option("--padding/--no-padding", default=True, show_default=True, help="Fill windows up beyond the border.")
@click.option(
    "--resize/--no-resize",
    default=True,
    show_default=True,
    help="Store windows of other scales at --size, or with the image's own pixels, as MMRotate does.",
)
@click.option("--keep-empty/--skip-empty", default=True, show_default=True, help="Windows without objects.")
@click.option("--image-format", type=click.Choice(["png", "jpg"]), default="png", show_default=True)
@click.option("--quality", type=int, default=95, show_default=True, help="Of JPEG (1..100).")
@click.option("--workers", type=click.IntRange(1), help="Processes, an image each at a time. [default: one per core]")
@writes("out")
def split(
    data: Path,
    format: str,
    split: str | None,
    labels: str | None,
    image_folder: Path | None,
    class_names: ClassNames | None,
    only_labelled: bool,
    out: Path,
    out_format: str,
    workers: int | None,
    **options: Any,
) -> None:
    """Cut a dataset's images into windows. Stopped at any instant, the same command goes on where it was."""
    from rbox_formats import datasets, splitting
    from rbox_formats.cli import _output

    dataset = datasets.read(format, data, split, class_names, labels=labels, image_folder=image_folder)
    if only_labelled:
        dataset = dataset.labelled()
    _output.refuse_inputs(out, data, split, dataset)
    _output.require_writable(out)
    settings = splitting.SplitSettings(**options)
    made = splitting.split(
        dataset, out, settings, format=out_format, part=split, workers=workers or os.cpu_count() or 1, progress=True
    )
    click.echo(f"{made.windows} windows of {made.images} images are in {out}.")
    if made.unseen:
        share = f"none holds {settings.iof_threshold:.0%} or more of it (--iof {settings.iof_threshold})"
        click.echo(f"{made.unseen} of {made.objects} objects lie in no window: {share}.")
    if made.without_image:
        click.echo(f"{made.without_image} annotations have no image.")
