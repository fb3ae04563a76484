"""What a notebook gets: names, texts, pictures, and files for a map."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lmm_detector import Detector, Generation, Prediction, find_images, predict, read_predictions, write_geojson
from lmm_detector._prediction._geojson import check_geojson
from PIL import Image
from rbox_formats import ClassNames, draw, images, rbox_to_quad
from rbox_formats.errors import DatasetError, ImageError

NAMES = ClassNames(["plane", "ship"])


def made(path: Path | None, image_id: str = "a", **fields: Any) -> Prediction:
    values = {
        "boxes": np.array([[20.0, 10.0, 12.0, 6.0, 0.5], [30.0, 15.0, 8.0, 8.0, 0.0], [5.0, 9.0, 4.0, 2.0, -1.0]]),
        "labels": np.array([1, 0, 1]),
        "scores": np.array([0.9, 0.2, 0.6]),
        "width": 40,
        "height": 30,
        "metadata": {"status": "boxes", "windows": [{"text": "ship<loc_1>"}, {"text": "plane"}]},
    }
    return Prediction(image_id=image_id, path=path, class_names=NAMES, **{**values, **fields})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)).save(path)
    return path


def test_one_image_gives_one_result(detector: Detector, scenes: Path) -> None:
    path = find_images(scenes / "train" / "images")[0]
    for image in (path, str(path), images.load(path), Image.open(path)):
        found = detector.predict(image, Generation(max_new_tokens=60))
        (listed,) = detector.predict([image], Generation(max_new_tokens=60))
        np.testing.assert_array_equal(found.boxes, listed.boxes)
        assert found.text == listed.text == found.metadata["windows"][0]["text"]
        assert found.status == found.metadata["status"]
        assert found.names == [detector.class_names[label] for label in found.labels]
        assert found.plot().size == found.size
    assert len(found) > 0


def test_what_it_says_of_itself(file: Path) -> None:
    found = made(file)
    assert repr(found) == "<Prediction of 'a': 2 ship, 1 plane; boxes>"
    assert (found.names, found.text, found.status) == (["ship", "plane", "ship"], "ship<loc_1>\nplane", "boxes")
    sure = found.select(found.scores > 0.5)
    assert isinstance(sure, Prediction)
    assert (sure.names, sure.image_id, sure.path) == (["ship", "ship"], "a", file)
    np.testing.assert_array_equal(sure.boxes, found.boxes[[0, 2]])
    assert "no objects; boxes" in repr(sure.select([]))


def test_its_picture_is_the_images_with_the_boxes_drawn(file: Path) -> None:
    found = made(file)
    expected = draw.draw_record(images.load(file), found, NAMES)
    np.testing.assert_array_equal(np.asarray(found.plot()), np.asarray(expected))
    shown = Image.open(BytesIO(found._repr_png_()))
    np.testing.assert_array_equal(np.asarray(shown), np.asarray(expected))
    assert found.plot(max_side=20).size == (20, 15)
    with pytest.raises(ImageError, match="expected an image for 'a', found none"):
        made(None).plot()


def test_what_is_no_image(detector: Detector) -> None:
    with pytest.raises(ImageError, match="expected an image, or a list of images, got int"):
        detector.predict(5)


def test_a_file_read_back_is_what_was_predicted(detector: Detector, scenes: Path, tmp_path: Path) -> None:
    paths = find_images(scenes / "val" / "images")
    generation = Generation(max_new_tokens=40)
    out = predict(detector, paths, tmp_path / "p.jsonl", generation=generation)
    for read, found in zip(read_predictions(out, paths), detector.predict(paths, generation), strict=True):
        assert read.metadata == found.metadata
        assert read.path == found.path
        np.testing.assert_array_equal(read.boxes, found.boxes)
        assert np.asarray(read.plot()).tolist() == np.asarray(found.plot()).tolist()
    assert [read.image_id for read in read_predictions(out, paths[1:])] == [path.stem for path in paths[1:]]
    assert [read.path for read in read_predictions(out)] == [None] * 3


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
