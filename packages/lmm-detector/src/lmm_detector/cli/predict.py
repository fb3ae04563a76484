"""`lmm-detector predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rbox_formats.cli import dataset_options, pixels_options, writes

from lmm_detector.cli._common import generation_options, set_up_output


@click.command()
@click.argument("images", nargs=-1)
@click.option("--model", required=True, help="A trained detector: its folder, owner/name on the hub, or demo.")
@dataset_options(required=False)
@click.option("--out", type=Path, required=True, help="The predictions file to write, or to go on with.")
@click.option(
    "--geojson",
    type=Path,
    help="Writes the detections for a map, too: one file (.geojson), or a folder with a file for each image; in map "
    "coordinates where an image has them.",
)
@click.option("--skip-broken", is_flag=True, help="Leaves broken images out, and lists them at the end.")
@generation_options
@pixels_options
@writes("out", "geojson", shared=True)
def predict(
    images: tuple[str, ...],
    model: str,
    data: Path | None,
    format: str,
    split: str | None,
    out: Path,
    geojson: Path | None,
    skip_broken: bool,
    device: str | None,
    dtype: str,
    **settings: Any,
) -> None:
    """Detect the objects on a dataset's images (--data), or on IMAGES.

    These are files, folders, patterns ("scenes/**/*.tif"), and lists of files (list.txt, or @list) with a path on each
    line, relative to the list. Given again, the command goes on where a stopped run was. Under torchrun (torchrun
    --nproc-per-node 2 -m lmm_detector predict ...) the processes share the images.
    """
    if bool(images) == bool(data):
        raise click.UsageError("Give either --data, or images.")
    set_up_output()
    from rbox_formats import datasets, files
    from rbox_formats.images import find_images

    from lmm_detector import Detector
    from lmm_detector import predict as run
    from lmm_detector._families import fetch_detector
    from lmm_detector._prediction import _geojson, _scores
    from lmm_detector._prediction._generation import Generation
    from lmm_detector._prediction._predict import read_predictions
    from lmm_detector._runtime import _ranks
    from lmm_detector._spec import DetectorSpec

    # What takes no model first.
    files.require_writable_file(out)
    generation = Generation(**settings)
    _ranks.check_device(device)
    folder = fetch_detector(model)
    spec = DetectorSpec.load(folder)
    _scores.check_rule(generation.scores, spec.make_codec())
    if data:
        records = datasets.with_images(datasets.read(format, data, split, spec.class_names))
        paths = [record.file for record in records]
        description: dict[str, Any] = {"format": format, "data": str(data), "split": split}
    else:
        paths = find_images(images)
        description = {"images": list(images)}
    if geojson is not None:
        _geojson.check_geojson(paths, geojson)
    detector = Detector.from_pretrained(folder, device=device, dtype=dtype)
    run(detector, paths, out, generation=generation, dataset=description, skip_broken=skip_broken)
    if geojson is not None:
        _ranks.on_main(lambda: _geojson.write_geojson(read_predictions(out, paths), geojson))
    if _ranks.place()[0] == 0:
        click.echo(f"The predictions are in {out}" + (f", for a map in {geojson}." if geojson else "."))
    _ranks.leave()
