"""`rbox-formats split`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from rbox_formats._records import ClassNames
from rbox_formats.cli._command import FORMAT_TO_WRITE, PATH, Listing, command, option
from rbox_formats.cli._locking import writes
from rbox_formats.cli._options import (
    class_names_option,
    dataset_options,
    folder_options,
    only_labelled_option,
    pixels_options,
)
from rbox_formats.errors import counted


@command(
    "rbox-formats split --data DOTA --split train --out windows",
    "rbox-formats split --data DOTA --out windows --scale 0.5 --scale 1 --scale 1.5 --gap 500",
    cls=Listing,
)
@dataset_options()
@folder_options
@class_names_option
@only_labelled_option
@pixels_options
@option(
    "--window",
    "size",
    type=int,
    default=1024,
    old="--size",
    help="Side of the windows in pixels.",
    group="Windows and images",
)
@option(
    "--gap",
    type=int,
    help="Overlap of neighbouring windows in pixels. [default: 200 for windows of 1024, others in proportion]",
    group="Windows and images",
)
@option(
    "--scale",
    "scales",
    type=float,
    multiple=True,
    default=(1.0,),
    help="Resize images by this factor before they are cut. Repeat it for more. DOTA's recipe is 0.5, 1 and 1.5, with "
    "--gap 500.",
    group="Windows and images",
)
@option(
    "--iof",
    "iof_threshold",
    type=float,
    default=0.7,
    help="The share of an object's area that must lie in a window for the object to belong to it (0 to 1).",
    group="Windows and images",
)
@option(
    "--border",
    type=click.Choice(["keep", "clip"]),
    default="keep",
    help="Objects that a window cuts keep their outline, or are clipped: they become the smallest rectangle around the "
    "part inside.",
    group="Windows and images",
)
@option(
    "--below",
    type=click.Choice(["drop", "difficult"]),
    default="drop",
    help="What to do with objects below --iof: drop them, or mark them as difficult.",
    group="Windows and images",
)
@option(
    "--min-image-share",
    type=float,
    default=0.6,
    help="Keep windows with more than this share on the image (0 to 1). If there is none, those with the largest share "
    "are kept.",
    group="Windows and images",
)
@option(
    "--padding/--no-padding",
    default=True,
    help="Fill windows up to their full size beyond the image's border.",
    group="Windows and images",
)
@option(
    "--resize/--no-resize",
    default=True,
    help="Store windows of other scales with a side of --window, or with the image's own pixels, as MMRotate does.",
    group="Windows and images",
)
@option(
    "--keep-empty/--skip-empty", default=True, help="Write windows without objects too.", group="Windows and images"
)
@option(
    "--to",
    "out_format",
    type=FORMAT_TO_WRITE,
    default="dota",
    old="--out-format",
    help="The format to write.",
    group="Output",
)
@option("--out", type=PATH, required=True, help="The folder of the dataset of windows.", group="Output")
@option(
    "--image-format",
    type=click.Choice(["png", "jpg"]),
    default="png",
    help="The format of the window images.",
    group="Output",
)
@option("--quality", type=int, default=95, help="JPEG quality (1 to 100).", group="Output")
@option("--workers", type=click.IntRange(1), help="Processes; each cuts one image at a time. [default: one per core]")
@writes("out")
def split(
    data: Path,
    format: str,
    split: str | None,
    labels: str | None,
    image_folder: Path | None,
    format_options: dict[str, Any],
    class_names: ClassNames | None,
    only_labelled: bool,
    out: Path,
    out_format: str,
    workers: int | None,
    **options: Any,
) -> None:
    """Cut a dataset's images into windows.

    After a stopped run, the same command resumes where that run stopped.
    """
    from rbox_formats import datasets, splitting
    from rbox_formats.cli import _output

    dataset = datasets.read(
        format, data, split, class_names, labels=labels, image_folder=image_folder, options=format_options
    )
    if only_labelled:
        dataset = dataset.labelled()
    _output.refuse_inputs(out, data, split, dataset)
    _output.require_writable(out)
    settings = splitting.SplitSettings(**options)
    made = splitting.split(
        dataset, out, settings, format=out_format, part=split, workers=workers or os.cpu_count() or 1, progress=True
    )
    of = counted(made.images, "image")
    click.echo(f"{counted(made.windows, f'window of {of} is', f'windows of {of} are')} in {out}.")
    if made.unseen:
        share = f"none holds {settings.iof_threshold:.0%} or more of it (--iof {settings.iof_threshold})"
        click.echo(f"{made.unseen} of {made.objects} objects lie in no window: {share}.")
    if made.without_image:
        click.echo(f"{made.without_image} annotations have no image.")
