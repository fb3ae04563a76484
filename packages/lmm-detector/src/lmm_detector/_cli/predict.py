"""`lmm-detector predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rbox_formats.cli import dataset_options

from lmm_detector._cli._common import set_up_output


@click.command()
@click.argument("images", nargs=-1, type=Path)
@click.option("--model", required=True, help="A trained detector's folder.")
@dataset_options(required=False)
@click.option("--out", type=Path, required=True, help="The predictions file to write, or to go on with.")
@click.option("--batch-size", default=8, show_default=True, help="Windows at a time.")
@click.option("--num-beams", default=1, show_default=True, help="1 is greedy.")
@click.option("--max-new-tokens", type=int, help="The longest answer. [default: the longest that the model can write]")
@click.option(
    "--scores",
    default="mean",
    show_default=True,
    help="How scores come of token probabilities: mean, geometric, minimum, product, label, or none.",
)
@click.option("--constrained", is_flag=True, help="Only texts of the codec, with the detector's classes, are written.")
@click.option("--device", help="Such as cpu or cuda:0. [default: the best that there is]")
@click.option("--dtype", default="float32", show_default=True, help="float32, bfloat16 or float16.")
def predict(
    images: tuple[Path, ...],
    model: str,
    data: Path | None,
    format: str,
    split: str | None,
    out: Path,
    batch_size: int,
    num_beams: int,
    max_new_tokens: int | None,
    scores: str,
    constrained: bool,
    device: str | None,
    dtype: str,
) -> None:
    """Detect the objects on a dataset's images (--data), or on IMAGES: files and folders.

    Given again, the command goes on where a stopped run was.
    """
    if bool(images) == bool(data):
        raise click.UsageError("Give either --data, or images.")
    set_up_output()
    from rbox_formats import datasets

    from lmm_detector import Detector
    from lmm_detector import predict as run
    from lmm_detector._detector import Generation
    from lmm_detector._prediction import find_images
    from lmm_detector._sources import records_with_images

    detector = Detector.from_pretrained(model, device=device, dtype=dtype)
    if data:
        records = records_with_images(datasets.read(format, data, split, detector.class_names))
        paths = [record.file for record in records]
        description: dict[str, Any] = {"format": format, "data": str(data), "split": split}
    else:
        paths = find_images(images)
        description = {"images": [str(image) for image in images]}
    generation = Generation(num_beams, max_new_tokens, batch_size, scores, constrained)
    click.echo(f"The predictions are in {run(detector, paths, out, generation=generation, dataset=description)}.")
