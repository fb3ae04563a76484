"""`rbox-metrics merge`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rbox_formats import files
from rbox_formats.cli import show_messages, writes

from rbox_metrics.cli._scoring import class_names_of_files, convention_option, format_of_files

if TYPE_CHECKING:
    from rbox_formats import ClassNames


@click.command()
@click.option(
    "--predictions",
    "predictions_path",
    type=Path,
    required=True,
    help="Detections on windows: predictions.jsonl, DOTA's Task1 files or FAIR1M's XML (a file, a folder or a zip), "
    "COCO results, or a dataset.",
)
@format_of_files
@click.option("--split", help="The part of a dataset, where it has parts.")
@class_names_of_files
@click.option("--annotations", type=Path, help="The COCO file of the windows, whose numbers COCO results use.")
@convention_option
@click.option(
    "--out", type=Path, required=True, help="The detections on the images: predictions.jsonl, or a zip of Task1 files."
)
@click.option("--iou", "iou_threshold", type=float, default=0.1, show_default=True, help="More overlap is a duplicate.")
@click.option(
    "--window-size",
    type=int,
    help="The side that windows were resized to, where they were; of DOTA's kit's windows, which are not, the side "
    "that they have. [default: as cut; 1024]",
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
    """Join detections on windows, whose names place them, to detections on the images.

    Names are those of `rbox-formats split`, MMRotate and Ultralytics, with the window's size (P0706__1024__0___824), or
    those of DOTA's kit, with the scale (P0706__0.5__0___824).
    """
    from rbox_metrics._evaluation import merge_file

    show_messages("rbox_metrics", "rbox_formats")
    files.not_an_input(out, predictions_path, annotations)
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
    click.echo(f"The detections on {count} images are in {out}.")
