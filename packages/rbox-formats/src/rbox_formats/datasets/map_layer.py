"""GeoJSON and GeoPackage read: what was drawn in a geographic information system, as a dataset.

"geojson" has pixels, a file per image, as `rbox_formats.datasets.geojson` writes them: `<root>[/<split>]/<id>.geojson`.

"geojson-map" has map coordinates. A layer is a GeoJSON file (.geojson, .json) or a GeoPackage (.gpkg), as QGIS saves
them, of any name and number, or the file itself as `root`; each of its polygons becomes an object of every image that
its centre lies on. A layer that has the name of an image belongs to that image alone. The image's place on the map is
that of its GeoTIFF, else of the world file beside it; every image has one. Where the layer and the image name different
systems of coordinates, the polygons are transformed (rasterio, in the extra `geo`); GeoJSON without the member `crs` is
in longitude and latitude. Where one of the two names no system they are taken for the same.

Images are in `images` in the folder of the layers, or beside them. An image without polygons is one without objects;
how many polygons lie on no image, and how many features are points, lines or empty, is said in the log.

A polygon of four corners is the quad, clockwise on the screen from its first corner; of any other number the least
rectangle around its outer ring is taken. The parts of a multipolygon are an object each. Its class is the property
"class", or else the first of "class_name", "label", "category", "type" and "name" that the layer has, in any case;
where it has none of them and the caller names one class, that. "difficult" (true, 1) and "score" are read where they
are.

Source: RFC 7946; GeoJSON 2008, section 3; OGC 12-128r19, GeoPackage Encoding Standard.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rbox_formats import files
from rbox_formats import images as pictures
from rbox_formats._geometry import quad_around
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.datasets import _geopackage, _names, geojson
from rbox_formats.datasets._folders import image_index, split_folder
from rbox_formats.datasets.geojson import Placement
from rbox_formats.errors import DatasetError, listed, quoted, said
from rbox_formats.parsing import json_values
from rbox_formats.parsing.json_values import Value
from rbox_formats.parsing.lines import CORRECT_OR_NAME, LARGEST, MOST_CORNERS
from rbox_formats.typing import QuadsN

__all__ = ["images", "read_map", "read_pixels"]

_GEOJSON, _GEOPACKAGE = (".geojson", ".json"), ".gpkg"
_CLASS_KEYS = ("class", "class_name", "classname", "label", "category", "type", "name")
_WGS84 = "EPSG:4326"
_NO_CLASS = "Give the polygons a text property 'class', or name the one class that all are of (--class-names ship)."

_logger = logging.getLogger("rbox_formats")


class _Feature(NamedTuple):
    """A polygon: its outline as x1, y1, ..., what is said of it, the file's system, and its place in the file."""

    outline: list[float]
    properties: dict[str, Any]
    crs: str | None
    where: str
    path: Path


class _Layer(NamedTuple):
    """A file: its polygons, and what it says of its image."""

    path: Path
    features: list[_Feature]
    about: dict[str, Any]


class _Objects(NamedTuple):
    """An image's objects: quads (N, 4, 2) in pixels, and the features that they come from."""

    quads: QuadsN
    features: list[_Feature]


class _Source(NamedTuple):
    """An image: its id, its file and size, and the objects on it."""

    image_id: str
    path: Path | None
    size: tuple[int, int] | None
    objects: _Objects
    about: dict[str, Any]


def images(root: Path, split: str | None) -> Path:
    """Return where a split's images belong; see `Format.images`."""
    return (root / files.safe_name(split, root) if split else root) / "images"


def read_pixels(root: Path, split: str | None, class_names: ClassNames | None) -> Dataset:
    """Open a folder of GeoJSON files in pixels; see `rbox_formats.datasets.read`."""
    base, paths = _layer_files(root, split, _GEOJSON)
    image_files = _images_of(base)
    sources, left_out = [], Counter[str]()
    for path in paths:
        layer = _layer(path, left_out)
        quads = [quad_around(feature.outline) for feature in layer.features]
        objects = _Objects(np.array(quads, dtype=np.float64).reshape(-1, 4, 2), layer.features)
        image = image_files.get(path.stem)
        size = pictures.read_size(image) if image else layer.about.get("size")
        sources.append(_Source(path.stem, image, size, objects, layer.about.get("metadata", {})))
    return _dataset(sources, class_names, left_out, base)


def read_map(root: Path, split: str | None, class_names: ClassNames | None) -> Dataset:
    """Open layers in map coordinates; see `rbox_formats.datasets.read`."""
    base, paths = _layer_files(root, split, (*_GEOJSON, _GEOPACKAGE))
    image_files = _images_of(base)
    if not image_files:
        remedy = "Put the images (GeoTIFF, or with a world file) into its folder 'images'."
        raise DatasetError("expected images beside the layers, found none", path=base, remedy=remedy)
    left_out: Counter[str] = Counter()
    layers = [_layer(path, left_out) for path in paths]
    anywhere = [feature for layer in layers if layer.path.stem not in image_files for feature in layer.features]
    own = {layer.path.stem: layer for layer in layers if layer.path.stem in image_files}
    found = np.zeros(len(anywhere), dtype=bool)
    sources = []
    for image_id, path in image_files.items():
        size, placement = pictures.read_size(path), geojson.placement_of(path)
        everywhere = _on_image(anywhere, placement, path)
        inside = _inside(everywhere, size)
        found |= inside
        kept = [anywhere[i] for i in np.flatnonzero(inside)]
        quads, about = everywhere[inside], {}
        if (layer := own.get(image_id)) is not None:
            quads = np.concatenate([quads, _on_image(layer.features, placement, path)])
            kept, about = [*kept, *layer.features], layer.about.get("metadata", {})
        sources.append(_Source(image_id, path, size, _Objects(quads, kept), about))
    if missed := int((~found).sum()):
        left_out["polygons whose centre lies on no image"] += missed
        if missed == len(anywhere) and not any(len(source.objects.quads) for source in sources):
            unnamed = "a system that it does not name"
            first = geojson.placement_of(next(iter(image_files.values()))).crs or unnamed
            remedy = (
                f"The layer is in {anywhere[0].crs or unnamed}, the first image in {first}: save the layer in the "
                "images' system, or with its system named."
            )
            message = f"expected polygons on the images, got {missed} that lie on none"
            raise DatasetError(message, path=anywhere[0].path, remedy=remedy)
    return _dataset(sources, class_names, left_out, base)


def _layer_files(root: Path, split: str | None, suffixes: Sequence[str]) -> tuple[Path, list[Path]]:
    if root.is_file():
        return root.parent, [root]
    base = split_folder(root, split)
    found = [path for path in files.visible(base) if path.suffix.lower() in suffixes and path.is_file()]
    if not found:
        remedy = "Give the file itself, or the folder that it is in."
        raise DatasetError(f"expected layers ({', '.join(suffixes)}), found none", path=base, remedy=remedy)
    return base, found


def _images_of(base: Path) -> dict[str, Path]:
    return image_index([base / "images"]) or image_index([base])


# Layers.


def _layer(path: Path, left_out: Counter[str]) -> _Layer:
    if path.suffix.lower() == _GEOPACKAGE:
        rows = _geopackage.read(path)
        left_out["features that are no polygons"] += sum(row.outlines is None for row in rows)
        return _Layer(
            path,
            [
                _Feature(_checked(outline, row.where, path), row.properties, row.crs, row.where, path)
                for row in rows
                for outline in row.outlines or ()
            ],
            {},
        )
    document = json_values.read(path)
    if not document.has("features"):
        raise document.error("a collection of features, as GeoJSON has it")
    crs = _crs_of(document)
    features = []
    for value in document["features"].items():
        outlines = list(_outlines(value["geometry"])) if value.has("geometry") else []
        left_out["features that are no polygons"] += not outlines
        properties = value["properties"] if value.has("properties") else Value({}, path)
        if not isinstance(properties.value, dict):
            raise properties.error("an object")
        features += [_Feature(outline, properties.value, crs, value.where, path) for outline in outlines]
    about: dict[str, Any] = {"metadata": {}}
    if document.has("metadata") and isinstance(document.value["metadata"], dict):
        about["metadata"] = document.value["metadata"]
    if document.has("width") and document.has("height"):
        about["size"] = (document["width"].side(), document["height"].side())
    return _Layer(path, features, about)


def _crs_of(document: Value) -> str | None:
    """Return the system of coordinates of GeoJSON: the member `crs` of 2008, else that of RFC 7946."""
    if not document.has("crs"):
        return _WGS84
    crs = document["crs"]
    name = crs["properties"]["name"].text() if crs.has("properties") else ""
    if "CRS84" in name:
        return _WGS84
    found = re.search(r"EPSG:(?:[\d.]*:)?(\d{1,9})$", name)
    return f"EPSG:{found[1]}" if found else None


def _outlines(geometry: Value) -> Iterator[list[float]]:
    kind = geometry["type"].text()
    if kind == "Polygon":
        polygons = [geometry["coordinates"]]
    elif kind == "MultiPolygon":
        polygons = list(geometry["coordinates"].items())
    else:
        return
    for polygon in polygons:
        rings = list(polygon.items())
        if not rings:
            continue
        corners: list[float] = []
        points = list(rings[0].items())
        json_values.require_few_corners(rings[0], len(points))
        for point in points:
            if len(numbers := point.numbers()) < 2:
                raise point.error("x and y")
            corners += numbers[:2]
        yield _checked(corners, rings[0].where, polygon.path)


def _checked(corners: list[float], where: str, path: Path) -> list[float]:
    if not 6 <= len(corners) <= 2 * MOST_CORNERS or not all(abs(value) <= LARGEST for value in corners):  # nor is nan
        raise DatasetError(f"{where}: expected an outline of 3 finite points or more, got another", path=path)
    return corners


# From the map to pixels.


def _on_image(features: Sequence[_Feature], placement: Placement, image: Path) -> QuadsN:
    """Return the quads (N, 4, 2) of polygons, in pixels of an image."""
    quads = np.zeros((len(features), 4, 2))
    if not features:
        return quads
    ends = np.cumsum([0, *(len(feature.outline) // 2 for feature in features)])
    points = np.array([value for feature in features for value in feature.outline]).reshape(-1, 2)
    systems = [feature.crs for feature in features]
    for crs in dict.fromkeys(systems):
        if crs is not None and placement.crs is not None and crs != placement.crs:
            which = np.repeat([system == crs for system in systems], np.diff(ends))
            points[which] = _transformed(points[which], crs, placement.crs, features[systems.index(crs)].path)
    pixels = _to_pixels(points, placement, image)
    for i, (first, last) in enumerate(pairwise(ends)):
        corners = np.array(quad_around(pixels[first:last])).reshape(4, 2)
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = corners
        # Counter-clockwise on the map is what GeoJSON asks for; quads are clockwise on the screen.
        quads[i] = corners[[0, 3, 2, 1]] if (x2 - x0) * (y3 - y1) < (y2 - y0) * (x3 - x1) else corners
    return quads


def _to_pixels(points: np.ndarray, placement: Placement, image: Path) -> np.ndarray:
    a, b, c, d, e, f, _ = placement
    if not abs(determinant := a * e - b * d) > 0:
        raise DatasetError("expected a place on the map that can be inverted, got another", path=image)
    x, y = points[:, 0] - c, points[:, 1] - f
    # Far from the image nothing of it matters; no number may leave the range of what can be computed with.
    return np.clip(np.stack([(e * x - b * y) / determinant, (a * y - d * x) / determinant], axis=-1), -LARGEST, LARGEST)


def _transformed(points: np.ndarray, source: str, target: str, path: Path) -> np.ndarray:
    try:
        from rasterio.warp import transform
    except ImportError as error:
        remedy = "To transform coordinates: pip install rbox-formats[geo]. Or save the layer in the images' system."
        raise DatasetError(f"expected a layer in {target}, got one in {source}", path=path, remedy=remedy) from error
    try:
        x, y = transform(source, target, points[:, 0].tolist(), points[:, 1].tolist())
    except Exception as error:  # PROJ's words come as classes that rasterio does not make public
        remedy = "Without the member 'crs', GeoJSON is in longitude and latitude: save the layer with its system named."
        message = f"expected coordinates in {source} that can be transformed to {target}, got: {said(error)}"
        raise DatasetError(message, path=path, remedy=remedy) from error
    found = np.stack([np.array(x, dtype=np.float64), np.array(y, dtype=np.float64)], axis=-1)
    return np.where(np.isfinite(found), found, LARGEST)  # beyond what the target's system can hold: on no image


def _inside(quads: QuadsN, size: tuple[int, int]) -> np.ndarray:
    centres = (quads.min(axis=1) + quads.max(axis=1)) / 2
    return np.all((centres >= 0) & (centres < size), axis=-1)


# Records.


def _dataset(sources: Sequence[_Source], class_names: ClassNames | None, left_out: Counter[str], base: Path) -> Dataset:
    for what, count in left_out.items():
        if count:
            _logger.warning("%s: left out %d %s", base.name, count, what)
    features = [feature for source in sources for feature in source.objects.features]
    keys = _class_keys(features)
    only = class_names[0] if class_names is not None and len(class_names) == 1 else None
    names = class_names
    if names is None:
        names = _names.used({_class_of(feature, keys, only) for feature in features})
    return Dataset(names, list(sources), partial(_load, names=names, keys=keys, only=only))


def _class_keys(features: Sequence[_Feature]) -> dict[Path, str | None]:
    """Return which property is the class, for each file."""
    held: dict[Path, dict[str, str]] = {}
    for feature in features:
        named = held.setdefault(feature.path, {})
        for key, value in feature.properties.items():
            if value is not None:
                named.setdefault(key.casefold(), key)
    return {path: next((named[key] for key in _CLASS_KEYS if key in named), None) for path, named in held.items()}


def _class_of(feature: _Feature, keys: dict[Path, str | None], only: str | None) -> str:
    key = keys[feature.path]
    value = None if key is None else feature.properties.get(key)
    if key is None and only is not None:
        return only
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        has = listed(quoted(name) for name in feature.properties) or "none"
        wanted = f"a text as {quoted(key)}" if key else "a property with the class"
        raise DatasetError(f"{feature.where}: expected {wanted}, got {has}", path=feature.path, remedy=_NO_CLASS)
    return value.strip()


def _load(source: _Source, names: ClassNames, keys: dict[Path, str | None], only: str | None) -> ImageRecord:
    labels, difficult, scores = [], [], []
    for feature in source.objects.features:
        name = _class_of(feature, keys, only)
        if (label := names.find(name)) is None:
            remedy = CORRECT_OR_NAME.replace("line", "property")
            raise DatasetError(
                f"{feature.where}: expected a class among {listed(names)}, got {quoted(name)}",
                path=feature.path,
                remedy=remedy,
            )
        labels.append(label)
        difficult.append(feature.properties.get("difficult") in (True, 1, "true", "1"))
        score = feature.properties.get("score")
        scores.append(score if isinstance(score, int | float) and abs(score) <= LARGEST else None)
    width, height = source.size or (None, None)
    return ImageRecord.from_quads(
        source.image_id,
        source.objects.quads,
        np.array(labels, dtype=np.int64),
        difficult=np.array(difficult, dtype=bool),
        scores=np.array(scores, dtype=np.float64) if scores and None not in scores else None,
        path=source.path,
        width=width,
        height=height,
        metadata=source.about,
    )
