"""`lmm-detector evaluate`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rbox_formats.cli import (
    PATH,
    class_names_option,
    command,
    dataset_options,
    option,
    pixels_options,
    say_renamed,
    show_messages,
    writes,
)
from rbox_formats.errors import counted
from rbox_metrics.cli import check_outputs, convention_option, output_options, say_if_compiling, score, scoring_options

from lmm_detector._prediction._generation import Generation
from lmm_detector.cli._common import generation_options, open_truth, set_up_output

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lmm_detector._evaluation._comparison import Scored

# Options of `predict` that are not about its images and its file.
_GENERATION = tuple(field.name for field in fields(Generation))
_LOADING = ("device", "dtype")

# The value of --pictures without a folder, as it was until now: below --out.
_INTO_OUT = Path("<out>/pictures")


def _pictures_folder(given: Mapping[str, Any]) -> list[Path | None]:
    """Return the folder for pictures, if it is another than --out, which is locked as a whole."""
    return [None if given["pictures"] == _INTO_OUT else given["pictures"]]


@command(
    "lmm-detector evaluate --data DOTA --split val --predictions val.jsonl --out report.json",
    "lmm-detector evaluate --data DOTA --split val --model runs/dota --intermediate --out scores",
)
@dataset_options()
@class_names_option
@option(
    "--sample",
    type=click.IntRange(min=1),
    old="--clip-num",
    help="Evaluate only this many images, drawn at random. [default: all]",
    group="Dataset",
)
@option("--sample-seed", default=42, old="--shuffle-seed", help="Random seed for --sample.", group="Dataset")
@option(
    "--predictions",
    "predictions_paths",
    type=PATH,
    multiple=True,
    help="A predictions file. Repeat it for more.",
    group="Predictions",
)
@option(
    "--model",
    "models",
    type=PATH,
    multiple=True,
    help="A detector to predict with first: its folder, or the folder of its run. Repeat it for more.",
    group="Model",
)
@option("--intermediate", is_flag=True, help="Evaluate all checkpoints of each --model, a run.", group="Model")
@option("--no-score", is_flag=True, help="Only predict; do not score.", group="Scoring")
@option(
    "--pictures",
    type=PATH,
    is_flag=False,
    flag_value=str(_INTO_OUT),
    help="Draw the ground truth beside the predictions into this folder.",
    group="Output",
)
@generation_options
@convention_option
@scoring_options
@output_options
@pixels_options
@writes("out", "plots", _pictures_folder, shared=True)
def evaluate(
    data: Path,
    format: str,
    split: str | None,
    class_names: tuple[str, ...] | None,
    predictions_paths: tuple[Path, ...],
    models: tuple[Path, ...],
    intermediate: bool,
    sample: int | None,
    sample_seed: int,
    no_score: bool,
    pictures: Path | None,
    convention: str | None,
    out: tuple[Path, ...],
    plots: Path | None,
    **options: Any,
) -> None:
    """Score predictions, or checkpoints, against a dataset's annotations.

    For one predictions file, --out names files for the full report. For several, or for checkpoints (--model), --out is
    a folder, with a folder for each checkpoint, one table of all, and one chart against the training step. After a
    stopped run, the same command resumes; it predicts nothing twice.

    All images of the dataset count. A model predicts on those whose file is there. Objects on the others are missed,
    and the report says how many images that are (--only-with-images leaves them out).
    """
    settings = {name: options.pop(name) for name in (*_GENERATION, *_LOADING)}
    if bool(models) == bool(predictions_paths):
        raise click.UsageError("Give either --model, or --predictions.")
    if predictions_paths and (intermediate or no_score):
        raise click.UsageError("--intermediate and --no-score go with --model.")
    several = len(predictions_paths) > 1 or bool(models) or sample is not None or pictures is not None
    if not several:
        show_messages("rbox_metrics", "rbox_formats")
        [path] = predictions_paths
        check_outputs(out, path, pictures=plots)
        truth = (
            open_truth(format, data, split, path) if class_names is None else _read(format, data, split, class_names)
        )
        score(truth, path, convention=convention, out=out, plots=plots, **options)
        return

    if convention is not None:
        raise click.UsageError("--convention goes with COCO results alone: give them as the one --predictions.")
    folder = _one_folder(out, required=bool(models) or pictures == _INTO_OUT)
    check_outputs((), pictures=plots)
    set_up_output()
    from rbox_formats import files, predictions

    from lmm_detector._evaluation import _evaluate as _evaluation
    from lmm_detector._runtime import _ranks

    if folder is not None and pictures == _INTO_OUT:
        say_renamed(click.get_current_context(), "--pictures without a folder", "--pictures FOLDER")
        pictures = folder / _evaluation.PICTURES

    scoring: dict[str, Any] = {"protocol": options["protocol"], "geometry": options["geometry"]}
    scoring |= {name: options[name] or None for name in ("iou_thresholds", "max_dets")}
    only_with_images: bool = options["only_with_images"]
    if not no_score:
        say_if_compiling("evaluate", options["protocol"], options["geometry"])
    for place in (folder, pictures):
        if place is not None:
            files.require_writable(place)
    clip: dict[str, Any] = {"clip_num": sample, "shuffle_seed": sample_seed}
    if models:
        generation = Generation(**{name: settings[name] for name in _GENERATION})
        found = _evaluation.evaluate_checkpoints(
            models,
            data,
            folder or "",
            format=format,
            split=split,
            class_names=class_names,
            intermediate=intermediate,
            generation=generation,
            score=not no_score,
            pictures=pictures,
            only_with_images=only_with_images,
            **clip,
            **{name: settings[name] for name in _LOADING},
            **scoring,
        )
    else:
        names = class_names or predictions.read(predictions_paths[0]).class_names
        truth = _evaluation.annotated(data, format, split, names)
        images = None
        if sample is not None:
            chosen = _evaluation.clipped(truth, only_with_images=only_with_images, **clip)
            images = [record.image_id for record in chosen]
        found = _evaluation.score_files(
            predictions_paths,
            truth,
            images=images,
            pictures=pictures,
            only_with_images=only_with_images,
            **scoring,
        )
    _ranks.on_main(lambda: _show(found, folder, plots, scored=not no_score))
    _ranks.leave()


def _show(found: list[Scored], folder: Path | None, plots: Path | None, *, scored: bool) -> None:
    """Writes table and plot, and prints the table."""
    from rich.console import Console

    from lmm_detector._evaluation import _comparison

    if not scored:
        click.echo(f"The predictions of {counted(len(found), 'checkpoint')} are in {folder}.")
        return
    written = _comparison.save(found, folder) if folder is not None else []
    if plots is not None:
        from rbox_metrics.plots import draw

        draw({each.name: each.report.to_dict() for each in found if each.report is not None}, plots)
    Console().print(_comparison.table(found))
    if written:
        click.echo(f"The table is in {', '.join(map(str, written))}.")
    if plots is not None:
        click.echo(f"The pictures of the reports are in {plots}.")


def _one_folder(out: tuple[Path, ...], *, required: bool) -> Path | None:
    """The folder that --out names where several checkpoints are evaluated."""
    if len(out) > 1 or (required and not out):
        raise click.UsageError(f"Give one --out, a folder; got {len(out)}.")
    if out and not out[0].is_dir() and out[0].suffix.lower() in (".json", ".md", ".csv"):
        raise click.BadParameter(f"expected a folder, got the file {out[0]}", param_hint="--out")
    return out[0] if out else None


def _read(format: str, data: Path, split: str | None, class_names: tuple[str, ...]) -> Any:
    from rbox_formats import datasets

    return datasets.read(format, data, split, class_names)
