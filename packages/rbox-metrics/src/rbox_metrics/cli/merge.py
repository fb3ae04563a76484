"""`rbox-metrics merge`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rbox_formats import files
from rbox_formats.cli import PATH, command, option, show_messages, split_option, writes
from rbox_formats.errors import counted

from rbox_metrics.cli._scoring import annotations_option, class_names_of_files, convention_option, format_of_files

if TYPE_CHECKING:
    from rbox_formats import ClassNames


@command(
    "rbox-metrics merge --predictions windows.jsonl --out predictions.jsonl",
    "rbox-metrics merge --predictions Task1 --window 1024 --out merged.zip",
)
@option(
    "--predictions",
    "predictions_path",
    type=PATH,
    required=True,
    help="Predictions on windows: predictions.jsonl, a folder of its parts, the same as Parquet, DOTA's Task1 files or "
    "FAIR1M's XML (a file, a folder or a zip), COCO results, or a dataset.",
    group="Predictions",
)
@format_of_files
@split_option
@class_names_of_files
@annotations_option("of the windows")
@convention_option
@option(
    "--iou",
    "iou_threshold",
    type=float,
    default=0.1,
    help="Of two predictions with a larger IoU only the better one is kept.",
    group="Scoring",
)
@option(
    "--window",
    "window_size",
    type=int,
    old="--window-size",
    help="The side of the windows in pixels: for windows that were resized, the side that they have now; for windows "
    "of DOTA's kit, the side that they were cut with. [default: not resized; 1024 for DOTA's kit]",
    group="Windows and images",
)
@option(
    "--out",
    type=PATH,
    required=True,
    help="The predictions on images: predictions.jsonl, the same as Parquet (.parquet), or a zip of Task1 files.",
    group="Output",
)
@writes("out")
def merge(
    predictions_path: Path,
    predictions_format: str | None,
    split: str | None,
    class_names: ClassNames | None,
    annotations: Path | None,
    convention: str | None,
    out: Path,
    iou_threshold: float,
    window_size: int | None,
) -> None:
    """Merge predictions on windows into predictions on images.

    The names of the windows say where they lie: those of `rbox-formats split`, MMRotate and Ultralytics have the
    window's size (P0706__1024__0___824), those of DOTA's kit have the scale (P0706__0.5__0___824).
    """
    from rbox_formats import predictions

    from rbox_metrics._evaluation import merge_file

    show_messages("rbox_metrics", "rbox_formats")
    files.not_an_input(out, *predictions.parts(predictions_path), annotations)
    files.require_writable_file(out)
    count = merge_file(
        predictions_path,
        out,
        iou_threshold=iou_threshold,
        window_size=window_size,
        format=predictions_format,
        split=split,
        class_names=class_names,
        annotations=annotations,
        convention=convention,
    )
    click.echo(f"The detections on {counted(count, 'image')} are in {out}.")
