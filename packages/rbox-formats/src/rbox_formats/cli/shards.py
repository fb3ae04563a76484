"""`rbox-formats shards`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rbox_formats.cli._command import PATH, PATH_TEXT, command, option
from rbox_formats.cli._group import show_messages
from rbox_formats.cli._locking import writes
from rbox_formats.cli._options import dataset_options
from rbox_formats.cli._prediction import images_to_predict, remote_option, require_images

# How the name of a STAC item collection ends.
_STAC = (".json", ".geojson")


@command(
    "rbox-formats shards --window 1024 --out archive.jsonl scenes/*.tif",
    "rbox-formats shards --window 1024 --out archive.parquet items.json",
    "rbox-formats shards --window 1024 --out archive.jsonl s3://bucket/scenes/",
)
@click.argument("sources", nargs=-1, type=PATH_TEXT)
@dataset_options(required=False)
@option("--asset", help="The key of the image among the assets of a STAC item.", group="Dataset")
@remote_option
@option(
    "--window",
    type=click.IntRange(min=0),
    default=1024,
    help="Side of the windows in pixels; 0 means whole images.",
    group="Windows and images",
)
@option(
    "--gap",
    type=click.IntRange(min=0),
    help="Overlap of neighbouring windows in pixels. [default: 200 for windows of 1024, others in proportion]",
    group="Windows and images",
)
@option(
    "--shard-windows",
    type=click.IntRange(min=1),
    default=256,
    help="About how many windows a shard has: what a process loses at most when it is stopped.",
    group="Windows and images",
)
@option("--out", type=PATH, required=True, help="The manifest: .jsonl, or .parquet.", group="Output")
@writes("out")
def shards(
    sources: tuple[str, ...],
    data: Path | None,
    format: str,
    split: str | None,
    asset: str | None,
    remote: bool,
    window: int,
    gap: int | None,
    shard_windows: int,
    out: Path,
) -> None:
    """Divide images into shards, which any machine may predict.

    Shards cost about the same: each has about as many windows. SOURCES are image files, folders, patterns
    ("scenes/**/*.tif"), lists of files (list.txt, or @list), STAC item collections (.json), or addresses, such as
    s3://bucket/scenes/ or https://host/P0001.tif, which fsspec reads. The manifest is given to `predict --shards`.
    """
    from rbox_formats import files
    from rbox_formats.errors import counted
    from rbox_formats.sharding import find_scenes, make_manifest, read_stac, write_manifest

    show_messages("rbox_formats")
    files.require_writable_file(out)
    collections = [source for source in sources if source.lower().endswith(_STAC)]
    if collections and (len(collections) < len(sources) or data is not None):
        raise click.UsageError("Give STAC item collections, or images, in one call.")
    if asset is not None and not collections:
        raise click.UsageError("--asset names the image of STAC items: give a collection (.json).")
    require_images(sources, data)
    found: list[Any] = [image for source in collections for image in read_stac(source, asset, remote=remote)]
    if data is not None:
        found, _ = images_to_predict(sources, data, format, split)
    elif not collections:
        found = list(find_scenes(sources, remote=remote))
    manifest = make_manifest(found, window=window, gap=gap, shard_windows=shard_windows, progress=True)
    plan = manifest.plan()
    write_manifest(out, manifest)
    windows = sum(shard.windows for shard in plan)
    images = counted(len(manifest.images), "image")
    click.echo(f"{out} divides {images} with {counted(windows, 'window')} into {counted(len(plan), 'shard')}.")
