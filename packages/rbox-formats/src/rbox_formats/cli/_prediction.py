"""What every detector's `predict` command shares: which images, and what is written beside the predictions file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from rbox_formats.cli._command import PATH, option, options

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
    """

    pictures: Path | None
    geojson: Path | None
    crs: str | None
    tolerance: float = 0.0

    def check(self, paths: Sequence[Path]) -> None:
        """Make sure, before any long work, that it can be written for these images.

        Raises:
            UsageError: If a system of coordinates or a tolerance is given and no map is asked for.
            RboxError: If it cannot.
        """
        from rbox_formats import files
        from rbox_formats.detection import check_geojson

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

    def write(self, out: Path, paths: Sequence[Path]) -> None:
        """Write it from the predictions file.

        Args:
            out: The predictions file.
            paths: The images.
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
