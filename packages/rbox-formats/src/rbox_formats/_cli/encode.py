"""`rbox-formats encode`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rbox_formats._records import ClassNames
from rbox_formats.cli import class_names_option, codec_options, dataset_options, input_size_option, track

if TYPE_CHECKING:
    from rbox_formats import ImageRecord
    from rbox_formats.codecs import Codec


@click.command()
@dataset_options()
@class_names_option
@codec_options
@input_size_option
@click.option("--out", type=Path, required=True, help="The file of texts to write: JSON lines, one per image.")
def encode(
    data: Path,
    format: str,
    split: str | None,
    class_names: ClassNames | None,
    codec: str,
    codec_options: dict[str, Any],
    input_size: tuple[int, int] | None,
    out: Path,
) -> None:
    """Write each image's boxes as the text that a model is taught to answer.

    A codec that leaves the class to the prompt gets a line for each class on an image, with its "class".
    """
    from rbox_formats import codecs, datasets, files

    dataset, chosen = datasets.read(format, data, split, class_names), codecs.get(codec, **codec_options)
    files.not_an_input(out, *(Path(source) for source in dataset.sources if isinstance(source, str | Path)))
    written = left_out = 0
    with files.replacing(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for record in track(dataset, "encoding"):
            if record.width is None or record.height is None:
                left_out += 1  # a text is relative to the image's size
                continue
            for line in _lines(record, chosen, dataset.class_names, input_size):
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                written += 1
    click.echo(f"{written} texts are in {out}." + (f" {left_out} label files have no image." if left_out else ""))


def _lines(
    record: ImageRecord, codec: Codec, class_names: ClassNames, input_size: tuple[int, int] | None
) -> Iterator[dict[str, Any]]:
    """The line of an image, or one for each class on it."""
    size: dict[str, Any] = {"image_id": record.image_id, "width": record.width, "height": record.height}
    if input_size is not None:
        size["input_size"] = list(input_size)
    if not codec.one_class:
        text = codec.encode(record.shapes, record.labels, class_names, record.size, input_size)
        yield {**size, "prompt": codec.question(class_names), "text": text}
        return
    for label in sorted(set(record.labels.tolist())):
        part, name = record.select(record.labels == label), ClassNames([class_names[label]])
        text = codec.encode(part.shapes, part.labels * 0, name, record.size, input_size)
        yield {**size, "class": name[0], "prompt": codec.question(name), "text": text}
