"""What commands that score detections share: their options, and how they show the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rbox_formats import files
from rbox_formats.cli import parse_class_names

if TYPE_CHECKING:
    from rbox_formats import ClassNames, Dataset

    from rbox_metrics._report import Report
    from rbox_metrics._typing import Geometry, ProtocolName

Command = Callable[..., Any]


def add_options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """One decorator for several options, listed in the help in the order given."""

    def add(function: Command) -> Command:
        for option in reversed(options):
            function = option(function)
        return function

    return add


truth_options = add_options(
    click.option("--truth", type=Path, required=True, help="The annotated dataset's folder."),
    click.option("--format", default="dota", show_default=True, help="The dataset's format."),
    click.option("--split", help="The part of the dataset, where it has parts, such as 'val'."),
    click.option(
        "--class-names",
        callback=lambda _context, _option, value: None if value is None else parse_class_names(value),
        help="The dataset's classes: a comma-separated list, a file with one name per line, or a dataset format that "
        "has a list. [default: those of a predictions.jsonl, unless a mapping is given; else those of --format]",
    ),
)

predictions_options = add_options(
    click.option(
        "--predictions",
        "predictions_path",
        type=Path,
        required=True,
        help="The detections: predictions.jsonl, DOTA's Task1 files or FAIR1M's XML (a folder or a zip), COCO results, "
        "or a dataset.",
    ),
    click.option(
        "--predictions-format", help="What they are, where that cannot be told: a dataset format, for instance."
    ),
    click.option("--annotations", type=Path, help="The COCO file whose numbers COCO results use."),
    click.option(
        "--class-mapping",
        type=Path,
        help='A JSON file that leads the detector\'s classes to the dataset\'s: {"van": "vehicle", "helipad": null}.',
    ),
)

protocol_option = click.option(
    "--protocol",
    type=click.Choice(["voc07", "voc", "dota", "coco", "fair1m"]),
    default="voc07",
    show_default=True,
    help="Whose average precision: MMRotate's by eleven points or as an area, DOTA's kit's, COCO's, FAIR1M's.",
)

geometry_option = click.option(
    "--geometry",
    type=click.Choice(["rbox", "quad"]),
    help="Compares boxes, or quads as annotated. [default: quad for dota, else rbox]",
)

iou_option = click.option(
    "--iou",
    "iou_threshold",
    type=float,
    default=0.5,
    show_default=True,
    help="The overlap that a detection needs.",
)

scoring_options = add_options(
    protocol_option,
    geometry_option,
    click.option(
        "--iou",
        "iou_thresholds",
        type=float,
        multiple=True,
        help="The overlap that a detection needs; more than one may be given. [default: 0.5; for coco 0.5 to 0.95]",
    ),
    click.option(
        "--max-dets",
        type=int,
        multiple=True,
        help="For coco: how many detections of a class count on an image. [default: 100, 300, 1000]",
    ),
)

output_options = add_options(
    click.option(
        "--out",
        type=Path,
        multiple=True,
        help="A file for the report, by its ending JSON, Markdown (.md) or CSV; more than one may be given.",
    ),
    click.option("--plots", type=Path, help="A folder for the report's pictures."),
)


def read_mapping(path: Path | None) -> dict[str, str | None] | None:
    """The class mapping in a file, if there is one."""
    if path is None:
        return None
    from rbox_metrics import read_class_mapping

    return read_class_mapping(path)


def open_truth(
    truth: Path,
    format: str,
    split: str | None,
    class_names: ClassNames | None,
    predictions_path: Path,
    class_mapping: Path | None,
) -> Dataset:
    """The dataset, with the classes asked for; else, without a mapping, those that a predictions.jsonl names."""
    from rbox_formats import datasets, predictions

    if class_names is None and class_mapping is None and predictions_path.suffix == ".jsonl":
        class_names = predictions.read(predictions_path).class_names
    return datasets.read(format, truth, split, class_names)


def check_outputs(out: tuple[Path, ...], *inputs: Path | None) -> None:
    """Refuses, before any work, files of no known kind and such as are read."""
    for path in out:
        files.not_an_input(path, *inputs)
        if path.suffix.lower() not in (".json", ".md", ".csv"):
            raise click.BadParameter(f"expected a file ending in .json, .md or .csv, got {path}", param_hint="--out")


def score(
    truth: Dataset,
    predictions_path: Path,
    *,
    out: tuple[Path, ...],
    plots: Path | None,
    iou_thresholds: tuple[float, ...],
    max_dets: tuple[int, ...],
    protocol: ProtocolName,
    geometry: Geometry | None,
    **reading: Any,
) -> Dataset:
    """Scores a predictions file in full, prints the report, and writes it where a file or a folder is named.

    Args:
        truth: The dataset.
        predictions_path: The detections.
        out: Files for the report.
        plots: A folder for its pictures.
        iou_thresholds: As in `evaluate`; none: the protocol's.
        max_dets: As in `evaluate`; none: the protocol's.
        protocol: As in `evaluate`.
        geometry: As in `evaluate`.
        **reading: How the detections are read, as in `load_pair`.

    Returns:
        The detections.

    Raises:
        RboxError: If the inputs do not fit, or an output is one of them.
    """
    from rbox_metrics import evaluate
    from rbox_metrics._files import load_pair

    check_outputs(out, predictions_path)
    records, detections = load_pair(truth, predictions_path, **reading)
    report = evaluate(
        records,
        detections,
        truth.class_names,
        protocol=protocol,
        geometry=geometry,
        iou_thresholds=iou_thresholds or None,
        max_dets=max_dets or None,
        full=True,
    )
    show(report)
    for path in out:
        report.save(path)
        click.echo(f"The report is in {path}.")
    if plots:
        from rbox_metrics.plots import draw, worst_images

        draw({predictions_path.stem: report.to_dict()}, plots)
        worst_images(truth, detections, report.placement, plots / "worst-images.png")
        click.echo(f"The pictures are in {plots}.")
    return detections


def show(report: Report) -> None:
    """Prints a table of classes for each IoU threshold, up to three, and the figures besides."""
    from rich.console import Console

    from rbox_metrics import _render

    console = Console()
    for at in report.at[:3]:
        console.print(report.table(at.iou_threshold))
    if report.errors:
        console.print(
            _render.simple_table("errors, and the AP that each kind costs", *_render.error_rows(report.errors))
        )
    for name, value in _render.summary(report):
        console.print(f"{name}: {value}", highlight=False)
