"""`rbox-metrics evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rbox_formats.cli import show_messages, writes
from rbox_formats.errors import listed

from rbox_metrics.cli._scoring import (
    annotations_for,
    check_outputs,
    open_truth,
    output_options,
    predictions_options,
    read_mapping,
    score,
    scoring_options,
    truth_options,
)

if TYPE_CHECKING:
    from rbox_formats import ClassNames


@click.command()
@truth_options
@predictions_options
@scoring_options
@output_options
@click.option(
    "--dota-submission",
    type=Path,
    help="A zip of the detections for DOTA's server, which asks for a file of every class: those of classes without "
    "detections are empty, and named. DOTA's kit stops at such a class, whether its file is empty or missing.",
)
@click.option("--fair1m-submission", type=Path, help="A zip of the detections for FAIR1M's server.")
@writes("out", "plots", "dota_submission", "fair1m_submission")
def evaluate(
    truth: Path,
    format: str,
    split: str | None,
    class_names: ClassNames | None,
    only_labelled: bool,
    predictions_path: Path,
    predictions_format: str | None,
    class_mapping: Path | None,
    annotations: Path | None,
    dota_submission: Path | None,
    fair1m_submission: Path | None,
    **options: Any,
) -> None:
    """Score detections against a dataset's annotations.

    Average precision by the protocol, mAP_nc for detectors without confidences, F1, the sweep over score thresholds,
    what goes wrong and what it costs, calibration.
    """
    from rbox_metrics import write_dota_submission, write_fair1m_submission

    show_messages("rbox_metrics", "rbox_formats")
    check_outputs(
        options["out"],
        class_mapping,
        predictions_path,
        archives=(dota_submission, fair1m_submission),
        pictures=options["plots"],
    )
    annotated = open_truth(truth, format, split, class_names, predictions_path, class_mapping, only_labelled)
    detections = score(
        annotated,
        predictions_path,
        format=predictions_format,
        class_mapping=read_mapping(class_mapping),
        annotations=annotations_for(annotations, truth, format, split, predictions_path, predictions_format),
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
