"""Predictions as GeoParquet 1.1: a row for each object, rows that are near on the map near in the file.

Columns: `image_id`, `class`, `score` where there are some, `angle` (degrees, in the image), `geometry` as well-known
binary, and `bbox`, the extent of each geometry: by its statistics a reader skips the row groups that it need not read.

Source: geoparquet.org/releases/v1.1.0; the order along a Hilbert curve is the one of its guide for writers.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from rbox_formats import files
from rbox_formats.datasets import geojson
from rbox_formats.detection import _well_known
from rbox_formats.detection._prediction import Prediction
from rbox_formats.errors import DatasetError, said

SUFFIX = ".parquet"
_CORNERS = ("xmin", "ymin", "xmax", "ymax")

_ROWS = 50_000
"""Rows in a group: as geoparquet.org advises, some ten thousand to some hundred thousand."""

_BITS = 16
"""The Hilbert curve runs through a grid of 2**16 cells each way."""


def require_pyarrow() -> Any:
    """Return pyarrow, with its modules for columns and for Parquet.

    Raises:
        DatasetError: If it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError as error:
        raise DatasetError(
            "expected pyarrow, which writes GeoParquet, found none",
            remedy="Install it: pip install rbox-formats[geo]. Or write GeoJSON (.geojson).",
        ) from error
    return pyarrow


def write(
    found: Iterable[tuple[Prediction, geojson.Placement | geojson.Projection | None]], out: Path, tolerance: float
) -> None:
    """Write a file, whole or not at all.

    Args:
        found: The predictions on each image, and the image's place on the map, in one system of coordinates.
        out: The file.
        tolerance: By how many pixels the outlines of masks may be simplified.

    Raises:
        DatasetError: If the file cannot be written, or pyarrow is not installed.
    """
    arrow = require_pyarrow()
    rows = _Rows(arrow)
    crs: str | None = None
    for each, placement in found:
        crs = crs if placement is None else placement.crs
        rows.add(each, placement, tolerance)
    table, extents = rows.table()
    order = hilbert_order((extents[:, :2] + extents[:, 2:]) / 2)
    bounds = [*extents[:, :2].min(axis=0), *extents[:, 2:].max(axis=0)] if len(extents) else None
    about = _about(arrow, table, crs, bounds)
    # Both are binary in the file; in memory, those of a row group alone are sure to fit into the smaller.
    kinds = [
        arrow.field(field.name, arrow.binary(), False) if field.name == "geometry" else field for field in table.schema
    ]
    schema = arrow.schema(kinds, metadata={"geo": json.dumps(about, allow_nan=False)})
    options = {"compression": "zstd", "use_dictionary": ["image_id", "class"], "write_page_checksum": True}
    with files.replacing(out) as temporary, arrow.parquet.ParquetWriter(temporary, schema, **options) as writer:
        for start in range(0, len(order), _ROWS):
            writer.write_table(table.take(order[start : start + _ROWS]).cast(schema), row_group_size=_ROWS)


class _Rows:
    """Objects on their way into a table, an array for each column of each image."""

    def __init__(self, arrow: Any) -> None:
        self.arrow = arrow
        self.parts: dict[str, list[Any]] = {name: [] for name in ("image_id", "class", "score", "angle", "geometry")}
        self.extents: list[np.ndarray] = [np.zeros((0, 4))]

    def add(self, each: Prediction, placement: geojson.Placement | geojson.Projection | None, tolerance: float) -> None:
        """Add the objects of an image."""
        if not len(each):
            return
        arrow = self.arrow
        encoded, extents = _shapes(arrow, each, placement, tolerance)
        names = arrow.array(list(each.class_names), arrow.string())
        column = {
            "image_id": arrow.repeat(each.image_id, len(each)),
            "class": names.take(arrow.array(each.labels)),
            "score": arrow.nulls(len(each), arrow.float64()) if each.scores is None else arrow.array(each.scores),
            "angle": arrow.array(np.degrees(each.boxes[:, 4])),
            "geometry": encoded,
        }
        for name, values in column.items():
            self.parts[name].append(values)
        self.extents.append(extents)

    def table(self) -> tuple[Any, np.ndarray]:
        """Return all rows in the order in which they came, and the extents (N, 4) of their geometries."""
        arrow = self.arrow
        kinds = {"score": arrow.float64(), "angle": arrow.float64(), "geometry": arrow.large_binary()}
        columns = {
            name: arrow.concat_arrays(parts) if parts else arrow.array([], kinds.get(name, arrow.string()))
            for name, parts in self.parts.items()
        }
        if columns["score"].null_count == len(columns["score"]):
            del columns["score"]
        extents = np.concatenate(self.extents)
        kind = arrow.struct([arrow.field(corner, arrow.float64(), False) for corner in _CORNERS])
        corners = [arrow.array(np.ascontiguousarray(column)) for column in extents.T]
        columns["bbox"] = arrow.StructArray.from_arrays(corners, fields=list(kind))
        required = {"image_id", "class", "angle", "geometry", "bbox"}
        fields = [arrow.field(name, column.type, name not in required) for name, column in columns.items()]
        return arrow.table(list(columns.values()), schema=arrow.schema(fields)), extents


def _shapes(
    arrow: Any, each: Prediction, placement: geojson.Placement | geojson.Projection | None, tolerance: float
) -> tuple[Any, np.ndarray]:
    """Return the geometries of an image's objects as well-known binary, and their extents (N, 4)."""
    if each.masks is not None:
        features = geojson.collection(each, each.class_names, placement, tolerance)["features"]
        geometries = [feature["geometry"] for feature in features]
        encoded = [_well_known.encode(geometry) for geometry in geometries]
        return arrow.array(encoded, arrow.large_binary()), np.array([_extent(geometry) for geometry in geometries])
    corners = each.corners if placement is None else placement.apply(each.corners)
    # Counter-clockwise where y points up, from the first corner on, as in GeoJSON.
    across, along = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    turned = across[:, 0] * along[:, 1] - across[:, 1] * along[:, 0] < 0
    corners = np.where(turned[:, None, None], corners[:, [0, 3, 2, 1]], corners)
    rings = _well_known.encode_rings(corners[:, [0, 1, 2, 3, 0]])
    offsets = np.arange(len(rings) + 1, dtype=np.int64) * rings.shape[1]
    buffers = [None, arrow.py_buffer(offsets), arrow.py_buffer(rings)]
    encoded = arrow.Array.from_buffers(arrow.large_binary(), len(rings), buffers)
    return encoded, np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def _extent(geometry: dict[str, Any]) -> list[float]:
    parts = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    points = np.array([point for rings in parts for point in rings[0]])
    return [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]


def _about(arrow: Any, table: Any, crs: str | None, bounds: list[float] | None) -> dict[str, Any]:
    """Return what the file's metadata say of its geometries."""
    # The type is the second to fifth byte, the first of them the lowest.
    kinds = {kind[0] for kind in arrow.compute.binary_slice(table["geometry"], 1, 2).unique().to_pylist()}
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": [name for kind, name in ((3, "Polygon"), (6, "MultiPolygon")) if kind in kinds],
        "crs": _projjson(crs),
        "edges": "planar",
        "orientation": "counterclockwise",
        "covering": {"bbox": {corner: ["bbox", corner] for corner in _CORNERS}},
    }
    if bounds is not None:
        column["bbox"] = bounds
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _projjson(crs: str | None) -> dict[str, Any] | None:
    """Return a system of coordinates as PROJJSON; None where it is not known.

    Raises:
        DatasetError: If PROJ does not know it, or rasterio is not installed.
    """
    if crs is None:
        return None
    try:
        from rasterio.crs import CRS
    except ImportError as error:
        raise DatasetError(
            "expected rasterio, which describes a system of coordinates, found none",
            remedy="Install it: pip install rbox-formats[geo].",
        ) from error
    try:
        return CRS.from_user_input(crs).to_dict(projjson=True)
    except Exception as error:  # PROJ's words come as classes that rasterio does not make public
        raise DatasetError(f"expected a system of coordinates that PROJ knows, got {crs}: {said(error)}") from error


def hilbert_order(points: np.ndarray) -> np.ndarray:
    """Return the order of points (N, 2) along a Hilbert curve through their extent.

    Source: the function "xy2d" of en.wikipedia.org/wiki/Hilbert_curve, for many points at once.
    """
    if not len(points):
        return np.zeros(0, dtype=np.int64)
    low = points.min(axis=0)
    side = max(float((points.max(axis=0) - low).max()), np.finfo(np.float64).tiny)
    x, y = np.minimum((points - low) / side * 2**_BITS, 2**_BITS - 1).astype(np.int64).T
    place = np.zeros(len(points), dtype=np.int64)
    for bit in reversed(range(_BITS)):
        right, up = (x >> bit) & 1, (y >> bit) & 1
        place = (place << 2) | ((3 * right) ^ up)
        # In the quarters at the curve's ends it runs turned about the diagonal.
        mirrored = (up == 0) & (right == 1)
        x, y = np.where(mirrored, 2**_BITS - 1 - x, x), np.where(mirrored, 2**_BITS - 1 - y, y)
        x, y = np.where(up == 0, y, x), np.where(up == 0, x, y)
    return np.argsort(place, kind="stable")
