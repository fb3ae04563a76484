"""What commands that score detections share: their options, and how they show the report."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rbox_formats import ClassNames, Dataset
from rbox_formats.cli import only_labelled_option, parse_class_names

from rbox_metrics.cli._compiling import say_if_compiling
from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import Geometry, ProtocolName

if TYPE_CHECKING:
    from rbox_metrics._reports import Report
else:
    Report = Any  # numba loads with it, and `--help` answers at once

Command = Callable[..., Any]

# As `rbox_metrics._inputs.predictions.ANGLES` has them, without waiting for numpy: a test holds the two together.
_ANGLES = ("degrees-counter-clockwise", "degrees-clockwise", "radians-counter-clockwise", "radians-clockwise")


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
    only_labelled_option,
    click.option(
        "--count-difficult",
        is_flag=True,
        help="Counts difficult objects like any other. [default: they are not to be found, and what lies on them is "
        "neither right nor wrong]",
    ),
    click.option(
        "--class-names",
        callback=lambda _context, _option, value: None if value is None else parse_class_names(value),
        help="The dataset's classes: a comma-separated list, a file with one name per line, or a dataset format that "
        "has a list. [default: those of a predictions.jsonl, unless a mapping is given; else those of --format]",
    ),
)

only_with_images_option = click.option(
    "--only-with-images",
    is_flag=True,
    help="Leaves out images of the ground truth whose file is not there. [default: all count, and what is on images "
    "without a file is missed]",
)

convention_option = click.option(
    "--convention",
    type=click.Choice(list(_ANGLES)),
    help="How COCO results give the angles of their boxes. [default: degrees-counter-clockwise, as a COCO truth; "
    "MMRotate writes radians-clockwise, and where they may be such that is asked for]",
)

format_of_files = click.option(
    "--predictions-format", help="What they are, where that cannot be told: a dataset format, for instance."
)

class_names_of_files = click.option(
    "--class-names",
    callback=lambda _context, _option, value: None if value is None else parse_class_names(value),
    help="The detector's classes: a comma-separated list, a file with one name per line, or a dataset format that has "
    "a list. [default: those that the file names]",
)

predictions_options = add_options(
    click.option(
        "--predictions",
        "predictions_path",
        type=Path,
        required=True,
        help="The detections: predictions.jsonl, DOTA's Task1 files or FAIR1M's XML (a folder or a zip), COCO results, "
        "the folder of Ultralytics' predict save_txt save_conf, or a dataset.",
    ),
    format_of_files,
    click.option("--annotations", type=Path, help="The COCO file whose numbers COCO results use."),
    convention_option,
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

# Of a table at one overlap.
table_options = add_options(
    truth_options, only_with_images_option, predictions_options, protocol_option, geometry_option, iou_option
)

scoring_options = add_options(
    only_with_images_option,
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
    only_labelled: bool = False,
) -> Dataset:
    """The dataset, with the classes asked for; else, without a mapping, those that a predictions.jsonl names.

    All of it is read: what is wrong with it is said before any work, and nothing is read twice.
    """
    from rbox_formats import Dataset, datasets, predictions
    from rbox_formats.errors import DatasetError
    from rbox_formats.progress import track

    borrowed = class_names is None and class_mapping is None and predictions_path.suffix == ".jsonl"
    if borrowed:
        class_names = predictions.read(predictions_path).class_names
    found = datasets.read(format, truth, split, class_names)
    if only_labelled:
        found = found.labelled()
    try:
        records = list(track(found, "reading annotations"))
    except DatasetError as error:
        if borrowed and "expected a class among" in str(error):
            raise MetricsError(
                f"expected a dataset with the classes of the predictions, got others: {str(error).splitlines()[0]}",
                path=predictions_path,
                remedy="Name the dataset's own classes (--class-names), and where the detector's go (--class-mapping).",
            ) from error
        raise
    return Dataset(found.class_names, records)


def annotations_for(
    annotations: Path | None, truth: Path, format: str, split: str | None, predictions_path: Path, kind: str | None
) -> Path | None:
    """The COCO file that says what the numbers in COCO results mean: the one named, or the truth's own."""
    from rbox_formats.datasets import coco

    from rbox_metrics._inputs.predictions import kind_of

    if annotations is not None or format not in ("coco", "coco-rotated") or not predictions_path.exists():
        return annotations
    return coco.file_of(truth, split) if (kind or kind_of(predictions_path)) == "coco-results" else None


def check_outputs(
    out: tuple[Path, ...], *inputs: Path | None, archives: tuple[Path | None, ...] = (), pictures: Path | None = None
) -> None:
    """Refuses, before any work, what could not be written at its end.

    Args:
        out: Files for a table or a report.
        inputs: What is read.
        archives: Other files, of any ending.
        pictures: A folder for pictures.
    """
    from rbox_formats import files

    for path in (*out, *filter(None, archives)):
        files.not_an_input(path, *inputs)
        if path in out and path.suffix.lower() not in (".json", ".md", ".csv"):
            raise click.BadParameter(f"expected a file ending in .json, .md or .csv, got {path}", param_hint="--out")
        files.require_writable_file(path)
    if pictures is not None:
        if pictures.exists() and not pictures.is_dir():
            raise MetricsError("expected a folder for pictures, got a file", path=pictures)
        files.require_writable(pictures)
        check_matplotlib()


def check_matplotlib() -> None:
    """Refuses, before any work, pictures that could not be drawn at its end."""
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise MetricsError("expected matplotlib for pictures, found none: pip install 'rbox-metrics[plot]'")


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
    """Scores a predictions file in full, writes the report where a file or a folder is named, and prints it.

    Args:
        truth: The dataset.
        predictions_path: The detections.
        out: Files for the report.
        plots: A folder for its pictures.
        iou_thresholds: As in `evaluate`; none: the protocol's.
        max_dets: As in `evaluate`; none: the protocol's.
        protocol: As in `evaluate`.
        geometry: As in `evaluate`.
        **reading: Which images count, and how the detections are read, as in `evaluate_file`.

    Returns:
        The detections.

    Raises:
        RboxError: If the inputs do not fit, or an output is one of them.
    """
    from rbox_metrics._evaluation import score_file

    check_outputs(out, predictions_path, pictures=plots)
    say_if_compiling("evaluate", protocol, geometry)
    report, detections = score_file(
        truth,
        predictions_path,
        protocol=protocol,
        geometry=geometry,
        iou_thresholds=iou_thresholds or None,
        max_dets=max_dets or None,
        full=True,
        **reading,
    )
    # Files first: whoever reads what is printed may stop before its end.
    for path in out:
        report.save(path)
    if plots:
        from rbox_metrics.plots import draw, worst_images

        draw({predictions_path.stem: report.to_dict()}, plots)
        worst_images(
            truth,
            detections,
            report.placement,
            plots / "worst-images.png",
            protocol=report.protocol,
            geometry=report.geometry,
        )
    show(report)
    for path in out:
        click.echo(f"The report is in {path}.")
    if plots:
        click.echo(f"The pictures are in {plots}.")
    return detections


def show(report: Report) -> None:
    """Prints a table of classes for each IoU threshold, up to three, and the figures besides."""
    from rich.console import Console

    from rbox_metrics._reports import error_rows
    from rbox_metrics.tables import simple_table

    console = Console()
    for at in report.at[:3]:
        console.print(report.table(at.iou_threshold))
    if report.errors:
        console.print(simple_table("errors, and the AP that each kind costs", *error_rows(report.errors)))
    for name, value in report.summary():
        console.print(f"{name}: {value}", highlight=False, markup=False)
