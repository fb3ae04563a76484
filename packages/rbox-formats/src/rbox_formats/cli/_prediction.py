"""What every detector's `predict` command shares: which images, and what is written beside the predictions file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from rbox_formats.cli._command import PATH, Decorator, option, options

prediction_options = options(
    option(
        "--skip-broken",
        is_flag=True,
        help="Leave out broken images, and list them at the end.",
        group="Windows and images",
    ),
    option("--pictures", type=PATH, help="Also draw each image with its boxes into this folder.", group="Output"),
    option(
        "--geojson",
        type=PATH,
        help="Also write the predictions for a map: a file (.geojson, .gpkg for a GeoPackage, or .parquet for "
        "GeoParquet), or a folder with a file for each image; in map coordinates where an image has them.",
        group="Output",
    ),
    option(
        "--geojson-crs",
        metavar="EPSG:CODE",
        help="Convert the map coordinates to this system, such as EPSG:4326. [default: the images' own]",
        group="Output",
    ),
)


remote_option = option(
    "--remote",
    is_flag=True,
    help="Read images from the addresses that a list, a collection or a manifest names (s3://..., https://...).",
    group="Windows and images",
)


class _Share(click.ParamType):
    """A share of the work, such as 3/100."""

    name = "K/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return the share's number, from 0, and how many there are."""
        number, slash, count = str(value).partition("/")
        if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            self.fail(f"expected one of N shares, such as 3/100, got {value!r}", param, ctx)
        return int(number) - 1, int(count)


def division_options_with(**engines: str) -> Decorator:
    """Return the options of how the work of a prediction is divided; see `Division`.

    Args:
        **engines: What a command knows beside this process and Ray, by the name of the engine: how its help says so.
    """
    return options(
        option(
            "--shards",
            "manifest",
            type=PATH,
            help="Predict the images of a manifest that `rbox-formats shards` wrote, in its windows.",
            group="Windows and images",
        ),
        remote_option,
        option(
            "--share",
            type=_Share(),
            help="Do one of N shares of the work, such as 3/100 in the third job of an array. The job that ends last "
            "joins the parts.",
            group="Several machines",
        ),
        option(
            "--engine",
            type=click.Choice(["local", "ray", *engines]),
            default="local",
            help=", or ".join(
                ["Detect in this process, or in processes of Ray on one machine or many", *engines.values()]
            )
            + ".",
            group="Several machines",
        ),
        option(
            "--ray-address",
            help="The Ray cluster, such as auto or ray://head:10001. [default: a local one, for this run]",
            group="Several machines",
        ),
        option(
            "--actors",
            type=click.IntRange(min=1),
            default=1,
            help="How many processes of Ray hold the model, each with a GPU of its own where --device is one.",
            group="Several machines",
        ),
    )


#: Those options, for a command that knows no other engine.
division_options = division_options_with()


@dataclass(frozen=True)
class Division:
    """How the work of a prediction is divided, as `division_options` say.

    Attributes:
        manifest: The manifest of the images, or None.
        share: Which of how many shares, or None.
        engine: "local", "ray", or another that the command knows.
        ray_address: The cluster, or None.
        actors: Its processes that hold the model.
        remote: Whether the manifest's images may be on other machines.
    """

    manifest: Path | None
    share: tuple[int, int] | None
    engine: str
    ray_address: str | None
    actors: int
    remote: bool = False

    def check(self, images: Sequence[str], data: Path | None, *windows: int | None) -> None:
        """Make sure that a command was given images in one way, and options that go together.

        Args:
            images: Files, folders, patterns and lists.
            data: A dataset's folder.
            *windows: The sides and gaps of windows that were given.

        Raises:
            UsageError: If not.
        """
        if sum(map(bool, (images, data, self.manifest))) != 1:
            raise click.UsageError("Give one of --data, --shards, and images.")
        if self.manifest is not None and any(each is not None for each in windows):
            raise click.UsageError("--window and --gap are those of the manifest, which --shards names.")
        if self.remote and self.manifest is None:
            raise click.UsageError("--remote goes with --shards.")
        if self.engine != "ray" and (self.ray_address is not None or self.actors != 1):
            raise click.UsageError("--ray-address and --actors go with --engine ray.")

    def images(
        self,
        images: Sequence[str],
        data: Path | None,
        format: str,
        split: str | None,
        class_names: Sequence[str] | None = None,
    ) -> tuple[Any, dict[str, Path], dict[str, Any]]:
        """Find the images that a command was given: by a manifest, a dataset or their names.

        Args:
            images: As in `images_to_predict`.
            data: As in `images_to_predict`.
            format: As in `images_to_predict`.
            split: As in `images_to_predict`.
            class_names: As in `images_to_predict`.

        Returns:
            What `predict` takes, the file of each image by its id, and what a predictions file says of them.

        Raises:
            RboxError: If there are none, or the manifest cannot be read.
        """
        from rbox_formats.images import by_id
        from rbox_formats.sharding import read_manifest

        if self.manifest is not None:
            manifest = read_manifest(self.manifest, remote=self.remote)
            return manifest, manifest.files, {"shards": self.manifest.name}
        paths, description = images_to_predict(images, data, format, split, class_names)
        return paths, by_id(paths), description

    def cluster(self, *, on_gpu: bool) -> Any:
        """Return where a run on Ray takes place, or None for another.

        Args:
            on_gpu: Whether each process that holds the model needs a GPU.
        """
        from rbox_formats.sharding import RayCluster

        if self.engine != "ray":
            return None
        return RayCluster(self.ray_address, self.actors, gpus=1.0 if on_gpu else 0.0)


def written(values: Mapping[str, Any]) -> list[Path | None]:
    """Return what a prediction writes, for `writes`: a share writes parts, which others write too.

    Args:
        values: The command's parameters.
    """
    out: Path = values["out"]
    share = values.get("share")
    if share is None:
        return [out]
    return [out.with_name(f"{out.name}.share-{share[0] + 1}-of-{share[1]}")]


def require_images(images: Sequence[str], data: Path | None) -> None:
    """Make sure that a command was given images in one of the two ways.

    Args:
        images: Files, folders, patterns and lists.
        data: A dataset's folder.

    Raises:
        UsageError: If both are given, or neither.
    """
    if bool(images) == bool(data):
        raise click.UsageError("Give either --data, or images.")


def images_to_predict(
    images: Sequence[str], data: Path | None, format: str, split: str | None, class_names: Sequence[str] | None = None
) -> tuple[list[Path], dict[str, Any]]:
    """Find the images that a command was given, by a dataset or by their names.

    Args:
        images: Files, folders, patterns and lists.
        data: A dataset's folder.
        format: Its format.
        split: Its part.
        class_names: What the detector's labels index.

    Returns:
        The image files, and what a predictions file says of them.

    Raises:
        UsageError: If both are given, or neither.
        DatasetError: If there are no images.
    """
    require_images(images, data)
    from rbox_formats import datasets
    from rbox_formats.images import find_images

    if data is None:
        return find_images(images), {"images": list(images)}
    records = datasets.with_images(datasets.read(format, data, split, class_names))
    return [record.file for record in records], {"format": format, "data": str(data), "split": split}


@dataclass(frozen=True)
class Extras:
    """What is written beside a predictions file.

    Attributes:
        pictures: A folder for pictures, or None.
        geojson: A file or folder for a map, or None.
        crs: The system of coordinates to convert to, or None.
        tolerance: By how many pixels the outlines of masks on the map may be simplified.
        remote: Whether images may be on other machines.
    """

    pictures: Path | None
    geojson: Path | None
    crs: str | None
    tolerance: float = 0.0
    remote: bool = False

    def check(self, paths: Sequence[Path]) -> None:
        """Make sure, before any long work, that it can be written for these images.

        Raises:
            UsageError: If a system of coordinates or a tolerance is given and no map is asked for.
            RboxError: If it cannot.
        """
        from rbox_formats import files
        from rbox_formats.detection import check_geojson

        if self.remote and (self.pictures or self.geojson):
            raise click.UsageError("--pictures and --geojson read the images again: they do not go with --remote.")
        if self.crs is not None and self.geojson is None:
            raise click.UsageError("--geojson-crs says how --geojson is written: give both.")
        if self.tolerance and self.geojson is None:
            raise click.UsageError("--geojson-tolerance says how --geojson is written: give both.")
        if self.pictures is not None:
            files.require_writable(self.pictures)
            for path in paths:
                files.not_an_input(self.pictures / f"{path.stem}.png", path)
        if self.geojson is not None:
            check_geojson(paths, self.geojson, crs=self.crs)

    def write(self, out: Path, paths: Sequence[Path] | Mapping[str, Path]) -> None:
        """Write it from the predictions file.

        Args:
            out: The predictions file.
            paths: The images, or each by its id.
        """
        from rbox_formats.detection import read_predictions, write_geojson
        from rbox_formats.visualization import draw_predictions

        if self.geojson is not None:
            write_geojson(read_predictions(out, paths), self.geojson, crs=self.crs, tolerance=self.tolerance)
        if self.pictures is not None:
            draw_predictions(list(read_predictions(out, paths)), self.pictures)

    def closing(self, out: Path) -> str:
        """Return the sentence that says where everything is."""
        pictures = f", the pictures in {self.pictures}" if self.pictures else ""
        geojson = f", for a map in {self.geojson}" if self.geojson else ""
        return f"The predictions are in {out}{pictures}{geojson}."
