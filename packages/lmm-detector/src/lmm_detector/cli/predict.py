"""`lmm-detector predict`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click
from rbox_formats.cli import (
    PATH,
    PATH_TEXT,
    Division,
    Extras,
    command,
    dataset_options,
    division_options_with,
    option,
    pixels_options,
    prediction_options,
    writes,
    written,
)

from lmm_detector.cli._common import generation_options, set_up_output


@command(
    "lmm-detector predict --model demo --out found.jsonl --pictures pictures scenes/*.png",
    "lmm-detector predict --model runs/dota/model --data DOTA --split val --out val.jsonl",
    "lmm-detector predict --model runs/dota/model --out all.jsonl --engine vllm --batch-size 128 scenes",
)
@click.argument("images", nargs=-1, type=PATH_TEXT)
@option(
    "--model",
    type=PATH_TEXT,
    required=True,
    help="A trained detector: its folder, owner/name on the hub, or demo.",
    group="Model",
)
@dataset_options(required=False)
@option(
    "--window",
    type=click.IntRange(min=0),
    help="Side of the windows in pixels; 0 means whole images. [default: as the model was trained]",
    group="Windows and images",
)
@option(
    "--gap",
    type=click.IntRange(min=0),
    help="Overlap of neighbouring windows in pixels. [default: as the model was trained, in proportion to --window]",
    group="Windows and images",
)
@option(
    "--out",
    type=PATH,
    required=True,
    help="The predictions file to write. If it is there already, the command resumes it.",
    group="Output",
)
@prediction_options
@division_options_with(vllm="by vLLM on a GPU, for models with a chat template, best with a large --batch-size")
@generation_options
@pixels_options
@writes(written, "pictures", "geojson", shared=True)
def predict(
    images: tuple[str, ...],
    model: str,
    data: Path | None,
    format: str,
    split: str | None,
    out: Path,
    pictures: Path | None,
    geojson: Path | None,
    geojson_crs: str | None,
    skip_broken: bool,
    window: int | None,
    gap: int | None,
    device: str | None,
    dtype: str,
    manifest: Path | None,
    remote: bool,
    share: tuple[int, int] | None,
    engine: str,
    ray_address: str | None,
    actors: int,
    **settings: Any,
) -> None:
    """Detect the objects on a dataset's images (--data), or on IMAGES.

    IMAGES are files, folders, patterns ("scenes/**/*.tif"), and lists of files (list.txt, or @list) with a path on each
    line, relative to the list. After a stopped run, the same command resumes where that run stopped. The processes of
    torchrun (torchrun --nproc-per-node 2 -m lmm_detector predict ...), the jobs of an array (--share) or the machines
    of a Ray cluster (--engine ray) share the work. vLLM (--engine vllm) is another program to run the model with; its
    answers differ from ours in rounding.
    """
    division = Division(manifest, share, engine, ray_address, actors, remote)
    division.check(images, data, window, gap)
    set_up_output()
    from rbox_formats import files

    from lmm_detector import Detector
    from lmm_detector import predict as run
    from lmm_detector._families import fetch_detector
    from lmm_detector._prediction import _scores, _vllm
    from lmm_detector._prediction._generation import Generation
    from lmm_detector._runtime import _ranks
    from lmm_detector._spec import DetectorSpec

    # What takes no model first.
    files.require_writable_file(out)
    generation = Generation(**settings)
    on_vllm = engine == "vllm"
    if not on_vllm:
        _ranks.check_device(device)
    folder = fetch_detector(model)
    if on_vllm:
        _vllm.require(folder, device)
    spec = DetectorSpec.load(folder)
    _scores.check_rule(generation.scores, spec.make_codec())
    source, named, description = division.images(images, data, format, split, spec.class_names)
    extras = Extras(pictures, geojson, geojson_crs, remote=remote)
    extras.check(list(named.values()))
    load = partial(
        Detector.from_pretrained,
        Path(folder).absolute(),
        device=device,
        dtype=dtype,
        engine="vllm" if on_vllm else "local",
    )
    detector = load().with_windows(window, gap)
    found = run(
        detector,
        source,
        out,
        generation=generation,
        dataset=description,
        skip_broken=skip_broken,
        share=share,
        cluster=division.cluster(on_gpu=detector.family.model.device.type == "cuda"),
        load=load,
    )
    if found is None:
        click.echo(f"This share is done; its parts are in {out}.parts. The share that ends last joins all of them.")
        return
    _ranks.on_main(lambda: extras.write(out, named))
    if _ranks.place()[0] == 0:
        click.echo(extras.closing(out))
    _ranks.leave()
