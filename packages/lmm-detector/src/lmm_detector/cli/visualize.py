"""`lmm-detector visualize`."""

from __future__ import annotations

from pathlib import Path

import click
from rbox_formats.cli import PATH, PATH_TEXT, command, dataset_options, option, pixels_options, require_images, writes
from rbox_formats.errors import counted

from lmm_detector.cli._common import open_truth, predictions_option


@command(
    "lmm-detector visualize --data DOTA --split val --predictions val.jsonl --out pictures",
    "lmm-detector visualize --predictions found.jsonl --out pictures scenes",
)
@click.argument("images", nargs=-1, type=PATH_TEXT)
@dataset_options(required=False)
@predictions_option
@option("--out", type=PATH, required=True, help="The folder for the pictures.", group="Output")
@option("--limit", type=click.IntRange(min=1), help="Draw only this many images, the first ones.", group="Output")
@pixels_options
@writes("out")
def visualize(
    images: tuple[str, ...],
    data: Path | None,
    format: str,
    split: str | None,
    predictions_path: Path,
    out: Path,
    limit: int | None,
) -> None:
    """Draw predictions, beside the ground truth (--data) or alone on IMAGES.

    A picture for each image, and a sheet of the first ones; beside the ground truth it tells right, wrong and missed
    apart. IMAGES are files, folders, patterns ("scenes/**/*.tif"), and lists of files (list.txt, or @list).
    """
    require_images(images, data)
    if data:
        from lmm_detector._evaluation._pictures import visualize as run

        written = run(open_truth(format, data, split, predictions_path), predictions_path, out, limit=limit)
    else:
        from rbox_formats.detection import read_predictions
        from rbox_formats.errors import DatasetError
        from rbox_formats.images import find_images
        from rbox_formats.visualization import draw_predictions

        found = list(read_predictions(predictions_path, find_images(images)))[:limit]
        if not found:
            raise DatasetError("expected predictions on these images, found none", path=predictions_path)
        written = draw_predictions(found, out)
    *pictures, sheet = written
    click.echo(
        f"{counted(len(pictures), 'picture is', 'pictures are')} in {out}, the first ones on one sheet in {sheet}."
    )
