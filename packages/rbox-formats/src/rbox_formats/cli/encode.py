"""`rbox-formats encode`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rbox_formats._records import ClassNames
from rbox_formats.cli._command import PATH, Listing, command, option
from rbox_formats.cli._locking import writes
from rbox_formats.cli._options import class_names_option, codec_options, dataset_options, input_size_option
from rbox_formats.errors import counted
from rbox_formats.progress import track

if TYPE_CHECKING:
    from rbox_formats import ImageRecord
    from rbox_formats.codecs import Codec


@command(
    "rbox-formats encode --data DOTA --split train --codec geochat --out texts.jsonl",
    cls=Listing,
)
@dataset_options()
@class_names_option
@codec_options
@input_size_option(
    "The image size that the model sees, in pixels, for codecs that count in pixels. [default: the image's own size]",
    group="Text format",
)
@option(
    "--out", type=PATH, required=True, help="The file of texts to write: JSON lines, one per image.", group="Output"
)
@writes("out")
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
    from rbox_formats.inspection import file_of

    chosen = codecs.get(codec, **codec_options)
    dataset = datasets.read(format, data, split, class_names)
    files.not_an_input(out, data, *{file_of(source) for source in dataset.sources})
    written = left_out = objects_left_out = 0
    with files.replacing(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        for record in track(dataset, "encoding"):
            if record.width is None or record.height is None:
                left_out += 1  # a text is relative to the image's size
                continue
            for line, objects in _lines(record, chosen, dataset.class_names, input_size):
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
                written += 1
                objects_left_out += objects
    click.echo(
        f"{counted(written, 'text is', 'texts are')} in {out}."
        + (f" {counted(left_out, 'label file has', 'label files have')} no image." if left_out else "")
    )
    if objects_left_out:
        click.echo(
            f"{counted(objects_left_out, 'object is', 'objects are')} in none of them: "
            f"{codec} limits the number in a text."
        )


def _lines(
    record: ImageRecord, codec: Codec, class_names: ClassNames, input_size: tuple[int, int] | None
) -> Iterator[tuple[dict[str, Any], int]]:
    """The line of an image, or one for each class on it, and how many objects it leaves out."""

    def line(part: ImageRecord, names: ClassNames, labels: Any, **of_class: str) -> tuple[dict[str, Any], int]:
        text = codec.encode(part.shapes, labels, names, record.size, input_size)
        left_out = len(labels) - len(codec.order(part.shapes, labels, names, record.size, input_size))
        return {**size, **of_class, "prompt": codec.question(names), "text": text}, left_out

    size: dict[str, Any] = {"image_id": record.image_id, "width": record.width, "height": record.height}
    if input_size is not None:
        size["input_size"] = list(input_size)
    if not codec.one_class:
        yield line(record, class_names, record.labels)
        return
    for label in sorted(set(record.labels.tolist())):
        part, name = record.select(record.labels == label), ClassNames([class_names[label]])
        yield line(part, name, part.labels * 0, **{"class": name[0]})
