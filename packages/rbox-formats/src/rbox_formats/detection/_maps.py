"""Predictions for a map: GeoJSON, GeoPackage or GeoParquet, in map coordinates where the images have a place on one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from rbox_formats import files
from rbox_formats.datasets import geojson
from rbox_formats.detection import _geoparquet, _well_known
from rbox_formats.detection._prediction import Prediction
from rbox_formats.errors import DatasetError, said

_GEOJSON, _GEOPACKAGE = (".geojson", ".json"), ".gpkg"
# What takes map coordinates only, and what an error calls it.
_ON_MAPS = {_GEOPACKAGE: "GeoPackage", _geoparquet.SUFFIX: "GeoParquet file"}
_LAYER = "predictions"

_Placed: TypeAlias = geojson.Placement | geojson.Projection | None


def write_geojson(
    found: Prediction | Iterable[Prediction], out: str | Path, *, crs: str | None = None, tolerance: float = 0.0
) -> Path:
    """Write predictions as GeoJSON, GeoPackage or GeoParquet (`rbox_formats.datasets.geojson` has the properties).

    An image with a place on the map, by its GeoTIFF or a world file beside it, is written in map coordinates, another
    one in its pixels; GeoPackage and GeoParquet take map coordinates only. GeoParquet is for millions of objects: those
    that are near each other on the map are near in the file, so that a map of a place reads little of it.

    >>> write_geojson(detector.predict("scenes/*.tif"), "found.geojson")  # doctest: +SKIP

    Args:
        found: What was detected on one image or many.
        out: A file "found.geojson", "found.gpkg" or "found.parquet": one collection of all objects, each with the
            `image_id` of its image. Or a folder, for a file `<image_id>.geojson` of each image.
        crs: The system of coordinates to convert to, such as "EPSG:4326", longitude and latitude, as RFC 7946 wants
            it. None: each image's own.
        tolerance: By how many pixels the outlines of masks may be simplified.

    Returns:
        The file or folder.

    Raises:
        DatasetError: If one file is asked for, and the images have not all one system of coordinates; if a folder, and
            two images have the same name; if `crs` is asked for, and an image has no known system.
    """
    out = files.as_path(out)
    found = [found] if isinstance(found, Prediction) else found
    suffix = out.suffix.lower()
    if suffix == _GEOPACKAGE:
        return _write_geopackage(found, out, crs, tolerance)
    if suffix == _geoparquet.SUFFIX:
        places = _OnePlace(out, crs)
        _geoparquet.write(((each, places.of(each.path)) for each in found), out, tolerance)
        return out
    return (_write_one if suffix in _GEOJSON else _write_each)(found, out, crs, tolerance)


def check_geojson(paths: Sequence[Path], out: str | Path, *, crs: str | None = None) -> None:
    """Make sure, before any long work, that predictions on these images can be written there.

    >>> check_geojson([], "found.geojson")

    Args:
        paths: The images.
        out: The file to write, as in `write_geojson`.
        crs: The system of coordinates to write, as in `write_geojson`.

    Raises:
        DatasetError: As `write_geojson`; also where one of the images would be overwritten.
    """
    out = files.not_an_input(out, *paths)
    if out.suffix.lower() == _GEOPACKAGE:
        _pyogrio()
    if out.suffix.lower() == _geoparquet.SUFFIX:
        _geoparquet.require_pyarrow()
    places = _OnePlace(out, crs)
    for path in paths:
        places.of(path)


class _OnePlace:
    """Where images lie on the map, all in one system where they go into one file.

    Args:
        out: The file or folder.
        crs: The system to convert to.
    """

    def __init__(self, out: Path, crs: str | None) -> None:
        self.out, self.crs = out, crs
        self.seen: dict[Path | None, _Placed] = {}
        self.systems: dict[str, Path | None] = {}

    def of(self, path: Path | None) -> _Placed:
        """Return the place of an image, which is in the same system as those that were asked for before.

        Raises:
            DatasetError: If it is not.
        """
        if path not in self.seen:
            placement = None if path is None else geojson.find_placement(path)
            self.seen[path] = geojson.projected(placement, self.crs, path)
            suffix = self.out.suffix.lower()
            if suffix in _ON_MAPS and self.seen[path] is None:
                raise DatasetError(
                    f"expected an image with a place on the map for a {_ON_MAPS[suffix]}, found no transform",
                    path=path,
                    remedy="Write GeoJSON (.geojson), which takes pixels, or put a world file beside the image.",
                )
            if suffix in (*_GEOJSON, *_ON_MAPS):
                self._require_one_system(path, self.seen[path])
        return self.seen[path]

    def _require_one_system(self, path: Path | None, placement: _Placed) -> None:
        """Check that the coordinates of one file are of one system: that of a map, or the pixels of images."""
        self.systems.setdefault("pixels" if placement is None else placement.crs or "an unnamed map's", path)
        if len(self.systems) > 1:
            listed = ", ".join(f"{system} ({path})" for system, path in self.systems.items())
            raise DatasetError(
                f"expected coordinates of one system in a file, got {listed}",
                path=self.out,
                remedy="Name the system to convert to (--geojson-crs EPSG:4326), or give a folder, for a file of each "
                "image.",
            )


def _collection(found: Prediction, placement: _Placed, tolerance: float) -> dict[str, Any]:
    # The texts stay in the predictions file.
    plain = replace(found, metadata={"status": found.status})
    return geojson.collection(plain, found.class_names, placement, tolerance)


def _write_each(found: Iterable[Prediction], out: Path, crs: str | None, tolerance: float) -> Path:
    _make(out)
    places = _OnePlace(out, crs)
    written: set[str] = set()
    for each in found:
        name = files.safe_name(f"{each.image_id}.geojson", out)
        if name in written:
            raise DatasetError(f"expected images of different names, got two called {each.image_id!r}", path=out)
        written.add(name)
        files.write_text(
            out / name, json.dumps(_collection(each, places.of(each.path), tolerance), ensure_ascii=False) + "\n"
        )
    return out


def _features(
    found: Iterable[Prediction], places: _OnePlace, tolerance: float
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Yield each image's collection without its features, and the features with the image's name."""
    for each in found:
        collection = _collection(each, places.of(each.path), tolerance)
        features = collection.pop("features")
        for feature in features:
            feature["properties"] = {"image_id": each.image_id, **feature["properties"]}
        yield collection, features


def _write_one(found: Iterable[Prediction], out: Path, crs: str | None, tolerance: float) -> Path:
    with files.replacing(out) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        separator = ""
        for collection, features in _features(found, _OnePlace(out, crs), tolerance):
            if not separator:
                about = {key: collection[key] for key in ("type", "crs") if key in collection}
                file.write(json.dumps(about)[:-1] + ', "features": [')
                separator = "\n"
            for feature in features:
                file.write(separator + json.dumps(feature, ensure_ascii=False))
                separator = ",\n"
        file.write("\n]}\n" if separator else '{"type": "FeatureCollection", "features": []}\n')
    return out


def _write_geopackage(found: Iterable[Prediction], out: Path, crs: str | None, tolerance: float) -> Path:
    """Write one table with a row for each object."""
    pyogrio = _pyogrio()
    places = _OnePlace(out, crs)
    rows: list[dict[str, Any]] = []
    geometries: list[Any] = []
    for _, features in _features(found, places, tolerance):
        for feature in features:
            rows.append(feature["properties"])
            geometries.append(feature["geometry"])
    # A table has geometries of one type.
    several = any(geometry["type"] == "MultiPolygon" for geometry in geometries)
    encoded = [_well_known.encode(geometry, several) for geometry in geometries]
    names = [name for name in ("image_id", "class", "score", "angle", "difficult") if any(name in row for row in rows)]
    system = next((placement.crs for placement in places.seen.values() if placement), None)
    _make(out.parent)
    with files.temporary_folder(out.parent) as folder:
        temporary = folder / "written.gpkg"  # GDAL warns of another suffix
        try:
            pyogrio.raw.write(
                temporary,
                geometry=np.array([*encoded, None], dtype=object)[:-1],  # objects, whatever their lengths
                field_data=[np.array([row.get(name) for row in rows]) for name in names],
                fields=names,
                geometry_type="MultiPolygon" if several else "Polygon",
                crs=system,
                driver="GPKG",
                layer=_LAYER,
            )
        except Exception as error:  # GDAL's words come as several classes
            raise DatasetError(f"expected a GeoPackage that can be written, got: {said(error)}", path=out) from error
        temporary.replace(out)
    return out


def _make(folder: Path) -> None:
    with files.reaching(folder, "a folder that can be written to"):
        folder.mkdir(parents=True, exist_ok=True)


def _pyogrio() -> Any:
    try:
        import pyogrio
        import pyogrio.raw
    except ImportError as error:
        raise DatasetError(
            "expected pyogrio, which writes GeoPackages, found none",
            remedy="Install it: pip install rbox-formats[geo]. Or write GeoJSON (.geojson).",
        ) from error
    return pyogrio
