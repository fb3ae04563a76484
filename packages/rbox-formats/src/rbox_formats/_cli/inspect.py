"""`rbox-formats inspect`."""

from __future__ import annotations

from pathlib import Path

import click

from rbox_formats._records import ClassNames
from rbox_formats.cli import class_names_option, dataset_options, track


@click.command()
@dataset_options()
@class_names_option
@click.option("--out", type=Path, help="A folder for pictures of the images with their boxes.")
def inspect(data: Path, format: str, split: str | None, class_names: ClassNames | None, out: Path | None) -> None:
    """Count a dataset's objects, class by class, and draw them."""
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    from rbox_formats import datasets, draw, files, images

    dataset = datasets.read(format, data, split, class_names)
    lengths: list[list[float]] = [[] for _ in dataset.class_names]
    difficult = np.zeros(len(dataset.class_names), dtype=int)
    missing = 0
    for record in track(dataset, "reading"):
        for label, box, hard in zip(record.labels, record.boxes, record.difficult, strict=True):
            lengths[label].append(float(box[2]))
            difficult[label] += hard
        missing += record.path is None
        if out and record.path:
            picture = draw.draw_record(images.load(record.path), record, dataset.class_names)
            draw.save(picture, files.not_an_input(out / f"{record.image_id}.png", record.path))

    table = Table("class", *(("objects", "difficult", "shortest", "median", "longest")))
    for label, name in enumerate(dataset.class_names):
        if lengths[label]:
            sides = np.array(lengths[label])
            sizes = (f"{value:.1f} px" for value in (sides.min(), np.median(sides), sides.max()))
            table.add_row(name, str(len(sides)), str(difficult[label]), *sizes)
    Console().print(table)
    click.echo(f"{sum(map(len, lengths))} objects on {len(dataset)} images, {missing} of them without their file.")
    if out:
        click.echo(f"The pictures are in {out}.")
