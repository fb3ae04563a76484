"""`rbox-baselines predict`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click
from rbox_formats.cli import (
    PATH,
    PATH_TEXT,
    Division,
    Extras,
    command,
    dataset_options,
    division_options,
    option,
    options,
    pixels_options,
    prediction_options,
    writes,
    written,
)

from rbox_baselines.cli._common import device_option, set_up_output

VIEWS = ("window", "gap", "flips", "scales", "score_threshold")

# How a checkpoint is loaded, and how images are looked at.
model_options = options(
    option(
        "--config",
        type=PATH_TEXT,
        help="A preset, a config of MMRotate's zoo, or a file. [default: the config in the checkpoint]",
        group="Model",
    ),
    device_option,
    option(
        "--window",
        type=click.IntRange(min=0),
        help="Side of the windows in pixels; 0 means whole images. [default: the model's input size for images more "
        "than twice as large, others whole]",
        group="Windows and images",
    ),
    option(
        "--gap",
        type=click.IntRange(min=0),
        help="Overlap of neighbouring windows in pixels. [default: 200 for windows of 1024, others in proportion]",
        group="Windows and images",
    ),
    option(
        "--flip",
        "flips",
        multiple=True,
        type=click.Choice(["horizontal", "vertical", "diagonal"]),
        help="Predict on mirrored images too. Repeat it for more.",
        group="Windows and images",
    ),
    option(
        "--scale",
        "scales",
        multiple=True,
        type=float,
        default=(1.0,),
        help="Predict on images resized by this factor. Repeat it for more.",
        group="Windows and images",
    ),
    option("--score-threshold", default=0.05, help="Drop predictions of a lower score.", group="Prediction"),
    option(
        "--batch-size", default=4, type=click.IntRange(min=1), help="The most windows at a time.", group="Prediction"
    ),
)


def load_detector(checkpoint: Path, settings: dict[str, Any]) -> Any:
    """The detector of a checkpoint, as `model_options` say."""
    from rbox_baselines import Detector

    if _is_onnx(checkpoint):
        if settings["config"]:
            raise click.UsageError("--config goes with a checkpoint: an ONNX file holds its config.")
        return Detector.from_onnx(checkpoint, device=settings["device"])
    return Detector.from_checkpoint(checkpoint, settings["config"], device=settings["device"])


def _is_onnx(path: Path) -> bool:
    return path.suffix.lower() == ".onnx"


def run_detector(detector: Any, settings: dict[str, Any], paths: Any, out: Path, **more: Any) -> Path | None:
    """Predicts as `model_options` say."""
    from rbox_baselines import Views, predict

    views = Views(**{name: settings[name] for name in VIEWS})
    return predict(detector, paths, out, views=views, batch_size=settings["batch_size"], **more)


@command(
    "rbox-baselines predict --model epoch_12.pth --out found.jsonl --pictures pictures scenes/*.png",
    "rbox-baselines predict --model epoch_12.pth --data DOTA --split val --out val.jsonl",
)
@click.argument("images", nargs=-1, type=PATH_TEXT)
@option(
    "--model",
    type=PATH,
    required=True,
    old="--checkpoint",
    help="A checkpoint that `train` wrote, or that MMRotate or mmdet published; or an ONNX file of `export`.",
    group="Model",
)
@dataset_options(required=False)
@option(
    "--out",
    type=PATH,
    required=True,
    help="The predictions file to write. If it is there already, the command resumes it.",
    group="Output",
)
@model_options
@prediction_options
@division_options
@option(
    "--geojson-tolerance",
    type=click.FloatRange(min=0),
    default=0.0,
    metavar="PX",
    help="Simplify the outlines of masks by this many pixels at most.",
    group="Output",
)
@pixels_options
@writes(written, "pictures", "geojson", shared=True)
def predict(
    images: tuple[str, ...],
    model: Path,
    data: Path | None,
    format: str,
    split: str | None,
    out: Path,
    pictures: Path | None,
    geojson: Path | None,
    geojson_crs: str | None,
    geojson_tolerance: float,
    skip_broken: bool,
    manifest: Path | None,
    remote: bool,
    share: tuple[int, int] | None,
    engine: str,
    ray_address: str | None,
    actors: int,
    **settings: Any,
) -> None:
    """Detect the objects on a dataset's images (--data), or on IMAGES.

    A model of masks gives each object's mask, and the rotated rectangle around it as its box.

    IMAGES are files, folders, patterns ("scenes/**/*.tif"), and lists of files (list.txt, or @list). Predictions of one
    object in several windows, flips or scales are merged. After a stopped run, the same command resumes where that run
    stopped. The processes of torchrun, the jobs of an array (--share) or the machines of a Ray cluster (--engine ray)
    share the work.
    """
    division = Division(manifest, share, engine, ray_address, actors, remote)
    division.check(images, data, settings["window"], settings["gap"])
    set_up_output()
    from rbox_formats import files

    from rbox_baselines._prediction._device import check_device

    files.require_writable_file(out)
    if not _is_onnx(model):  # onnxruntime has devices of its own
        settings["device"] = check_device(settings["device"])
    source, named, description = division.images(images, data, format, split)
    extras = Extras(pictures, geojson, geojson_crs, geojson_tolerance, remote)
    extras.check(list(named.values()))
    load = partial(load_detector, model.absolute(), settings)
    detector = load()
    found = run_detector(
        detector,
        settings,
        source,
        out,
        dataset=description,
        skip_broken=skip_broken,
        share=share,
        cluster=division.cluster(on_gpu=str(settings["device"]).startswith("cuda")),
        load=load,
    )
    if found is None:
        click.echo(f"This share is done; its parts are in {out}.parts. The share that ends last joins all of them.")
        return
    extras.write(out, named)
    click.echo(extras.closing(out))
