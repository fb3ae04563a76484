"""Tables of a metric over many thresholds or classes: read, printed and written alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from rbox_formats import files
from rbox_formats.cli import PATH, MapOption, option, show_messages

from rbox_metrics.cli._compiling import Scoring, say_if_compiling
from rbox_metrics.cli._scoring import annotations_for, class_map_of, open_truth

if TYPE_CHECKING:
    from rbox_formats import ClassNames, Dataset, ImageRecord

    from rbox_metrics.tables import Cell
    from rbox_metrics.typing import Geometry, ProtocolName

out_option = option(
    "--out",
    type=PATH,
    multiple=True,
    help="A file for the table: .json, .md (Markdown) or .csv. Repeat it for more.",
    group="Output",
)


class Runs(NamedTuple):
    """What the runs of a table are scored on.

    Attributes:
        truth: The images that count.
        detections: Those of each run on them.
        class_names: What all labels index.
        counted: Which images count, for the table's JSON, under the names that a report has for it.
    """

    truth: list[ImageRecord]
    detections: list[Dataset]
    class_names: ClassNames
    counted: dict[str, Any]


def open_runs(
    *paths: Path,
    command: Scoring,
    protocol: ProtocolName,
    geometry: Geometry | None,
    data: Path,
    format: str,
    split: str | None,
    only_with_images: bool,
    only_labelled: bool,
    count_difficult: bool,
    class_names: ClassNames | None,
    predictions_format: str | None,
    annotations: Path | None,
    convention: str | None,
    mapping: MapOption,
    drop: tuple[str, ...],
) -> Runs:
    """Reads the ground truth and the detections of each run, as `evaluate_file` does."""
    from rbox_metrics._evaluation import load_pair

    show_messages("rbox_metrics", "rbox_formats")
    say_if_compiling(command, protocol, geometry)
    class_map = class_map_of(mapping, drop)
    annotated, counting = open_truth(data, format, split, class_names, paths[0], class_map, only_labelled)
    pairs = [
        load_pair(
            annotated,
            path,
            format=predictions_format,
            class_mapping=class_map,
            annotations=annotations_for(annotations, data, format, split, path, predictions_format),
            convention=convention,
            only_with_images=only_with_images,
            images=counting,
            count_difficult=count_difficult,
        )
        for path in paths
    ]
    first = pairs[0]
    counted = {
        "images": len(first.truth),
        "only_with_images": only_with_images,
        "images_left_out": first.left_out,
    }
    return Runs(first.truth, [pair.detections for pair in pairs], annotated.class_names, counted)


def run_names(paths: Sequence[Path]) -> list[str]:
    """What to call runs: by their files' names, with as many folders as tell them apart."""
    longest = max(len(path.parts) for path in paths)
    for count in range(1, longest + 1):
        names = ["/".join((*path.parent.parts, path.stem)[-count:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({number})" for number, name in enumerate(map(str, paths), start=1)]


def put(
    title: str,
    header: Sequence[str],
    body: Sequence[Sequence[Cell]],
    values: dict[str, Any],
    out: tuple[Path, ...],
    *,
    narrow: tuple[Sequence[str], Sequence[Sequence[Cell]]] | None = None,
) -> None:
    """Writes a table, or all values as JSON, to each file, and prints it, or another in its stead that is narrower."""
    import json

    from rich.console import Console

    from rbox_metrics import tables
    from rbox_metrics._plain import plain

    for path in out:
        ending = path.suffix.lower()
        if ending == ".json":
            text = json.dumps(plain(values), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        elif ending == ".md":
            text = f"## {title}\n\n{tables.markdown_table(header, body)}"
        else:
            text = tables.csv_table(header, body)
        files.write_text(path, text)
    Console().print(tables.simple_table(title, *(narrow or (header, body))))
    for path in out:
        click.echo(f"The table is in {path}.")
