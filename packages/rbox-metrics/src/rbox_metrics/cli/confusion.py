"""`rbox-metrics confusion`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rbox_formats.cli import command, option, writes

from rbox_metrics.cli._scoring import check_outputs, table_options
from rbox_metrics.cli._tables import open_runs, out_option, put
from rbox_metrics.typing import Geometry, ProtocolName


@command(
    "rbox-metrics confusion --data DOTA --split val --predictions p.jsonl --out confusion.md",
)
@table_options
@option(
    "--score-threshold",
    type=float,
    old="--score",
    help="Leave out predictions of a lower score. [default: all count]",
    group="Scoring",
)
@out_option
@writes("out")
def confusion(
    predictions_path: Path,
    protocol: ProtocolName,
    geometry: Geometry | None,
    iou_threshold: float,
    score_threshold: float | None,
    out: tuple[Path, ...],
    **inputs: Any,
) -> None:
    """Count which class was predicted for which.

    A row for each true class; the last row and column are the background: false positives and missed objects.
    """
    from rbox_metrics import confusion_matrix
    from rbox_metrics._reports import confusion_rows, numbered

    check_outputs(out, predictions_path, *inputs["mapping"].files)
    records, (detections,), class_names, counted = open_runs(
        predictions_path, command="confusion", protocol=protocol, geometry=geometry, **inputs
    )
    found = confusion_matrix(
        records,
        detections,
        class_names,
        iou_threshold=iou_threshold,
        score_threshold=score_threshold,
        protocol=protocol,
        geometry=geometry,
    )
    title = f"IoU {iou_threshold:g}" + ("" if score_threshold is None else f", scores from {score_threshold:g}")
    table = confusion_rows(found)
    put(title, *table, {**counted, **found.to_dict()}, out, narrow=numbered(*table))
