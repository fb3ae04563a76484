"""`rbox-formats encode`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from rbox_formats._records import ClassNames
from rbox_formats.cli import class_names_option, codec_options, dataset_options, track


@click.command()
@dataset_options()
@class_names_option
@codec_options
@click.option("--out", type=Path, required=True, help="The file of texts to write: JSON lines, one per image.")
def encode(
    data: Path,
    format: str,
    split: str | None,
    class_names: ClassNames | None,
    codec: str,
    codec_options: dict[str, Any],
    out: Path,
) -> None:
    """Write each image's boxes as the text that a model is taught to answer."""
    from rbox_formats import codecs, datasets, files

    dataset, chosen = datasets.read(format, data, split, class_names), codecs.get(codec, **codec_options)
    lines = []
    for record in track(dataset, "encoding"):
        if record.path is None:
            continue  # a text is relative to the image's size
        text = chosen.encode(record.shapes, record.labels, dataset.class_names, record.size)
        values = {"image_id": record.image_id, "width": record.width, "height": record.height, "text": text}
        lines.append(json.dumps(values, ensure_ascii=False) + "\n")
    files.write_text(files.not_an_input(out, *dataset.sources), "".join(lines))
    left_out = len(dataset) - len(lines)
    click.echo(f"{len(lines)} texts are in {out}." + (f" {left_out} label files have no image." if left_out else ""))
