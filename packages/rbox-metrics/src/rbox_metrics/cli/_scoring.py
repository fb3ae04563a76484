"""What commands that score detections share: their options, and how they show the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rbox_formats import ClassNames, Dataset
from rbox_formats.cli import (
    PATH,
    Known,
    MapOption,
    class_map_options,
    data_option,
    format_option,
    named_classes_option,
    only_labelled_option,
    only_with_images_option,
    option,
    options,
    read_class_map,
    split_option,
)

from rbox_metrics.cli._compiling import say_if_compiling
from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import Geometry, ProtocolName

if TYPE_CHECKING:
    from rbox_metrics._reports import Report
else:
    Report = Any  # numba loads with it, and `--help` answers at once

# As `rbox_metrics._inputs.predictions.ANGLES` has them, without waiting for numpy: a test holds the two together.
_ANGLES = ("degrees-counter-clockwise", "degrees-clockwise", "radians-counter-clockwise", "radians-clockwise")


truth_options = options(
    data_option(old="--truth"),
    format_option,
    split_option,
    only_labelled_option,
    option(
        "--count-difficult",
        is_flag=True,
        help="Count difficult objects like all others. [default: a detector need not find them, and detections on them "
        "are neither right nor wrong]",
        group="Dataset",
    ),
    named_classes_option(
        "The dataset's classes: NAMES that has a list. [default: those of a predictions.jsonl, unless --map or --drop "
        "is given; otherwise those of --format]"
    ),
)

convention_option = option(
    "--convention",
    type=click.Choice(list(_ANGLES)),
    help="The angles of the boxes in COCO results. [default: degrees-counter-clockwise, as in COCO ground truth. "
    "MMRotate writes radians-clockwise: if the boxes may be such, the option is required]",
    group="Predictions",
)


def _kinds() -> list[str]:
    from rbox_formats import datasets

    from rbox_metrics._inputs.predictions import KINDS

    return [*KINDS, *(name for name, entry in datasets.FORMATS.items() if entry.read)]


format_of_files = option(
    "--predictions-format",
    type=Known("kind of predictions", _kinds),
    metavar="FORMAT",
    help="The format of the predictions, which may be a dataset format. [default: found from the content]",
    group="Predictions",
)

class_names_of_files = named_classes_option(
    "The detector's classes: NAMES that has a list. [default: those that the file names]", group="Predictions"
)


def annotations_option(which: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add `--annotations`.

    Args:
        which: Says which images the file lists.
    """
    return option(
        "--annotations",
        type=PATH,
        help=f"The COCO file {which}, whose image and category numbers COCO results use.",
        group="Predictions",
    )


_PREDICTIONS = (
    "The predictions: predictions.jsonl, a folder of its parts, the same as Parquet, DOTA's Task1 files or FAIR1M's "
    "XML (a folder or a zip), COCO results, the folder of Ultralytics' predict save_txt save_conf, or a dataset."
)

predictions_option = option(
    "--predictions", "predictions_path", type=PATH, required=True, help=_PREDICTIONS, group="Predictions"
)

# Of one run, in one file or many.
predictions_of_parts_option = option(
    "--predictions",
    "predictions_paths",
    type=PATH,
    required=True,
    multiple=True,
    help=f"{_PREDICTIONS} Repeat it for the parts of one run.",
    group="Predictions",
)

reading_options = options(
    format_of_files,
    annotations_option("of the ground truth"),
    convention_option,
    class_map_options("the detector", old="--class-mapping"),
)

protocol_option = option(
    "--protocol",
    type=click.Choice(["voc07", "voc", "dota", "coco", "fair1m"]),
    default="voc07",
    help="How average precision (AP) is computed. voc07: at 11 recall levels, MMRotate's default; voc: as the area "
    "under the curve, as in MMRotate; dota: at 11 recall levels on quads, as in DOTA's kit; coco: at 101 recall levels "
    "and 10 IoUs; fair1m: as LMMRotate scores FAIR1M.",
    group="Scoring",
)

geometry_option = option(
    "--geometry",
    type=click.Choice(["rbox", "quad", "mask", "boundary"]),
    help="Compare rotated boxes, quads as annotated, masks, or masks and their boundaries. [default: quad for dota, "
    "otherwise rbox]",
    group="Scoring",
)

iou_option = option(
    "--iou",
    "iou_threshold",
    type=float,
    default=0.5,
    help="The IoU that a prediction needs to match an object.",
    group="Scoring",
)

# Of a table at one overlap.
table_options = options(
    truth_options,
    only_with_images_option,
    predictions_option,
    reading_options,
    protocol_option,
    geometry_option,
    iou_option,
)

scoring_options = options(
    only_with_images_option,
    protocol_option,
    geometry_option,
    option(
        "--iou",
        "iou_thresholds",
        type=float,
        multiple=True,
        help="The IoU that a prediction needs to match an object. Repeat it for more. [default: 0.5; for coco 0.5 to "
        "0.95]",
        group="Scoring",
    ),
    option(
        "--max-dets",
        type=int,
        multiple=True,
        help="For coco: the most predictions of a class that count on an image. Repeat it for more. [default: 100, "
        "300, 1000]",
        group="Scoring",
    ),
)

report_option = option(
    "--out",
    type=PATH,
    multiple=True,
    help="A file for the report: .json, .md (Markdown) or .csv. Repeat it for more.",
    group="Output",
)

plots_option = option(
    "--plots", type=PATH, help="A folder for the report's charts, and its worst images.", group="Output"
)

output_options = options(report_option, plots_option)


def class_map_of(mapping: MapOption, drop: tuple[str, ...]) -> dict[str, str | None] | None:
    """Return the dataset's class for each of the detector's that `--map` and `--drop` name, None where it is dropped.

    Raises:
        MetricsError: If a file is not as expected, or one class gets two new names.
    """
    return read_class_map(mapping, drop, MetricsError)


def open_truth(
    data: Path,
    format: str,
    split: str | None,
    class_names: ClassNames | None,
    predictions_path: Path | Sequence[Path],
    mapping: dict[str, str | None] | None,
    only_labelled: bool = False,
) -> tuple[Dataset, list[str] | None]:
    """The dataset, with the classes asked for; else, without a mapping, those that predictions of ours name.

    All of it is read: what is wrong with it is said before any work, and nothing is read twice.

    Returns:
        The dataset, and the ids of its images with an annotation file if only these count, else None.
    """
    from rbox_formats import Dataset, datasets, predictions
    from rbox_formats.errors import DatasetError
    from rbox_formats.progress import track

    from rbox_metrics._inputs.predictions import paths_of

    paths = paths_of(predictions_path)
    borrowed = class_names is None and mapping is None and _is_ours(paths)
    if borrowed:
        class_names = predictions.stream(paths).header.class_names
    found = datasets.read(format, data, split, class_names)
    try:
        records = list(track(found, "reading annotations"))
    except DatasetError as error:
        if borrowed and "expected a class among" in str(error):
            raise MetricsError(
                f"expected a dataset with the classes of the predictions, got others: {str(error).splitlines()[0]}",
                path=paths[0],
                remedy="Name the dataset's own classes (--class-names), and rename the detector's (--map).",
            ) from error
        raise
    counting = None
    if only_labelled:
        without = set(found.unmatched.images) if found.unmatched.as_empty else ()
        pairs = zip(found.sources, records, strict=True)
        counting = [record.image_id for source, record in pairs if not without or source not in without]
    return Dataset(found.class_names, records), counting


def _is_ours(paths: Sequence[Path]) -> bool:
    """Whether predictions have a header with class names."""
    from rbox_formats import predictions

    from rbox_metrics._inputs.predictions import kind_of

    parts = predictions.parts(paths)
    named = bool(parts) and all(part.suffix.lower() in predictions.SUFFIXES for part in parts)
    # In a folder there may be files beside those of another kind.
    return named and all(kind_of(path) == "predictions" for path in paths if path.is_dir())


def annotations_for(
    annotations: Path | None,
    data: Path,
    format: str,
    split: str | None,
    predictions_path: Path | Sequence[Path],
    kind: str | None,
) -> Path | None:
    """The COCO file that says what the numbers in COCO results mean: the one named, or the truth's own."""
    from rbox_formats.datasets import coco

    from rbox_metrics._inputs.predictions import kind_of, paths_of

    first = paths_of(predictions_path)[0]
    if annotations is not None or format not in ("coco", "coco-rotated") or not first.exists():
        return annotations
    return coco.file_of(data, split) if (kind or kind_of(first)) == "coco-results" else None


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
    predictions_path: Path | Sequence[Path],
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
        predictions_path: The detections; of several part files, all.
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
    from rbox_metrics._inputs.predictions import paths_of

    paths = paths_of(predictions_path)
    check_outputs(out, *paths, pictures=plots)
    say_if_compiling("evaluate", protocol, geometry)
    report, detections = score_file(
        truth,
        paths,
        protocol=protocol,
        geometry=geometry,
        iou_thresholds=iou_thresholds or None,
        max_dets=max_dets or None,
        full=True,
        **reading,
    )
    # Files first: the reader of what is printed may stop before its end.
    for path in out:
        report.save(path)
    if plots:
        from rbox_metrics.plots import draw, worst_images

        draw({paths[0].stem: report.to_dict()}, plots)
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
    """Prints a table of classes for each IoU threshold, up to three, and the other metrics."""
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
