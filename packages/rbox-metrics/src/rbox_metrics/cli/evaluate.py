"""`rbox-metrics evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rbox_formats.cli import PATH, MapOption, command, option, show_messages, writes
from rbox_formats.errors import listed

from rbox_metrics.cli._scoring import (
    annotations_for,
    check_outputs,
    class_map_of,
    open_truth,
    output_options,
    predictions_of_parts_option,
    reading_options,
    score,
    scoring_options,
    truth_options,
)

if TYPE_CHECKING:
    from rbox_formats import ClassNames


@command(
    "rbox-metrics evaluate --data DOTA --split val --predictions predictions.jsonl",
    "rbox-metrics evaluate --data DOTA --split val --predictions Task1 --out report.json --plots charts",
    "rbox-metrics evaluate --data DOTA --predictions results.json --map boat=ship --drop helipad",
)
@truth_options
@predictions_of_parts_option
@reading_options
@scoring_options
@output_options
@option(
    "--dota-submission",
    type=PATH,
    help="A zip of the predictions for DOTA's server, which needs a file for every class. The files of classes without "
    "predictions are empty, and the command lists them. DOTA's own kit stops at such a class.",
    group="Output",
)
@option("--fair1m-submission", type=PATH, help="A zip of the predictions for FAIR1M's server.", group="Output")
@writes("out", "plots", "dota_submission", "fair1m_submission")
def evaluate(
    data: Path,
    format: str,
    split: str | None,
    class_names: ClassNames | None,
    only_labelled: bool,
    predictions_paths: tuple[Path, ...],
    predictions_format: str | None,
    mapping: MapOption,
    drop: tuple[str, ...],
    annotations: Path | None,
    dota_submission: Path | None,
    fair1m_submission: Path | None,
    **options: Any,
) -> None:
    """Score predictions against a dataset's annotations.

    The report has average precision by the protocol, mAP_nc for detectors without scores, F1, the sweep over score
    thresholds, kinds of errors and what each costs, and calibration.
    """
    from rbox_metrics import write_dota_submission, write_fair1m_submission

    show_messages("rbox_metrics", "rbox_formats")
    check_outputs(
        options["out"],
        *predictions_paths,
        *mapping.files,
        archives=(dota_submission, fair1m_submission),
        pictures=options["plots"],
    )
    class_map = class_map_of(mapping, drop)
    annotated, counting = open_truth(data, format, split, class_names, predictions_paths, class_map, only_labelled)
    detections = score(
        annotated,
        predictions_paths,
        format=predictions_format,
        class_mapping=class_map,
        annotations=annotations_for(annotations, data, format, split, predictions_paths, predictions_format),
        images=counting,
        **options,
    )
    for path, write in ((dota_submission, write_dota_submission), (fair1m_submission, write_fair1m_submission)):
        if path:
            write(path, detections, annotated.class_names)
            click.echo(f"The submission is in {path}.")
    if dota_submission:
        found = {label for record in detections for label in record.labels.tolist()}
        if without := [name for label, name in enumerate(annotated.class_names) if label not in found]:
            click.echo(f"Classes without detections, whose files are empty: {listed(without)}.")
