"""`rbox-baselines predict`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rbox_formats.cli import (
    Extras,
    dataset_options,
    images_to_predict,
    pixels_options,
    prediction_options,
    require_images,
    writes,
)

from rbox_baselines.cli._common import set_up_output

VIEWS = ("window", "gap", "flips", "scales", "score_threshold")

_MODEL_OPTIONS = (
    click.option("--config", help="A preset, a zoo config or a file. [default: the one that the checkpoint carries]"),
    click.option(
        "--window",
        type=click.IntRange(min=0),
        help="Looks at windows of this side in pixels; 0: at whole images. [default: windows of the model's input size "
        "on images more than twice as large]",
    ),
    click.option(
        "--gap",
        type=click.IntRange(min=0),
        help="Overlap of neighbouring windows in pixels. [default: 200 for windows of 1,024 px, others in proportion]",
    ),
    click.option(
        "--flip",
        "flips",
        multiple=True,
        type=click.Choice(["horizontal", "vertical", "diagonal"]),
        help="Detects on mirrored images as well; more than one may be given.",
    ),
    click.option(
        "--scale",
        "scales",
        multiple=True,
        type=float,
        default=(1.0,),
        show_default=True,
        help="Detects on images so many times as large; more than one may be given.",
    ),
    click.option("--score-threshold", default=0.05, show_default=True, help="Leaves out what scores less."),
    click.option("--batch-size", default=4, show_default=True, type=click.IntRange(min=1), help="Windows at a time."),
    click.option("--device", help="Such as cpu or cuda:0. [default: the GPU, where there is one]"),
)


def model_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say how a checkpoint is loaded and how images are looked at."""
    for option in reversed(_MODEL_OPTIONS):
        function = option(function)
    return function


def load_detector(checkpoint: Path, settings: dict[str, Any]) -> Any:
    """The detector of a checkpoint, as `model_options` say."""
    from rbox_baselines import Detector

    return Detector.from_checkpoint(checkpoint, settings["config"], device=settings["device"])


def run_detector(detector: Any, settings: dict[str, Any], paths: Any, out: Path, **more: Any) -> None:
    """Predicts as `model_options` say."""
    from rbox_baselines import Views, predict

    views = Views(**{name: settings[name] for name in VIEWS})
    predict(detector, paths, out, views=views, batch_size=settings["batch_size"], **more)


@click.command()
@click.argument("images", nargs=-1)
@click.option("--checkpoint", type=Path, required=True, help="What `train` wrote, or a file that MMRotate published.")
@dataset_options(required=False)
@click.option("--out", type=Path, required=True, help="The predictions file to write, or to go on with.")
@model_options
@prediction_options
@pixels_options
@writes("out", "pictures", "geojson")
def predict(
    images: tuple[str, ...],
    checkpoint: Path,
    data: Path | None,
    format: str,
    split: str | None,
    out: Path,
    pictures: Path | None,
    geojson: Path | None,
    geojson_crs: str | None,
    skip_broken: bool,
    **settings: Any,
) -> None:
    """Detect the objects on a dataset's images (--data), or on IMAGES.

    These are files, folders, patterns ("scenes/**/*.tif"), and lists of files (list.txt, or @list). What several
    windows, flips or scales show of one object is joined. Given again, the command goes on where a stopped run was.
    """
    require_images(images, data)
    set_up_output()
    from rbox_formats import files

    from rbox_baselines._prediction._device import check_device

    files.require_writable_file(out)
    settings["device"] = check_device(settings["device"])
    paths, description = images_to_predict(images, data, format, split)
    extras = Extras(pictures, geojson, geojson_crs)
    extras.check(paths)
    detector = load_detector(checkpoint, settings)
    run_detector(detector, settings, paths, out, dataset=description, skip_broken=skip_broken)
    extras.write(out, paths)
    click.echo(extras.closing(out))
