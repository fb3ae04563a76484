"""`rbox-baselines evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rbox_formats.cli import PATH, class_names_option, command, dataset_options, option, pixels_options, writes
from rbox_metrics.cli import check_outputs, output_options, score, scoring_options

from rbox_baselines.cli._common import set_up_output
from rbox_baselines.cli.predict import VIEWS, load_detector, model_options, run_detector


@command(
    "rbox-baselines evaluate --data DOTA --split val --predictions val.jsonl --out report.json",
    "rbox-baselines evaluate --data DOTA --split val --model epoch_12.pth --predictions val.jsonl",
)
@dataset_options()
@class_names_option
@option(
    "--drop",
    multiple=True,
    metavar="NAME",
    old="--leave-out",
    help="Leave out the objects of a class of the dataset, which the detector does not know. Repeat it for more.",
    group="Dataset",
)
@option(
    "--predictions",
    "predictions_path",
    type=PATH,
    required=True,
    help="The predictions file; with --model it is written, or resumed.",
    group="Predictions",
)
@option("--model", type=PATH, old="--checkpoint", help="A checkpoint to predict with first.", group="Model")
@model_options
@scoring_options
@output_options
@pixels_options
@writes("out", "plots", lambda given: [given["predictions_path"]] if given["model"] else [])
def evaluate(
    data: Path,
    format: str,
    split: str | None,
    class_names: tuple[str, ...] | None,
    predictions_path: Path,
    model: Path | None,
    drop: tuple[str, ...],
    out: tuple[Path, ...],
    plots: Path | None,
    **options: Any,
) -> None:
    """Score a detector, or predictions, against a dataset's annotations.

    The report has the scores that LMMRotate reports for its baselines: average precision by --protocol, and the best
    mAP_nc and F1 over all score thresholds, with these thresholds.

    All images of the dataset count. A detector predicts on those whose file is there. Objects on the others are missed,
    and the report says how many images that are (--only-with-images leaves them out).
    """
    check_outputs(out, pictures=plots)
    set_up_output()
    from rbox_formats import datasets, predictions

    from rbox_baselines._parts import _sources

    settings = {name: options.pop(name) for name in (*VIEWS, "config", "batch_size", "device")}
    detector = None if model is None else load_detector(model, settings)
    names = class_names or (detector or predictions.read(predictions_path)).class_names
    truth = _sources.read(format, data, split, names, drop)
    if detector is not None:
        # Reading all annotations first shows whether their classes are the detector's.
        paths = [record.file for record in datasets.with_images(truth)]
        description = {"format": format, "data": str(data), "split": split}
        run_detector(detector, settings, paths, predictions_path, dataset=description)
    score(truth, predictions_path, out=out, plots=plots, **options)
