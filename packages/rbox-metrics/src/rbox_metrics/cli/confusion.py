"""`rbox-metrics confusion`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rbox_formats.cli import writes

from rbox_metrics.cli._scoring import check_outputs, table_options
from rbox_metrics.cli._tables import open_runs, out_option, put
from rbox_metrics.typing import Geometry, ProtocolName


@click.command()
@table_options
@click.option("--score", type=float, help="Detections from this score on count. [default: all]")
@out_option
@writes("out")
def confusion(
    predictions_path: Path,
    protocol: ProtocolName,
    geometry: Geometry | None,
    iou_threshold: float,
    score: float | None,
    out: tuple[Path, ...],
    **inputs: Any,
) -> None:
    """Which class was taken for which, and for the background: a row for each true class."""
    from rbox_metrics import confusion_matrix
    from rbox_metrics._reports import confusion_rows, numbered

    check_outputs(out, predictions_path, inputs["class_mapping"])
    records, (detections,), class_names, counted = open_runs(
        predictions_path, command="confusion", protocol=protocol, geometry=geometry, **inputs
    )
    found = confusion_matrix(
        records,
        detections,
        class_names,
        iou_threshold=iou_threshold,
        score_threshold=score,
        protocol=protocol,
        geometry=geometry,
    )
    title = f"IoU {iou_threshold:g}" + ("" if score is None else f", scores from {score:g}")
    table = confusion_rows(found)
    put(title, *table, {**counted, **found.to_dict()}, out, narrow=numbered(*table))
