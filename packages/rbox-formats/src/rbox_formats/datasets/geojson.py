"""GeoJSON, for geographic information systems: a feature collection per image. `map_layer` reads it.

    {"type": "FeatureCollection", "image_id": "P0001", "width": 1024, "height": 768, "metadata": {},
     "features": [{"type": "Feature",
                   "geometry": {"type": "Polygon", "coordinates": [[[x, y], ...]]},
                   "properties": {"class": "ship", "difficult": false, "angle": 12.5}}]}

Each object is the polygon of its quad as annotated, or of its box's corners: five points, the first again at the end,
in the order that RFC 7946 asks for (the exterior to the right: counter-clockwise where y points up), from the annotated
first corner on. An object with a mask is the outline of that, with its holes, as a Polygon or, if it has several parts,
as a MultiPolygon; the option `tolerance` (`datasets.write(..., options=)`, `--to-option`) leaves out corners that are
no further than that from the simpler outline, in pixels, each ring by itself. `properties` are the class's name,
`difficult`, the box's angle in the image (degrees, `le90`, clockwise on the screen), and `score`, where the record has
scores. What of the metadata JSON can hold stands beside the features.

Two formats differ in their coordinates:

- "geojson": pixels of the image, x to the right, y down.
- "geojson-map": map coordinates, by the transform of the image's GeoTIFF, else of the world file beside it. A pixel's
  coordinates count from the upper left corner of the image, as everywhere in this package and as GeoTIFF's transform
  does; a world file says where the centre of the first pixel is, and is shifted by half a pixel. Both mean the stored
  pixels, as GDAL does: where the file notes an orientation, the transform is turned with the image.

RFC 7946 knows only longitude and latitude in WGS 84. Coordinates are left in the image's own system, and where a
GeoTIFF names one that has an EPSG code, and it is not 4326, that is said in the member `crs` of GeoJSON 2008, which
GDAL and QGIS read. A world file names no system.

World files are read here: six lines, A, D, B, E, C, F in x = A column + B row + C, y = D column + E row + F. They are
named after the image, their suffix made of the first and last letter of its with a "w" (.tfw, .pgw, .jgw), of the whole
suffix with a "w" (.tifw), or .wld. A GeoTIFF needs rasterio, which comes with the extra `geo`: `pip install
rbox-formats[geo]`.

On disk: `<root>[/<split>]/<image_id>.geojson`. One record is held at a time.

Source: RFC 7946; Esri, World files for raster datasets; GeoJSON 2008, section 3.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rbox_formats import files, images
from rbox_formats._records import ClassNames, ImageRecord
from rbox_formats.datasets._crs import known_crs, transformed
from rbox_formats.errors import DatasetError, ImageError, quoted
from rbox_formats.parsing import json_values
from rbox_formats.parsing.lines import plain_digits, read_text, split_lines

__all__ = [
    "Placement",
    "Projection",
    "collection",
    "find_placement",
    "placement_of",
    "projected",
    "world_file",
    "world_file_of",
    "write",
]

_GEOTIFF = (".tif", ".tiff", ".jp2")


class Placement(NamedTuple):
    """Where an image lies on the map: x = a column + b row + c, y = d column + e row + f, from its upper left corner.

    Attributes:
        a: First of the six numbers `a` to `f` of the transform, in the order of rasterio's `Affine`.
        crs: The system of coordinates, such as "EPSG:32631". None: neither the image nor its world file names one.
    """

    a: float
    b: float
    c: float
    d: float
    e: float
    f: float
    crs: str | None = None

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Convert pixels (..., 2) to map coordinates (..., 2)."""
        x, y = points[..., 0], points[..., 1]
        return np.stack([self.a * x + self.b * y + self.c, self.d * x + self.e * y + self.f], axis=-1)


class Projection(NamedTuple):
    """Where an image lies on a map of another system of coordinates than its own.

    Attributes:
        placement: The image's place in its own system.
        crs: The other system, such as "EPSG:4326".
        path: The image, for errors.
    """

    placement: Placement
    crs: str
    path: Path | None = None

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Convert pixels (..., 2) to map coordinates (..., 2).

        Raises:
            DatasetError: If a corner has no place in the other system.
        """
        own = self.placement.apply(points).reshape(-1, 2)
        remedy = "Leave the coordinates in the image's own system."
        moved = transformed(own, str(self.placement.crs), self.crs, self.path, remedy) if len(own) else own
        if not np.isfinite(moved).all():
            raise DatasetError(f"expected a place on the map that {self.crs} can hold", path=self.path, remedy=remedy)
        return moved.reshape(points.shape)


def projected(placement: Placement | None, crs: str | None, path: Path | None) -> Placement | Projection | None:
    """Return where an image lies in the system of coordinates that is asked for.

    Args:
        placement: The image's place in its own system, or None where it has none.
        crs: The system, such as "EPSG:4326". None: its own.
        path: The image, for errors.

    Raises:
        DatasetError: If a system is asked for that is not known, or the image's own is not.
    """
    if crs is None:
        return placement
    target = known_crs(crs)
    if placement is None or placement.crs is None:
        found = "no place on the map" if placement is None else "a place on the map whose system is not named"
        raise DatasetError(
            f"expected an image in a known system of coordinates, to convert to {target}, got one with {found}",
            path=path,
            remedy="Only a GeoTIFF names its system (gdal_translate -a_srs EPSG:... writes it into one).",
        )
    return placement if placement.crs == target else Projection(placement, target, path)


def write(
    records: Iterable[ImageRecord],
    root: Path,
    split: str | None,
    class_names: ClassNames,
    *,
    on_map: bool = False,
    tolerance: float = 0.0,
) -> Path:
    """Write a file per record; see `rbox_formats.datasets.write`.

    Args:
        records: With their image files, for map coordinates.
        root: The folder to write into.
        split: A folder in it.
        class_names: What the records' labels index.
        on_map: Map coordinates instead of pixels.
        tolerance: As in `collection`.

    Raises:
        DatasetError: If map coordinates are asked for and an image has none, or rasterio is needed and not installed.
    """
    folder = root / files.safe_name(split, root) if split else root
    folder.mkdir(parents=True, exist_ok=True)
    for record in records:
        name = files.safe_name(f"{record.image_id}.geojson", folder)
        placement = placement_of(record.file) if on_map else None
        files.write_text(folder / name, json_values.dump(collection(record, class_names, placement, tolerance)) + "\n")
    return folder


def collection(
    record: ImageRecord,
    class_names: ClassNames,
    placement: Placement | Projection | None = None,
    tolerance: float = 0.0,
) -> dict[str, Any]:
    """Return a record as a feature collection: what `write` puts into its file.

    Args:
        record: The image and its objects.
        class_names: What the record's labels index.
        placement: Where the image lies on the map. None: coordinates are its pixels.
        tolerance: By how many pixels at most the corners left out of a mask's outline are off the simpler one.

    Raises:
        DatasetError: If the tolerance is not a finite number of 0 or more.
    """
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance < math.inf:
        raise DatasetError(f"expected a tolerance in pixels, 0 or more, got {quoted(tolerance)}")
    features = []
    for i, geometry in enumerate(_geometries(record, placement, tolerance)):
        properties = {
            "class": class_names[record.labels[i]],
            "difficult": bool(record.difficult[i]),
            "angle": math.degrees(record.boxes[i, 4]),
        }
        if record.scores is not None:
            properties["score"] = float(record.scores[i])
        features.append({"type": "Feature", "geometry": geometry, "properties": properties})
    collection: dict[str, Any] = {
        "type": "FeatureCollection",
        "image_id": record.image_id,
        "width": record.width,
        "height": record.height,
        "metadata": json_values.holdable(record.metadata),
    }
    authority, _, code = (placement.crs or "" if placement else "").partition(":")
    if code and (authority, code) != ("EPSG", "4326"):
        name = {"name": f"urn:ogc:def:crs:{authority}::{code}"}
        collection["crs"] = {"type": "name", "properties": name}
    return collection | {"features": features}


def _geometries(
    record: ImageRecord, placement: Placement | Projection | None, tolerance: float
) -> Iterator[dict[str, Any]]:
    """Yield each object's geometry: the outline of its mask, or its quad."""

    def placed(points: np.ndarray) -> np.ndarray:
        return points if placement is None else placement.apply(points)

    if record.masks is None:
        for corners in placed(record.corners).tolist():
            yield {"type": "Polygon", "coordinates": [[json_values.plain(point) for point in _ring(corners)]]}
        return
    for mask, quad in zip(record.masks, record.corners, strict=True):
        parts = mask.rings(tolerance) or [[quad]]
        polygons = [[_closed(placed(ring), is_hole=k > 0) for k, ring in enumerate(part)] for part in parts]
        if len(polygons) == 1:
            yield {"type": "Polygon", "coordinates": polygons[0]}
        else:
            yield {"type": "MultiPolygon", "coordinates": polygons}


def _closed(ring: np.ndarray, *, is_hole: bool) -> list[list[float]]:
    """Return a closed ring of any number of corners, counter-clockwise where y points up, a hole the other way."""
    x, y = (ring - ring[0]).T
    turns_left = np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) >= 0
    points = (ring if turns_left != is_hole else ring[::-1]).tolist()
    return [json_values.plain(point) for point in [*points, points[0]]]


def _ring(corners: list[list[float]]) -> list[list[float]]:
    """Return a closed ring, counter-clockwise where y points up, from the first corner."""
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners
    if (x2 - x0) * (y3 - y1) - (y2 - y0) * (x3 - x1) < 0:
        corners = [corners[0], *corners[:0:-1]]
    return [*corners, corners[0]]


def placement_of(image: Path) -> Placement:
    """Return where an image lies on the map: what its GeoTIFF says, else the world file beside it.

    Raises:
        DatasetError: If neither says it, or a GeoTIFF cannot be read for want of rasterio.
    """
    if (placement := find_placement(image)) is not None:
        return placement
    remedy = "Use pixels (the format geojson), or put a world file beside it."
    if image.suffix.lower() in _GEOTIFF and not _has_rasterio():
        remedy = "To read a GeoTIFF's own: pip install rbox-formats[geo]. " + remedy
    raise DatasetError("expected an image with a place on the map, found no transform", path=image, remedy=remedy)


def find_placement(image: Path) -> Placement | None:
    """Return what `placement_of` does; None where neither file gives a place.

    Raises:
        DatasetError: If a GeoTIFF or a world file is broken.
    """
    stored = _geotiff(image) if image.suffix.lower() in _GEOTIFF else None
    if stored is None:
        stored = _beside(image)
    return None if stored is None else _turned(stored, image)


def _beside(image: Path) -> Placement | None:
    """Return what a world file beside an image says."""
    path = world_file_of(image)
    return None if path is None else world_file(path)


def world_file_of(image: Path) -> Path | None:
    """Return the world file beside an image, if there is one."""
    suffix = image.suffix
    for ending in (*((f".{suffix[1]}{suffix[-1]}w", f"{suffix}w") if len(suffix) > 1 else ()), ".wld"):
        for path in (image.with_suffix(ending), image.with_suffix(ending.upper())):
            if path.is_file():
                return path
    return None


def _turned(stored: Placement, image: Path) -> Placement:
    """Return the place of an image that is turned as its file notes: maps and GDAL mean the stored pixels."""
    try:
        orientation = images.read_orientation(image)
        size = images.read_size(image) if orientation != 1 else (0, 0)
    except ImageError:
        return stored  # not a kind of image that is turned anywhere here
    if orientation == 1:
        return stored
    (a, b, c), (d, e, f) = np.array([stored[:3], stored[3:6]]) @ [*images.as_stored(size, orientation), [0, 0, 1]]
    return Placement(float(a), float(b), float(c), float(d), float(e), float(f), stored.crs)


def _has_rasterio() -> bool:
    from importlib.util import find_spec

    return find_spec("rasterio") is not None


def _geotiff(image: Path) -> Placement | None:
    """Return what a GeoTIFF says of its place; None if it says nothing, or rasterio is not installed."""
    if not _has_rasterio():
        return None
    try:
        found = images.read_map_place(image)
    except ImageError as error:
        raise DatasetError(str(error)) from error
    return None if found is None else _invertible(Placement(*found.transform, found.crs), image)


def world_file(path: Path) -> Placement:
    """Return what a world file says.

    Raises:
        DatasetError: If it is not six lines of a finite number each, or puts all pixels on a line.
    """
    lines = [line.strip() for line in split_lines(read_text(path))]
    lines = lines[: len(lines) - next((i for i, line in enumerate(reversed(lines)) if line), len(lines))]
    if len(lines) != 6:
        raise DatasetError(f"expected six lines with a number each, got {len(lines)} lines", path=path)
    numbers = []
    for number, line in enumerate(lines, start=1):
        try:
            # Some write the decimal comma of their country.
            value = float(line.replace(",", ".")) if plain_digits(line) else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise DatasetError(f"expected a finite number, got {quoted(line)}", path=path, line=number)
        numbers.append(value)
    a, d, b, e, c, f = numbers
    return _invertible(Placement(a, b, c - (a + b) / 2, d, e, f - (d + e) / 2), path)


def _invertible(placement: Placement, path: Path) -> Placement:
    """Return a place, if a point of its map is one of the image."""
    if placement.a * placement.e == placement.b * placement.d:
        raise DatasetError(
            "expected a transform that can be inverted, got one that puts all pixels on a line", path=path
        )
    return placement
