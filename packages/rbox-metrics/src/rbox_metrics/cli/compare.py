"""`rbox-metrics compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rbox_formats.cli import PATH, command, option, writes

from rbox_metrics.cli._scoring import check_outputs, table_options
from rbox_metrics.cli._tables import open_runs, out_option, put, run_names
from rbox_metrics.typing import Geometry, ProtocolName


@command(
    "rbox-metrics compare --data DOTA --split val --predictions a.jsonl --other b.jsonl",
)
@table_options
@option(
    "--other",
    type=PATH,
    required=True,
    help="The predictions to compare with, of the same format.",
    group="Predictions",
)
@option("--resamples", type=int, default=1000, help="How often images are resampled.", group="Scoring")
@option("--seed", type=int, default=0, help="Random seed for resampling.", group="Scoring")
@out_option
@writes("out")
def compare(
    predictions_path: Path,
    other: Path,
    protocol: ProtocolName,
    geometry: Geometry | None,
    iou_threshold: float,
    resamples: int,
    seed: int,
    out: tuple[Path, ...],
    **inputs: Any,
) -> None:
    """Test whether other predictions are better by more than chance.

    Intervals of the difference are bootstrapped over images; p-values are of a paired permutation test.
    """
    from rbox_metrics import compare as compared

    check_outputs(out, predictions_path, other, *inputs["mapping"].files)
    records, (first, second), class_names, counted = open_runs(
        predictions_path, other, command="compare", protocol=protocol, geometry=geometry, **inputs
    )
    found = compared(
        records,
        first,
        second,
        class_names,
        iou_thresholds=(iou_threshold,),
        resamples=resamples,
        seed=seed,
        protocol=protocol,
        geometry=geometry,
    )
    body: list[list[str | float]] = [
        [
            name,
            *(item.a, item.b, item.difference, item.low, item.high),
            "-" if item.p_value != item.p_value else f"{item.p_value:.4f}",
        ]
        for name, item in (*found.figures.items(), *((f"AP {name}", item) for name, item in found.classes.items()))
        if item.a == item.a  # classes without truth have nothing to compare
    ]
    share = f"{100 * found.confidence:g} %"
    header = ["figure", *run_names([predictions_path, other]), "difference", f"{share} from", "to", "p"]
    put(f"IoU {iou_threshold:g}, percent", header, body, {**counted, **found.to_dict()}, out)
