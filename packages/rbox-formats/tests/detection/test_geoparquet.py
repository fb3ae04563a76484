"""Predictions as GeoParquet, read back by pyarrow and shapely, against the rules of geoparquet.org/releases/v1.1.0."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from rbox_formats import rbox_to_quad
from rbox_formats.detection import _geoparquet, check_geojson, write_geojson
from rbox_formats.errors import DatasetError
from rbox_testing.small_prediction import made

rasterio = pytest.importorskip("rasterio")


def placed(folder: Path, name: str, corner: tuple[float, float] = (1000, 5000), crs: str | None = "EPSG:32631") -> Path:
    path = folder / f"{name}.tif"
    transform = rasterio.Affine(2, 0, corner[0], 0, -2, corner[1])  # two metres a pixel, north up
    profile = {"driver": "GTiff", "width": 40, "height": 30, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, transform=transform, crs=crs) as target:
        target.write(np.zeros((3, 30, 40), dtype=np.uint8))
    return path


def read(path: Path) -> tuple[dict[str, Any], dict[str, list], np.ndarray]:
    """Return what the metadata say of the geometries, the columns, and shapely's geometries."""
    table = pq.read_table(path)
    about = json.loads(table.schema.metadata[b"geo"])
    assert about["version"] == "1.1.0"
    assert about["primary_column"] == "geometry"
    assert list(about["columns"]) == ["geometry"]
    assert str(table.schema.field("geometry").type) == "binary"
    columns = {name: table[name].to_pylist() for name in table.schema.names if name != "geometry"}
    geometries = shapely.from_wkb(table["geometry"].to_pylist())
    column = about["columns"]["geometry"]
    assert column["encoding"] == "WKB"
    assert column["geometry_types"] == sorted({each.geom_type for each in geometries}, key=len)
    assert column["covering"] == {"bbox": {key: ["bbox", key] for key in ("xmin", "ymin", "xmax", "ymax")}}
    assert list(map(list, map(dict.values, columns["bbox"]))) == shapely.bounds(geometries).tolist()
    for each in geometries:
        for part in getattr(each, "geoms", [each]):
            assert part.exterior.is_ccw  # as "orientation" says
            assert not any(hole.is_ccw for hole in part.interiors)
    assert column["orientation"] == "counterclockwise"
    if len(geometries):
        assert column["bbox"] == shapely.total_bounds(geometries).tolist()
    return column, columns, geometries


def test_what_is_written_is_where_geojson_has_it(tmp_path: Path) -> None:
    paths = [placed(tmp_path, "a"), placed(tmp_path, "b", (3000, 5000))]
    found = [made(path, path.stem) for path in paths]
    check_geojson(paths, tmp_path / "x.parquet")
    about, columns, geometries = read(write_geojson(found, tmp_path / "deep" / "x.parquet"))
    assert about["crs"]["id"] == {"authority": "EPSG", "code": 32631}
    assert about["crs"]["type"] == "ProjectedCRS"
    expected = json.loads(write_geojson(found, tmp_path / "x.geojson").read_text())["features"]
    order = [
        next(
            place
            for place, feature in enumerate(expected)
            if shapely.geometry.shape(feature["geometry"]).equals_exact(each, 1e-9)
        )
        for each in geometries
    ]
    assert sorted(order) == list(range(6))
    for name in ("image_id", "class", "score", "angle"):
        assert columns[name] == [expected[place]["properties"][name] for place in order]
    assert columns["image_id"] in (["a"] * 3 + ["b"] * 3, ["b"] * 3 + ["a"] * 3)  # by place
    assert [path.name for path in tmp_path.rglob(".*")] == []


def test_row_groups_are_of_one_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the statistics of `bbox` alone, most row groups need not be read for the map of a place."""
    monkeypatch.setattr(_geoparquet, "_ROWS", 25)
    rng = np.random.default_rng(0)
    path = placed(tmp_path, "a")
    boxes = np.concatenate([rng.uniform(0, 10_000, (1600, 2)), np.full((1600, 3), 4.0)], axis=1)
    many = made(path, boxes=boxes, labels=np.zeros(1600, int), scores=rng.random(1600))
    out = write_geojson(many, tmp_path / "x.parquet")
    read(out)
    metadata = pq.read_metadata(out)
    assert metadata.num_row_groups == 64
    areas = []
    for number in range(64):
        group = metadata.row_group(number)
        named = {
            group.column(place).path_in_schema: group.column(place).statistics for place in range(group.num_columns)
        }
        low, high = (np.array([getattr(named[f"bbox.{axis}{side}"], side) for axis in "xy"]) for side in ("min", "max"))
        areas.append(np.prod(high - low))
    # 64 squares side by side have the whole extent's area; rows in the order of the input 64 times as much.
    assert sum(areas) < 3 * (20_000**2)


def test_the_order_runs_along_a_hilbert_curve() -> None:
    """It goes through each cell of a grid, and always to a neighbour."""
    points = np.stack(np.meshgrid(np.arange(32), np.arange(32)), axis=-1).reshape(-1, 2)
    ordered = points[_geoparquet.hilbert_order(points.astype(float))]
    assert len(np.unique(ordered, axis=0)) == 32 * 32
    assert np.abs(np.diff(ordered, axis=0)).sum(axis=1).tolist() == [1] * (32 * 32 - 1)
    assert _geoparquet.hilbert_order(np.full((3, 2), 7.0)).tolist() == [0, 1, 2]


def test_masks_are_outlines_with_parts_and_holes(tmp_path: Path) -> None:
    path = placed(tmp_path, "a")
    pixels = np.zeros((3, 30, 40), dtype=bool)
    pixels[0, 2:12, 2:12] = pixels[1, 1:3, 20:25] = pixels[1, 9:14, 20:25] = pixels[2, 20:25, 3:9] = True
    pixels[0, 5:8, 5:8] = False
    found = made(path, masks=list(pixels))
    about, _, geometries = read(write_geojson(found, tmp_path / "x.parquet"))
    assert about["geometry_types"] == ["Polygon", "MultiPolygon"]
    assert sorted(shapely.area(geometries).tolist()) == sorted((4 * pixels.sum(axis=(1, 2))).tolist())


def test_without_scores_system_or_objects(tmp_path: Path) -> None:
    about, columns, _ = read(write_geojson(made(placed(tmp_path, "a"))[[]], tmp_path / "x.parquet"))
    assert columns == {"image_id": [], "class": [], "angle": [], "bbox": []}
    assert "bbox" not in about
    unnamed = placed(tmp_path, "b", crs=None)
    about, columns, geometries = read(write_geojson(made(unnamed, scores=None), tmp_path / "x.parquet"))
    assert about["crs"] is None
    assert "score" not in columns
    corners = rbox_to_quad(made(None).boxes) * [2, -2] + [1000, 5000]
    np.testing.assert_allclose(
        sorted(shapely.area(geometries)), sorted(shapely.area(shapely.polygons(corners))), rtol=1e-9
    )


def test_what_cannot_be_written(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = "expected an image with a place on the map for a GeoParquet file, found no transform"
    for attempt in (
        lambda: check_geojson([file], tmp_path / "x.parquet"),
        lambda: write_geojson(made(file), tmp_path / "x.parquet"),
    ):
        with pytest.raises(DatasetError, match=message):
            attempt()
    two = [placed(tmp_path, "b"), placed(tmp_path, "c", crs="EPSG:32632")]
    with pytest.raises(DatasetError, match="expected coordinates of one system"):
        write_geojson([made(path, path.stem) for path in two], tmp_path / "x.parquet")
    about, *_ = read(write_geojson([made(path, path.stem) for path in two], tmp_path / "y.parquet", crs="EPSG:4326"))
    assert about["crs"]["id"]["code"] == 4326
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DatasetError, match=r"(?s)expected pyarrow.*pip install rbox-formats\[geo\]"):
        check_geojson(two[:1], tmp_path / "x.parquet")
    assert not (tmp_path / "x.parquet").exists()
