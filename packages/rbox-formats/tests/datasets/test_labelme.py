from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets
from rbox_formats.errors import DatasetError, ImageError

SQUARE = [[10, 20], [30, 20], [30, 40], [10, 40]]


def shape(points: Any = SQUARE, **other: Any) -> dict[str, Any]:
    return {"label": "ship", "points": points, "shape_type": "polygon", **other}


def make(root: Path, *shapes: Any, **other: Any) -> Path:
    document = {"version": "4.5.6", "flags": {"good": True}, "shapes": list(shapes), "imagePath": "P1.png", **other}
    document |= {"imageHeight": 48, "imageWidth": 64, "imageData": "aGVsbG8="}
    root.mkdir(exist_ok=True, parents=True)
    (root / "P1.json").write_text(json.dumps(document), encoding="utf-8")
    return root


def test_a_file(tmp_path: Path) -> None:
    make(tmp_path, shape(), shape(label="Plane", group_id=3), lineColor=[0, 1])
    Image.new("L", (70, 50)).save(tmp_path / "P1.png")
    dataset = datasets.read("labelme", tmp_path)
    assert dataset.class_names == ("Plane", "ship")
    (record,) = dataset
    assert (record.image_id, record.file, record.size) == ("P1", tmp_path / "P1.png", (70, 50))
    assert record.quads[0].tolist() == SQUARE
    assert record.labels.tolist() == [1, 0]
    assert record.metadata == {"version": "4.5.6", "flags": {"good": True}, "lineColor": [0, 1]}


SHAPES: dict[str, tuple[dict[str, Any], list[list[float]]]] = {
    "four points": (shape(), SQUARE),
    "no type": ({"label": "ship", "points": SQUARE}, SQUARE),
    "rectangle": (shape([[30, 40], [10, 20]], shape_type="rectangle"), SQUARE),
    "rectangle of four": (shape(shape_type="rectangle"), SQUARE),
    "rotation": (shape(shape_type="rotation", direction=1.5), SQUARE),
    "oriented": (shape(shape_type="oriented_rectangle"), SQUARE),
    "circle": (shape([[20, 30], [26, 38]], shape_type="circle"), SQUARE),
    "mask": (shape([[10, 20], [30, 40]], shape_type="mask", mask="aGVsbG8="), SQUARE),
    "five points": (shape([*SQUARE, [10, 30]]), SQUARE),
    "closed": (shape([[10, 20], [30, 22], [33, 40], [8, 41], [10, 20]]), [[10, 20], [30, 22], [33, 40], [8, 41]]),
    "triangle": (shape([[10, 20], [30, 20], [15, 40]]), SQUARE),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(name: str, tmp_path: Path) -> None:
    drawn, expected = SHAPES[name]
    (record,) = datasets.read("labelme", make(tmp_path, drawn))
    np.testing.assert_allclose(sorted(record.quads[0].tolist()), sorted(expected), atol=1e-9)


@pytest.mark.parametrize("other", [{"flags": {"difficult": True}}, {"difficult": True}, {"flags": {"difficult": 1}}])
def test_difficult_objects(other: dict[str, Any], tmp_path: Path) -> None:
    (record,) = datasets.read("labelme", make(tmp_path, shape(), shape(**other), shape(flags={"hidden": True})))
    assert record.difficult.tolist() == [False, True, False]


@pytest.mark.parametrize("name", ["../images/P7.png", "..\\images\\P7.png", "./../images/P7.png", "..//images//P7.png"])
def test_an_image_elsewhere_in_the_dataset(name: str, tmp_path: Path) -> None:
    make(tmp_path / "train", imagePath=name)
    (tmp_path / "images").mkdir()
    Image.new("L", (9, 8)).save(tmp_path / "images" / "P7.png")
    (record,) = datasets.read("labelme", tmp_path, "train", ["ship"])
    assert (record.image_id, record.file) == ("P1", tmp_path / "images" / "P7.png")


def test_an_image_that_is_not_there(tmp_path: Path) -> None:
    make(tmp_path, imagePath="renamed.png")
    (record,) = datasets.read("labelme", tmp_path)
    assert (record.path, record.size) == (None, (64, 48))
    Image.new("L", (9, 8)).save(tmp_path / "P1.jpg")
    (record,) = datasets.read("labelme", tmp_path)
    assert record.file == tmp_path / "P1.jpg"


BAD_SHAPES: list[tuple[Any, str]] = [
    (3, r"shapes\[1\]: expected an object, got a number 3"),
    ({"label": "ship"}, r"shapes\[1\]: expected a key 'points', got 'label'"),
    ({"points": SQUARE}, r"shapes\[1\]: expected a key 'label', got 'points'"),
    (shape(label=None), r"shapes\[1\]\.label: expected a string, got null"),
    (shape(label="tram"), r'shapes\[1\]\.label: expected a class among ship, got a string "tram"\nCorrect the label'),
    (
        shape(shape_type="spline"),
        r"shapes\[1\]\.shape_type: expected a shape with an area, among polygon, .*\nRemove the shape",
    ),
    (shape(shape_type=1), r"shapes\[1\]\.shape_type: expected a string, got a number 1"),
    (shape(SQUARE[:2]), r"shapes\[1\]\.points: expected at least 3 points of a polygon, got 2"),
    (shape(SQUARE[:3], shape_type="rectangle"), r"shapes\[1\]\.points: expected 2 or 4 points of a rectangle, got 3"),
    (shape(SQUARE[:3], shape_type="rotation"), r"shapes\[1\]\.points: expected 4 points of a rotation, got 3"),
    (shape([[1, 2, 3], *SQUARE]), r"shapes\[1\]\.points\[0\]: expected x and y, got an array \[1, 2, 3\]"),
    (
        shape([[1, float("nan")], *SQUARE]),
        r"shapes\[1\]\.points\[0\]\[1\]: expected a finite number .*, got a number NaN",
    ),
    (shape([["1", 2], *SQUARE]), r'shapes\[1\]\.points\[0\]\[0\]: expected a number, got a string "1"'),
    (shape(flags=3), r"shapes\[1\]\.flags: expected an object, got a number 3"),
    (shape(difficult="no"), r'shapes\[1\]\.difficult: expected 0, 1, true or false, got a string "no"'),
]


@pytest.mark.parametrize(("drawn", "message"), BAD_SHAPES)
def test_bad_shapes(drawn: Any, message: str, tmp_path: Path) -> None:
    make(tmp_path, shape(), drawn)
    with pytest.raises(DatasetError, match=r"P1\.json: " + message):
        list(datasets.read("labelme", tmp_path, class_names=["ship"]))


@pytest.mark.parametrize("name", ["../P1.png", "..\\P1.png", "/P1.png", "C:\\P1.png", "a/../../P1.png", "a/C:P1.png"])
def test_image_paths_that_lead_out(name: str, tmp_path: Path) -> None:
    """Of them the last part is looked for, in the dataset's folder alone."""
    Image.new("L", (9, 8)).save(tmp_path / "P1.png")
    make(tmp_path / "set", imagePath=name)
    (record,) = datasets.read("labelme", tmp_path / "set")
    assert record.path is None


@pytest.mark.parametrize("name", ["", "a/", ".."])
def test_image_paths_of_no_file(name: str, tmp_path: Path) -> None:
    make(tmp_path / "set", imagePath=name)
    with pytest.raises(
        DatasetError, match=r"P1\.json: imagePath: expected the name of a file inside .*\nMove the image"
    ):
        list(datasets.read("labelme", tmp_path / "set"))


NO_LABELME = {
    b"{": r"P1\.json:1: expected JSON, got expecting property name",
    b"[]": r"P1\.json: expected an annotation of LabelMe, an object with a key 'shapes', got an array",
    b"{}": r"P1\.json: expected an annotation of LabelMe, .*\nName another format",
    b"\xff": r"P1\.json: expected UTF-8 text",
    b'{"shapes": [], "imageWidth": "64"}': r'P1\.json: imageWidth: expected a number, got a string "64"',
    b'{"shapes": [], "imagePath": 3}': r"P1\.json: imagePath: expected a string, got a number 3",
}


@pytest.mark.parametrize("content", NO_LABELME)
def test_other_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "P1.json").write_bytes(content)
    with pytest.raises(DatasetError, match=NO_LABELME[content]):
        list(datasets.read("labelme", tmp_path))


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "P1.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"P1\.png: expected a whole image"):
        list(datasets.read("labelme", tmp_path))


def test_metadata_comes_back(tmp_path: Path) -> None:
    quads = np.array([[[10.25, 20], [30, 20], [30, 40], [10, 40]]])
    metadata = {
        "version": "4.5.6",
        "flags": {"good": True},
        "imagesource": "GoogleEarth",
        "imageData": "x",
        "odd": {1, 2},
    }
    record = ImageRecord.from_quads("P1", quads, np.array([0]), metadata=metadata, difficult=np.array([True]))
    folder = datasets.write("labelme", [record], tmp_path, "train", ClassNames(["ship"]))
    written = json.loads((folder / "P1.json").read_text())
    assert (written["imageData"], written["imagePath"]) == (None, "P1.png")
    assert written["shapes"][0]["points"] == quads[0].tolist()
    (again,) = datasets.read("labelme", tmp_path, "train")
    assert again.metadata == {"version": "4.5.6", "flags": {"good": True}, "imagesource": "GoogleEarth"}
    assert again.difficult.tolist() == [True]


def test_other_shapes_and_other_files_are_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    line = shape([[1, 2], [3, 4]], shape_type="line", label="axis")
    make(tmp_path, shape(), line, line, shape([[1, 2]], shape_type="point"), shape([[1, 2]], shape_type="linestrip"))
    (tmp_path / "classes.json").write_text('["ship"]')
    (tmp_path / "settings.json").write_text('{"window": 3}')
    dataset = datasets.read("labelme", tmp_path)
    assert dataset.class_names == ("ship",)
    (record,) = dataset
    assert record.quads.tolist() == [SQUARE]
    assert record.passed_over == {
        "shapes without an area, 'line'": 2,
        "shapes without an area, 'point'": 1,
        "shapes without an area, 'linestrip'": 1,
    }
    assert caplog.messages == ["2 of 3 JSON files are no annotations of LabelMe: classes.json, settings.json"]


def test_folders_within_are_read_where_they_have_images(tmp_path: Path) -> None:
    """Those of splits are other datasets, and other JSON files of the tree are not looked into."""
    for folder in ("cam1", "cam2", "train"):
        make(tmp_path / folder, shape())
        Image.new("L", (64, 48)).save(tmp_path / folder / "P1.png")
    make(tmp_path / "Annotations", shape())
    read = datasets.read("labelme", tmp_path)
    assert [record.image_id for record in read] == ["cam1/P1", "cam2/P1"]
    assert [record.file.parent.name for record in read] == ["cam1", "cam2"]
    assert [record.image_id for record in datasets.read("labelme", tmp_path, "train")] == ["P1"]
