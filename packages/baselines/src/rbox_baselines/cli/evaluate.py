"""`rbox-baselines evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rbox_formats.cli import class_names_option, dataset_options, pixels_options, writes
from rbox_metrics.cli import check_outputs, output_options, score, scoring_options

from rbox_baselines.cli._common import set_up_output
from rbox_baselines.cli.predict import VIEWS, load_detector, model_options, run_detector


@click.command()
@dataset_options()
@class_names_option
@click.option("--predictions", "predictions_path", type=Path, required=True, help="The predictions file.")
@click.option(
    "--checkpoint", type=Path, help="Predicts with it first; the predictions file is written, or gone on with."
)
@click.option(
    "--leave-out",
    "left_out",
    multiple=True,
    help="A class of the annotations that the detector does not know, whose objects are passed over; more than one may "
    "be given.",
)
@model_options
@scoring_options
@output_options
@pixels_options
@writes("out", "plots", lambda given: [given["predictions_path"]] if given["checkpoint"] else [])
def evaluate(
    data: Path,
    format: str,
    split: str | None,
    class_names: tuple[str, ...] | None,
    predictions_path: Path,
    checkpoint: Path | None,
    left_out: tuple[str, ...],
    out: tuple[Path, ...],
    plots: Path | None,
    **options: Any,
) -> None:
    """Score a detector against a dataset's annotations, as LMMRotate scores its baselines.

    By MMRotate's protocol first; then with all scores above each threshold taken as one: the best mAP_nc and the best
    F1, and at which thresholds. All images of the dataset count. A detector looks at those whose file is there; what is
    on the others is missed, and how many they are is said (--only-with-images leaves them out).
    """
    check_outputs(out, pictures=plots)
    set_up_output()
    from rbox_formats import datasets, predictions

    from rbox_baselines._parts import _sources

    settings = {name: options.pop(name) for name in (*VIEWS, "config", "batch_size", "device")}
    detector = None if checkpoint is None else load_detector(checkpoint, settings)
    names = class_names or (detector or predictions.read(predictions_path)).class_names
    truth = _sources.read(format, data, split, names, left_out)
    if detector is not None:
        # Reading all annotations first shows whether their classes are the detector's.
        paths = [record.file for record in datasets.with_images(truth)]
        description = {"format": format, "data": str(data), "split": split}
        run_detector(detector, settings, paths, predictions_path, dataset=description)
    score(truth, predictions_path, out=out, plots=plots, **options)
