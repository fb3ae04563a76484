"""Tables of one figure over many thresholds or classes: opened, printed and written alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rbox_formats import files
from rbox_formats.cli import show_messages

from rbox_metrics.cli import open_truth, read_mapping

if TYPE_CHECKING:
    from rbox_formats import ClassNames, Dataset, ImageRecord

out_option = click.option(
    "--out",
    type=Path,
    multiple=True,
    help="A file for the table, by its ending JSON, Markdown (.md) or CSV; more than one may be given.",
)


def open_pair(
    truth: Path,
    format: str,
    split: str | None,
    class_names: ClassNames | None,
    predictions_path: Path,
    predictions_format: str | None,
    annotations: Path | None,
    class_mapping: Path | None,
) -> tuple[list[ImageRecord], Dataset, Dataset]:
    """The images that count, the detections on them, and the dataset whose classes both have."""
    from rbox_metrics._files import load_pair

    show_messages("rbox_metrics")
    annotated = open_truth(truth, format, split, class_names, predictions_path, class_mapping)
    records, detections = load_pair(
        annotated,
        predictions_path,
        format=predictions_format,
        class_mapping=read_mapping(class_mapping),
        annotations=annotations,
    )
    return records, detections, annotated


def put(
    title: str, header: Sequence[str], body: Sequence[Sequence[str]], values: dict[str, Any], out: tuple[Path, ...]
) -> None:
    """Prints a table, and writes it, or all values as JSON, to each file."""
    import csv
    import io
    import json

    from rich.console import Console

    from rbox_metrics import _render
    from rbox_metrics._plain import plain

    Console().print(_render.simple_table(title, header, body))
    for path in out:
        ending = path.suffix.lower()
        if ending == ".json":
            text = json.dumps(plain(values), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        elif ending == ".md":
            text = f"## {title}\n\n{_render.markdown_table(header, body)}"
        else:
            buffer = io.StringIO()
            csv.writer(buffer, lineterminator="\n").writerows([header, *body])
            text = buffer.getvalue()
        files.write_text(path, text)
        click.echo(f"The table is in {path}.")
