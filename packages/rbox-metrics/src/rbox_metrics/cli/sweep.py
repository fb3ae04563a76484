"""`rbox-metrics sweep`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rbox_formats.cli import command, option, writes

from rbox_metrics.cli._scoring import check_outputs, table_options
from rbox_metrics.cli._tables import open_runs, out_option, put
from rbox_metrics.typing import Geometry, ProtocolName


@command(
    "rbox-metrics sweep --data DOTA --split val --predictions p.jsonl --out sweep.csv",
    "rbox-metrics sweep --data DOTA --predictions p.jsonl --score-threshold 0.2 --score-threshold 0.4",
)
@table_options
@option(
    "--score-threshold",
    "thresholds",
    type=float,
    multiple=True,
    old="--score",
    help="A score threshold. Repeat it for more, in rising order. [default: 0 to 0.95]",
    group="Scoring",
)
@out_option
@writes("out")
def sweep(
    predictions_path: Path,
    protocol: ProtocolName,
    geometry: Geometry | None,
    iou_threshold: float,
    thresholds: tuple[float, ...],
    out: tuple[Path, ...],
    **inputs: Any,
) -> None:
    """Compute precision, recall, F1 and mAP_nc by score threshold."""
    from rbox_metrics import sweep_scores
    from rbox_metrics._reports import best_lines, sweep_rows
    from rbox_metrics._scores import GRID

    check_outputs(out, predictions_path, *inputs["mapping"].files)
    records, (detections,), class_names, counted = open_runs(
        predictions_path, command="sweep", protocol=protocol, geometry=geometry, **inputs
    )
    found = sweep_scores(
        records,
        detections,
        class_names,
        thresholds=thresholds or GRID,
        iou_threshold=iou_threshold,
        protocol=protocol,
        geometry=geometry,
    )
    put(f"IoU {iou_threshold:g}, percent", *sweep_rows(found), {**counted, **found.to_dict()}, out)
    for name, value in best_lines(found):
        click.echo(f"{name}: {value}")
