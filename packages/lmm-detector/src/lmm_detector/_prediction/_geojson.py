"""Detections for a map: GeoJSON, in map coordinates where the images have a place on one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rbox_formats import files
from rbox_formats.datasets import geojson
from rbox_formats.errors import DatasetError

from lmm_detector._prediction._result import Prediction

_SUFFIXES = (".geojson", ".json")


def write_geojson(found: Prediction | Iterable[Prediction], out: str | Path) -> Path:
    """Writes detections as GeoJSON (`rbox_formats.datasets.geojson` has the properties of each).

    An image with a place on the map, by its GeoTIFF or a world file beside it, is written in map coordinates, another
    one in its pixels.

    >>> write_geojson(detector.predict(find_images("scenes/*.tif")), "found.geojson")  # doctest: +SKIP

    Args:
        found: What was detected on one image or many.
        out: A file, "found.geojson": one collection of all objects, each with the `image_id` of its image. Or a
            folder, for a file `<image_id>.geojson` of each image.

    Returns:
        The file or folder.

    Raises:
        DatasetError: If one file is asked for, and the images have not all one system of coordinates; or a folder, and
            two have the same name.
    """
    out = Path(out)
    found = [found] if isinstance(found, Prediction) else found
    if out.suffix.lower() not in _SUFFIXES:
        out.mkdir(parents=True, exist_ok=True)
        written: set[str] = set()
        for each in found:
            name = files.safe_name(f"{each.image_id}.geojson", out)
            if name in written:
                raise DatasetError(f"expected images of different names, got two called {each.image_id!r}", path=out)
            written.add(name)
            collection = _collection(each, _placement(each.path))
            files.write_text(out / name, json.dumps(collection, ensure_ascii=False) + "\n")
        return out
    seen: dict[Path | None, geojson.Placement | None] = {}
    with files.replacing(out) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        separator = ""
        for each in found:
            placement = seen[each.path] = _placement(each.path)
            collection = _collection(each, placement)
            if len(seen) == 1 and not separator:
                about = {key: collection[key] for key in ("type", "crs") if key in collection}
                file.write(json.dumps(about)[:-1] + ', "features": [')
                separator = "\n"
            _require_one_system(seen, out)
            for feature in collection["features"]:
                properties = {"image_id": each.image_id, **feature["properties"]}
                file.write(separator + json.dumps({**feature, "properties": properties}, ensure_ascii=False))
                separator = ",\n"
        file.write("\n]}\n" if seen else '{"type": "FeatureCollection", "features": []}\n')
    return out


def check_geojson(paths: Sequence[Path], out: str | Path) -> None:
    """Makes sure, before any long work, that detections on these images can be written there.

    Raises:
        DatasetError: As `write_geojson`; also where one of the images would be written over.
    """
    out = Path(out)
    files.not_an_input(out, *paths)
    placements: dict[Path | None, geojson.Placement | None] = {path: _placement(path) for path in paths}
    if out.suffix.lower() in _SUFFIXES:
        _require_one_system(placements, out)


def _placement(path: Path | None) -> geojson.Placement | None:
    return None if path is None else geojson.find_placement(path)


def _collection(found: Prediction, placement: geojson.Placement | None) -> dict[str, Any]:
    # The texts stay in the predictions file.
    return geojson.collection(replace(found, metadata={"status": found.status}), found.class_names, placement)


def _require_one_system(placements: Mapping[Path | None, geojson.Placement | None], out: Path) -> None:
    """Coordinates of one file are of one system: that of a map, or the pixels of images."""
    systems: dict[str, Path | None] = {}
    for path, placement in placements.items():
        systems.setdefault("pixels" if placement is None else placement.crs or "an unnamed map's", path)
    if len(systems) > 1:
        listed = ", ".join(f"{system} ({path})" for system, path in systems.items())
        raise DatasetError(
            f"expected coordinates of one system in a file, got {listed}",
            path=out,
            remedy="Give a folder, for a file of each image.",
        )
