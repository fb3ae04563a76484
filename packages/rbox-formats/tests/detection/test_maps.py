"""Predictions for a map: GeoJSON and GeoPackage, read back by rasterio's and GDAL's own eyes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rbox_formats import datasets, rbox_to_quad
from rbox_formats.detection import check_geojson, write_geojson
from rbox_formats.errors import DatasetError
from rbox_testing.small_prediction import made


def rings(collection: dict[str, Any]) -> np.ndarray:
    found = np.array([feature["geometry"]["coordinates"][0] for feature in collection["features"]])
    np.testing.assert_array_equal(found[:, 0], found[:, -1])
    return np.sort(found[:, :-1], axis=1)


def test_geojson_of_many_images_in_one_file(file: Path, tmp_path: Path) -> None:
    out = write_geojson([made(file), made(None, "é"), made(None, "none").select([])], tmp_path / "deep" / "x.geojson")
    collection = json.loads(out.read_text(encoding="utf-8"))
    assert collection["type"] == "FeatureCollection"
    properties = [feature["properties"] for feature in collection["features"]]
    assert [each["image_id"] for each in properties] == ["a"] * 3 + ["é"] * 3
    assert [each["class"] for each in properties] == ["ship", "plane", "ship"] * 2
    assert [each["score"] for each in properties] == [0.9, 0.2, 0.6] * 2
    corners = np.sort(rbox_to_quad(made(None).boxes), axis=1)
    np.testing.assert_allclose(rings(collection), np.concatenate([corners, corners]))
    empty = json.loads(write_geojson([], out).read_text())
    assert empty == {"type": "FeatureCollection", "features": []}
    assert len(json.loads(write_geojson(made(file), out).read_text())["features"]) == 3


def placed(folder: Path, name: str, crs: str | None = "EPSG:32631") -> Path:
    rasterio = pytest.importorskip("rasterio")
    path = folder / f"{name}.tif"
    transform = rasterio.Affine(2, 0, 1000, 0, -2, 5000)  # two metres a pixel, north up
    profile = {"driver": "GTiff", "width": 40, "height": 30, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, transform=transform, crs=crs) as target:
        target.write(np.zeros((3, 30, 40), dtype=np.uint8))
    return path


def test_geojson_of_geotiffs_is_in_map_coordinates(tmp_path: Path) -> None:
    paths = [placed(tmp_path, "a"), placed(tmp_path, "b")]
    check_geojson(paths, tmp_path / "x.geojson")
    out = write_geojson([made(path, path.stem) for path in paths], tmp_path / "x.geojson")
    collection = json.loads(out.read_text())
    assert collection["crs"]["properties"]["name"] == "urn:ogc:def:crs:EPSG::32631"
    corners = rbox_to_quad(made(None).boxes) * [2, -2] + [1000, 5000]
    np.testing.assert_allclose(rings(collection)[:3], np.sort(corners, axis=1))


def test_geojson_of_images_without_a_common_system(file: Path, tmp_path: Path) -> None:
    paths = [placed(tmp_path, "b"), file]
    found = [made(path, path.stem) for path in paths]
    for attempt in (lambda: write_geojson(found, tmp_path / "x.geojson"), lambda: check_geojson(paths, "x.geojson")):
        with pytest.raises(DatasetError, match=r"(?s)expected coordinates of one system.*EPSG:32631.*pixels.*a folder"):
            attempt()
    assert not (tmp_path / "x.geojson").exists()
    with pytest.raises(DatasetError, match="expected coordinates of one system"):
        check_geojson([placed(tmp_path, "b"), placed(tmp_path, "c", "EPSG:32632")], "x.geojson")
    check_geojson(paths, tmp_path / "folder")
    folder = write_geojson(found, tmp_path / "folder")
    assert sorted(path.name for path in folder.iterdir()) == ["a.geojson", "b.geojson"]
    assert json.loads((folder / "b.geojson").read_text())["crs"]
    assert json.loads((folder / "a.geojson").read_text())["metadata"] == {"status": "boxes"}
    with pytest.raises(DatasetError, match="expected another file to write to"):
        check_geojson([file], file)


def test_coordinates_are_converted_to_another_system(tmp_path: Path) -> None:
    """pyproj's numbers for UTM zone 31 north, by hand: 500,000 m east of its false origin is 3 degrees east."""
    rasterio = pytest.importorskip("rasterio")
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "width": 40, "height": 30, "count": 3, "dtype": "uint8", "crs": "EPSG:32631"}
    with rasterio.open(path, "w", **profile, transform=rasterio.Affine(2, 0, 500_000, 0, -2, 0)) as target:
        target.write(np.zeros((3, 30, 40), dtype=np.uint8))
    check_geojson([path], tmp_path / "x.geojson", crs="EPSG:4326")
    found = json.loads(write_geojson(made(path), tmp_path / "x.geojson", crs="epsg:4326").read_text())
    assert "crs" not in found  # RFC 7946 has longitude and latitude unless said otherwise
    # A metre is 1 / (0.9996 * 6,378,137) radians of longitude there, 1 / (0.9996 * 6,335,439) of latitude.
    metres = rbox_to_quad(made(None).boxes) * [2, -2]
    expected = np.degrees(metres / 0.9996 / [6_378_137, 6_335_439.327]) + np.array([3, 0])
    np.testing.assert_allclose(rings(found), np.sort(expected, axis=1), atol=1e-9)
    assert made(path).to_geojson(crs="EPSG:4326")["features"][0]["geometry"] == found["features"][0]["geometry"]


def test_a_geopackage_is_what_gdal_reads_back(tmp_path: Path) -> None:
    raw = pytest.importorskip("pyogrio.raw")
    paths = [placed(tmp_path, "a"), placed(tmp_path, "b")]
    out = write_geojson([made(path, path.stem) for path in paths], tmp_path / "x.gpkg")
    about, _, geometries, columns = raw.read(out)
    assert about["crs"] == "EPSG:32631"
    assert about["geometry_type"] == "Polygon"
    table = dict(zip(about["fields"], columns, strict=True))
    assert table["image_id"].tolist() == ["a"] * 3 + ["b"] * 3
    assert table["class"].tolist() == ["ship", "plane", "ship"] * 2
    assert table["score"].tolist() == [0.9, 0.2, 0.6] * 2
    corners = [np.frombuffer(each, "<f8", offset=13).reshape(5, 2)[:4] for each in geometries]
    expected = rbox_to_quad(made(None).boxes) * [2, -2] + [1000, 5000]
    np.testing.assert_allclose(np.sort(corners[:3], axis=1), np.sort(expected, axis=1))
    # And what our own reader makes of it on the images.
    read = datasets.read("geojson-map", out)
    assert [len(record) for record in read] == [6, 6]  # both images lie in one place
    assert list(tmp_path.glob(".*")) == []


def test_a_geopackage_of_nothing(tmp_path: Path) -> None:
    pyogrio = pytest.importorskip("pyogrio")
    out = write_geojson([made(placed(tmp_path, "a"))[[]]], tmp_path / "x.gpkg")
    assert pyogrio.read_info(out)["features"] == 0


def test_what_cannot_be_on_a_map(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyogrio")
    unnamed = placed(tmp_path, "unnamed", None)
    for path, out, crs, message in (
        (file, "x.gpkg", None, "expected an image with a place on the map for a GeoPackage"),
        (file, "x.geojson", "EPSG:4326", "got one with no place on the map"),
        (unnamed, "x.geojson", "EPSG:4326", "got one with a place on the map whose system is not named"),
        (unnamed, "x.geojson", "EPSG:123456789", "expected a system of coordinates, got 'EPSG:123456789'"),
        (unnamed, "x.geojson", "+proj=aeqd +lat_0=3.3", "expected a system of coordinates that has a code"),
    ):
        with pytest.raises(DatasetError, match=message.replace("+", r"\+")):
            check_geojson([path], tmp_path / out, crs=crs)
        with pytest.raises(DatasetError):
            write_geojson(made(path), tmp_path / out, crs=crs)
        assert not (tmp_path / out).exists()
    monkeypatch.setitem(sys.modules, "pyogrio", None)
    with pytest.raises(DatasetError, match=r"(?s)expected pyogrio.*pip install rbox-formats\[geo\]"):
        check_geojson([placed(tmp_path, "b")], tmp_path / "x.gpkg")
