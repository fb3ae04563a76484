"""What was drawn in a geographic information system, as a dataset."""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets
from rbox_formats.datasets import geojson
from rbox_formats.errors import DatasetError
from rbox_testing.geopackages import geopackage, polygon, ring

SIZE = (64, 48)
# Half a metre a pixel, north up, the upper left corner at (500000, 4982960).
WORLD_FILE = "0.5\n0.0\n0.0\n-0.5\n500000.25\n4982959.75\n"
QUAD = np.array([[10.0, 20], [30, 20], [30, 44], [10, 40]])


def images(root: Path, *names: str) -> Path:
    (root / "images").mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("L", SIZE).save(root / "images" / f"{name}.png")
        (root / "images" / f"{name}.pgw").write_text(WORLD_FILE)
    return root


def on_map(pixels: Any) -> list[list[float]]:
    """By hand: half a metre a pixel, y up."""
    return [[500000 + x / 2, 4982960 - y / 2] for x, y in np.asarray(pixels).tolist()]


def feature(points: Sequence[Any], kind: str = "Polygon", **properties: Any) -> dict[str, Any]:
    rings = [ring(list(points))]
    coordinates = {"Polygon": rings, "MultiPolygon": [rings, rings], "Point": points[0]}[kind]
    return {"type": "Feature", "properties": properties, "geometry": {"type": kind, "coordinates": coordinates}}


def layer(root: Path, *features: Any, name: str = "labels.geojson", **other: Any) -> Path:
    text = json.dumps({"type": "FeatureCollection", "name": "labels", "features": list(features), **other})
    (root / name).write_text(text)
    return root


def test_a_layer_on_images_with_a_place_looks_like_a_map(tmp_path: Path) -> None:
    """And one in pixels beside the same images does not."""
    layer(images(tmp_path / "map", "P1"), feature(on_map(QUAD), label="ship"))
    layer(images(tmp_path / "pixels", "P1"), feature(QUAD.tolist(), label="ship"), name="P1.geojson")
    found = [datasets.guess(tmp_path / name) for name in ("map", "pixels")]
    assert [each and each.format for each in found] == ["geojson-map", "geojson"]


def test_a_layer_of_polygons(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    far = [[x + 1000, y] for x, y in on_map(QUAD)]
    five = [[0, 0], [20, 0], [20, 10], [10, 10], [0, 10]]
    layer(
        images(tmp_path, "P1"),
        feature(on_map(QUAD), label="ship", fid=1),
        feature(on_map(five), label="plane", difficult=True),
        feature(on_map(QUAD), "MultiPolygon", label="ship"),
        feature(far, label="ship"),
        feature(on_map(QUAD), "Point", label="ship"),
        {"type": "Feature", "properties": {"label": "ship"}, "geometry": None},
    )
    with caplog.at_level(logging.WARNING):
        dataset = datasets.read("geojson-map", tmp_path)
    assert dataset.class_names == ("plane", "ship")
    (record,) = dataset
    assert (record.image_id, record.file, record.size) == ("P1", tmp_path / "images" / "P1.png", SIZE)
    assert record.labels.tolist() == [1, 0, 1, 1]
    assert record.difficult.tolist() == [False, True, False, False]
    np.testing.assert_allclose(record.corners[0], QUAD, atol=1e-6)
    np.testing.assert_allclose(record.boxes[1], [10, 5, 20, 10, 0], atol=1e-6)
    assert sorted(message.split(": ")[1] for message in caplog.messages) == [
        "left out 1 polygons whose centre lies on no image",
        "left out 2 features that are no polygons",
    ]


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    quads = np.array([QUAD, QUAD[[1, 2, 3, 0]]])
    record = ImageRecord.from_quads(
        "P1", quads, [1, 0], difficult=[False, True], scores=[0.5, 0.25], width=64, height=48, metadata={"gsd": "0.5"}
    )
    names = ClassNames(["plane", "ship"])
    datasets.write("geojson", [record], tmp_path, "train", names)
    (again,) = datasets.read("geojson", tmp_path, "train", names)
    images(tmp_path / "map", "P1")
    there = ImageRecord.from_quads("P1", quads, [1, 0], path=tmp_path / "map" / "images" / "P1.png", scores=[0.5, 0.25])
    datasets.write("geojson-map", [there], tmp_path / "map", None, names)
    (mapped,) = datasets.read("geojson-map", tmp_path / "map", None, names)
    assert (again.size, again.metadata, again.difficult.tolist()) == ((64, 48), {"gsd": "0.5"}, [False, True])
    for found in (again, mapped):
        np.testing.assert_allclose(found.corners, quads, atol=1e-6)
        assert found.labels.tolist() == [1, 0]
        assert found.scores is not None
        assert found.scores.tolist() == [0.5, 0.25]


def test_several_images(tmp_path: Path) -> None:
    """An object lies on the image that its centre is on; a layer named like an image is that one's alone."""
    images(tmp_path, "P1", "P2", "P3")
    (tmp_path / "images" / "P2.pgw").write_text(WORLD_FILE.replace("500000.25", "500032.25"))  # the next to the east
    (tmp_path / "images" / "P3.pgw").write_text(WORLD_FILE.replace("500000.25", "600000.25"))
    right = [[60, 10], [80, 10], [80, 20], [60, 20]]
    layer(tmp_path, feature(on_map(QUAD), name="ship"), feature(on_map(right), name="ship"))
    layer(tmp_path, feature(on_map([[-90, 0], [-80, 0], [-80, 9]]), Class="plane"), name="P1.geojson")
    first, second, third = datasets.read("geojson-map", tmp_path)
    assert (first.labels.tolist(), second.labels.tolist(), len(third)) == ([1, 0], [1], 0)
    np.testing.assert_allclose(second.corners[0], np.array(right) - [64, 0], atol=1e-6)


rasterio = pytest.importorskip("rasterio")


def geotiff(path: Path, crs: str | None = "EPSG:32631") -> None:
    from rasterio.transform import Affine

    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"driver": "GTiff", "width": 64, "height": 48, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", **about, crs=crs, transform=Affine(0.5, 0, 500000, 0, -0.5, 4982960)) as file:
        file.write(np.zeros((1, 48, 64), dtype=np.uint8))


def test_longitude_and_latitude_on_an_image_in_metres(tmp_path: Path) -> None:
    """3 degrees east is the middle of UTM's zone 31: x is 500000; y at 45 degrees is 4982950.40, the arc along the
    meridian (4984944.38 m on WGS 84) times 0.9996. That is the image's left border, 19.2 pixels from the top."""
    geotiff(tmp_path / "images" / "P1.tif")
    degree = 111131.78 * 0.9996  # of latitude at 45 degrees
    points = [[3.0, 45.0], [3.00013, 45.0], [3.00013, 45 - 10 / degree], [3.0, 45 - 10 / degree]]
    layer(tmp_path, feature(points, label="ship"))
    (record,) = datasets.read("geojson-map", tmp_path)
    np.testing.assert_allclose(record.corners[0, 0], [0, 19.2], atol=0.02)
    np.testing.assert_allclose(record.corners[0, 3], [0, 39.2], atol=0.02)
    # The same in the image's own system, named as QGIS does.
    named = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32631"}}
    layer(tmp_path, feature(on_map(record.corners[0]), label="ship"), crs=named)
    (again,) = datasets.read("geojson-map", tmp_path)
    np.testing.assert_allclose(again.corners, record.corners, atol=1e-6)


def test_a_layer_in_another_system_that_nobody_named(tmp_path: Path) -> None:
    geotiff(tmp_path / "images" / "P1.tif")
    layer(tmp_path, feature(on_map(QUAD), label="ship"))  # metres, without crs: taken for degrees
    with pytest.raises(
        DatasetError, match=r"expected coordinates in EPSG:4326 that can be .*\nWithout the member 'crs'"
    ):
        datasets.read("geojson-map", tmp_path)
    layer(tmp_path, feature([[1, 2], [3, 2], [3, 4]], label="ship"))  # degrees, elsewhere
    with pytest.raises(
        DatasetError, match=r"expected polygons on the images, got 1 that lie on none\nThe layer is in EP"
    ):
        datasets.read("geojson-map", tmp_path)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("z", [0, 1])
def test_a_geopackage(order: str, z: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    geotiff(tmp_path / "images" / "P1.tif")
    one = polygon(on_map(QUAD), order, z)
    enveloped = one[:3] + bytes([one[3] | 2]) + one[4:8] + bytes(32) + one[8:]
    plain = struct.pack("<BIII", 1, 6, 2, 0)[:9] + polygon(on_map(QUAD))[8:] * 2  # a multipolygon
    point = b"GP\x00\x01" + struct.pack("<iBIdd", 32631, 1, 1, 5.0, 6.0)
    path = geopackage(
        tmp_path / "labels.gpkg",
        (one, "ship"),
        (enveloped, "ship"),
        (one[:8] + plain, "plane"),
        (point, "ship"),
        (None, "ship"),
    )
    with caplog.at_level(logging.WARNING):
        for source in (tmp_path, path):
            dataset = datasets.read("geojson-map", source)
            (record,) = dataset
            assert [dataset.class_names[label] for label in record.labels] == ["ship", "ship", "plane", "plane"]
            np.testing.assert_allclose(record.corners, [QUAD] * 4, atol=1e-6)
    assert "left out 2 features that are no polygons" in caplog.text


BAD_GEOMETRIES = {
    b"xx": "no geometry of a GeoPackage",
    b"GP\x00": "index out of range",
    b"GP\x00\x01" + struct.pack("<iBIII", 0, 1, 3, 1, 4_000_000_000): "an outline of 4,000,000,000 corners",
    b"GP\x00\x01" + struct.pack("<iBIII", 0, 1, 3, 1, 5): "unpack_from requires",
    b"GP\x00\x01" + struct.pack("<iB", 0, 9): "9",
}


@pytest.mark.parametrize("blob", BAD_GEOMETRIES)
def test_broken_geometries(blob: bytes, tmp_path: Path) -> None:
    geotiff(tmp_path / "images" / "P1.tif")
    geopackage(tmp_path / "labels.gpkg", (blob, "ship"))
    message = rf"labels\.gpkg: row 1 of 'my labels': expected a whole geometry, got: .*{BAD_GEOMETRIES[blob]}"
    with pytest.raises(DatasetError, match=message):
        datasets.read("geojson-map", tmp_path)
    (tmp_path / "labels.gpkg").write_bytes(b"no database")
    with pytest.raises(
        DatasetError, match=r"labels\.gpkg: expected a GeoPackage, got a file that is no SQLite database"
    ):
        datasets.read("geojson-map", tmp_path)


BAD: list[tuple[Any, str]] = [
    (
        [feature(on_map(QUAD), size=3)],
        r"features\[0\]: expected a property with the class, got 'size'\nGive the polygons",
    ),
    ([feature(on_map(QUAD), label=None)], r"features\[0\]: expected a property with the class, got 'label'"),
    (
        [feature(on_map(QUAD), label="a"), feature(on_map(QUAD), label="")],
        r"features\[1\]: expected a text as 'label', got 'label'",
    ),
    (
        [{"geometry": {"type": "Polygon", "coordinates": [[[1, 2], [3, 4]]]}}],
        r"coordinates\[0\]: expected an outline of 3 finite points or more",
    ),
    ([{"geometry": {"type": "Polygon", "coordinates": [[[1]]]}}], r"coordinates\[0\]\[0\]: expected x and y"),
    ([{"properties": 3, "geometry": {"type": "Polygon", "coordinates": []}}], r"properties: expected an object"),
]


@pytest.mark.parametrize(("features", "message"), BAD)
def test_bad_layers(features: Any, message: str, tmp_path: Path) -> None:
    layer(images(tmp_path, "P1"), *features)
    with pytest.raises(DatasetError, match=r"labels\.geojson: .*" + message):
        list(datasets.read("geojson-map", tmp_path))


def test_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected layers \(\.geojson, \.json, \.gpkg\), found none"):
        datasets.read("geojson-map", tmp_path)
    layer(tmp_path, feature(on_map(QUAD), size=3))
    with pytest.raises(DatasetError, match=r"expected images beside the layers, found none\nPut the images"):
        datasets.read("geojson-map", tmp_path)
    images(tmp_path, "P1")
    (record,) = datasets.read("geojson-map", tmp_path, class_names=["ship"])  # one class: no property needed
    assert record.labels.tolist() == [0]
    layer(tmp_path, feature(on_map(QUAD), label="tram"))
    with pytest.raises(DatasetError, match=r"features\[0\]: expected a class among ship, got 'tram'"):
        list(datasets.read("geojson-map", tmp_path, class_names=["ship"]))
    (tmp_path / "images" / "P1.pgw").unlink()
    with pytest.raises(DatasetError, match=r"P1\.png: expected an image with a place on the map"):
        datasets.read("geojson-map", tmp_path)
    assert geojson.find_placement(tmp_path / "images" / "P1.png") is None
