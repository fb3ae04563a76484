"""Public datasets in their makers' layouts: SODA-A, VEDAI, DroneVehicle, SKU110K-R, and yolov5_obb's labels."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets
from rbox_formats.errors import DatasetError

QUAD = [[10, 10], [50, 10], [50, 30], [10, 30]]


def picture(path: Path, size: tuple[int, int] = (100, 80)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size).save(path)
    return path


# SODA-A.

CATEGORIES = [*datasets.FORMATS["soda-a"].class_names, "ignore"]


def soda(path: Path, *annotations: dict[str, Any], **other: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {"file_name": "00001.jpg", "height": 80, "width": 100, "id": 0}
    categories = [{"id": number, "name": name} for number, name in enumerate(CATEGORIES)]
    document = {"annotations": list(annotations), "images": about, "categories": categories, **other}
    path.write_text(json.dumps(document))


def poly(category: int = 7, corners: Any = QUAD, key: str = "category_id") -> dict[str, Any]:
    return {"poly": np.ravel(corners).tolist(), "area": 800.0, key: category}


@pytest.mark.parametrize("images", ["Images/train", "Images"])
def test_soda_a(images: str, tmp_path: Path) -> None:
    five = [*QUAD, [10, 20]]
    soda(tmp_path / "Annotations" / "train" / "00001.json", poly(), poly(9), poly(0, five))
    (tmp_path / "Annotations" / "train" / "00002.json").write_text("")
    path = picture(tmp_path / images / "00001.jpg")
    first, second = datasets.read("soda-a", tmp_path, "train")
    assert (first.path, first.size, first.labels.tolist()) == (path, (100, 80), [7, 0])
    assert first.corners[0].tolist() == QUAD
    np.testing.assert_allclose(first.boxes[1], [30, 20, 40, 20, 0], atol=1e-9)
    assert (second.image_id, len(second), second.path) == ("00002", 0, None)
    with pytest.raises(DatasetError, match=r"expected a folder 'Annotations/val' in it, found none"):
        datasets.read("soda-a", tmp_path, "val")


def test_soda_a_windows(tmp_path: Path) -> None:
    """As the makers' kit cuts them: `cat_id` and `trunc`."""
    (tmp_path / "train" / "Annotations").mkdir(parents=True)
    content = {"annotations": [{**poly(4, key="cat_id"), "trunc": 0}, {**poly(9, key="cat_id"), "trunc": 1}]}
    (tmp_path / "train" / "Annotations" / "a.json").write_text(json.dumps(content))
    (record,) = datasets.read("soda-a", tmp_path, "train")
    assert record.labels.tolist() == [4]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (poly(12), r"annotations\[0\]\.category_id: expected a category among 0, 1, .*, got a number 12"),
        ({"poly": [1, 2, 3]}, r"annotations\[0\]: expected a key 'cat_id'"),
        ({"poly": [1, 2, 3, 4], "category_id": 1}, r"annotations\[0\]\.poly: expected x and y of at least 3 corners"),
    ],
)
def test_soda_a_with_faults(annotation: dict[str, Any], message: str, tmp_path: Path) -> None:
    soda(tmp_path / "Annotations" / "1.json", annotation)
    with pytest.raises(DatasetError, match=message):
        list(datasets.read("soda-a", tmp_path))


# VEDAI.

CORNERS = "250 260 288 278 330 300 312 342"  # x1 to x4, y1 to y4
MARKED = f"269 321 2.3 1 1 0 {CORNERS}"  # Annotations512: class, contained, occluded before the corners
LAST = f"269 321 2.3 {CORNERS} 23 1 0"  # annotation512.txt: behind them


def vedai(root: Path, *lines: str, folder: str = "Annotations512", name: str = "00000000") -> Path:
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return root


@pytest.mark.parametrize(
    "image", ["Vehicules512/00000000_co.png", "images/00000000.png", "Vehicules512/00000000_ir.png"]
)
def test_vedai(image: str, tmp_path: Path) -> None:
    vedai(tmp_path, MARKED, LAST)
    path = picture(tmp_path / image)
    dataset = datasets.read("vedai", tmp_path)
    (record,) = dataset
    assert (record.image_id, record.path) == ("00000000", path)
    assert [dataset.class_names[label] for label in record.labels] == ["car", "boat"]
    expected = [[250, 330], [260, 300], [288, 312], [278, 342]]
    assert record.corners.tolist() == [expected, expected]


def test_vedai_folds(tmp_path: Path) -> None:
    vedai(tmp_path, MARKED)
    vedai(tmp_path, LAST, name="00000001")
    vedai(tmp_path, "00000001", name="fold01test")
    vedai(tmp_path, f"00000000 {LAST}", name="annotation512")
    assert [record.image_id for record in datasets.read("vedai", tmp_path)] == ["00000000", "00000001"]
    (record,) = datasets.read("vedai", tmp_path, "fold01test")
    assert record.image_id == "00000001"
    with pytest.raises(DatasetError, match=r"fold02\.txt: expected a list .*\nIt has the lists fold01test"):
        datasets.read("vedai", tmp_path, "fold02")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 2 3", r"00000000\.txt:1: expected 14 numbers, got 3 fields\nA line reads: x_centre"),
        (MARKED.replace(" 1 1 0", " 77 1 0"), r"txt:1: expected a class among 1, 2, 4, .*, got 77"),
        (MARKED.replace("269 321", "1 1"), r"txt:1: expected corners around 1 1, got others"),
        (MARKED.replace("2.3", "north"), r"txt:1: expected 14 numbers, got 'north' as number 3"),
    ],
)
def test_vedai_with_faults(line: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=message):
        list(datasets.read("vedai", vedai(tmp_path, line)))


def test_vedai_has_a_number_for_each_of_its_classes_alone(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"expected classes among car, truck, .*, got ship"):
        datasets.write("vedai", [], tmp_path, None, ClassNames(["car", "ship"]))


# DroneVehicle.


def drone(root: Path, *objects: str, kind: str = "") -> Path:
    folder = root / "train" / f"trainlabel{kind}"
    folder.mkdir(parents=True)
    text = "<annotation><filename>00001.jpg</filename><size><width>840</width><height>712</height></size>\n"
    (folder / "00001.xml").write_text(text + "\n".join(objects) + "\n</annotation>\n")
    return root


def vehicle(name: str, place: str) -> str:
    return f"<object><name>{name}</name><pose>Unspecified</pose><difficult>0</difficult>{place}</object>"


POLYGON = (
    "<polygon>" + "".join(f"<x{i}>{x}</x{i}><y{i}>{y}</y{i}>" for i, (x, y) in enumerate(QUAD, start=1)) + "</polygon>"
)
UPRIGHT = "<bndbox><xmin>10</xmin><ymin>10</ymin><xmax>50</xmax><ymax>30</ymax></bndbox>"


@pytest.mark.parametrize("kind", ["", "r"])
def test_dronevehicle(kind: str, tmp_path: Path) -> None:
    names = ["car", "feright car", "feright_car", "feright", "truvk", "freight_car", "van"]
    point = "<point><x>3</x><y>4</y></point>"
    drone(
        tmp_path,
        *(vehicle(name, UPRIGHT if name == "van" else POLYGON) for name in names),
        vehicle("*", POLYGON),
        vehicle("car", point),
        kind=kind,
    )
    path = picture(tmp_path / "train" / f"trainimg{kind}" / "00001.jpg", (840, 712))
    dataset = datasets.read("dronevehicle-ir" if kind else "dronevehicle", tmp_path, "train")
    (record,) = dataset
    assert (record.path, record.size) == (path, (840, 712))
    found = [dataset.class_names[label] for label in record.labels]
    assert found == ["car", "freight-car", "freight-car", "freight-car", "truck", "freight-car", "van"]
    assert record.corners.tolist() == [QUAD] * 7
    (alone,) = datasets.read("dronevehicle-ir" if kind else "dronevehicle", tmp_path / "train")
    assert alone.path == path
    with pytest.raises(DatasetError, match=r"00001\.xml:2: expected <polygon> or <bndbox> in <object>, found neither"):
        list(datasets.read("dronevehicle", drone(tmp_path / "b", vehicle("car", "")), "train"))


# SKU110K-R.


def test_sku110k_r(tmp_path: Path) -> None:
    """`rbbox` in radians, clockwise: the corners of its own segmentation, by OpenCV's boxPoints."""
    box = [50.0, 40.0, 30.0, 12.0, 0.35]
    corners = cv2.boxPoints(((50, 40), (30, 12), math.degrees(0.35))).ravel().tolist()
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [30, 20, 40, 30], "rbbox": box, "iscrowd": 0}
    for extra in ({}, {"segmentation": [corners]}):
        content = {
            "images": [{"id": 1, "file_name": "train_1.jpg", "width": 100, "height": 80}],
            "annotations": [{**annotation, **extra}],
            "categories": [{"id": 1, "name": "object"}],
        }
        (tmp_path / "sku110k-r_train.json").write_text(json.dumps(content))
        (record,) = datasets.read("coco", tmp_path / "sku110k-r_train.json")
        np.testing.assert_allclose(record.boxes, [box], atol=1e-9)
        if extra:
            np.testing.assert_allclose(record.corners.ravel(), corners)
    content["annotations"][0]["rbbox"] = [1, 2, 3]
    (tmp_path / "sku110k-r_train.json").write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"annotations\[0\]\.rbbox: expected 5 numbers"):
        list(datasets.read("coco", tmp_path / "sku110k-r_train.json"))


# yolov5_obb.


def test_yolov5_obb(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "P1.png", (100, 100))
    (tmp_path / "labels").mkdir()
    (tmp_path / "classes.txt").write_text("ship\nplane\n")
    (tmp_path / "labels" / "P1.txt").write_text("1 0.5 0.4 0.3 0.12 150\n")
    dataset = datasets.read("yolov5-obb", tmp_path)
    (record,) = dataset
    assert record.labels.tolist() == [1]
    np.testing.assert_allclose(record.boxes, [[50, 40, 30, 12, math.radians(-30)]], atol=1e-9)
    datasets.write("yolov5-obb", dataset, tmp_path / "out", None, dataset.class_names)
    fields = (tmp_path / "out" / "labels" / "P1.txt").read_text().split()
    np.testing.assert_allclose([float(field) for field in fields], [1, 0.5, 0.4, 0.3, 0.12, 150], atol=1e-9)
    # A box on the image stretched to a square, as the kit makes it: its centre and sides are shares.
    picture(tmp_path / "images" / "P1.png", (200, 100))
    (stretched,) = datasets.read("yolov5-obb", tmp_path)
    np.testing.assert_allclose(stretched.corners[0], record.corners[0] * [2, 1], atol=1e-9)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "0 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3",
            r"expected a class, 4 shares and an angle, got 9 fields\nA line reads: class",
        ),
        ("0 0.5 0.5 0.2 0.1 200", "expected an angle from 0 to 180 degrees, got '200'"),
        ("0 50 50 20 10 30", "expected shares of the image's size, with sides of 0 or more, got '50 50 20 10'"),
        ("3 0.5 0.5 0.2 0.1 30", "expected a class from 0 to 1, got 3"),
    ],
)
def test_yolov5_obb_with_faults(line: str, message: str, tmp_path: Path) -> None:
    picture(tmp_path / "images" / "P1.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "classes.txt").write_text("ship\nplane\n")
    (tmp_path / "labels" / "P1.txt").write_text(f"{line}\n")
    with pytest.raises(DatasetError, match=r"P1\.txt:1: " + message):
        list(datasets.read("yolov5-obb", tmp_path))


@pytest.mark.parametrize("split", [None, "train"])
@pytest.mark.parametrize("name", ["soda-a", "vedai", "dronevehicle", "dronevehicle-ir"])
def test_what_is_written_comes_back(name: str, split: str | None, tmp_path: Path) -> None:
    names = datasets.FORMATS[name].class_names
    quads = np.array([QUAD, [[1.25, 2], [30, 4], [28.5, 20], [0, 18]]])
    place = datasets.FORMATS[name].images
    records = [
        ImageRecord.from_quads(
            "000001", quads, [0, 3], path=picture(place(tmp_path, split) / "000001.png"), width=100, height=80
        ),
        ImageRecord.from_quads(
            "000002", quads[:0], [], path=picture(place(tmp_path, split) / "000002.png"), width=100, height=80
        ),
    ]
    datasets.write(name, records, tmp_path, split, names)
    again = list(datasets.read(name, tmp_path, split))
    for before, after in zip(records, again, strict=True):
        assert (after.image_id, after.path, after.size) == (before.image_id, before.path, (100, 80))
        assert after.corners.tolist() == before.corners.tolist()
        assert after.labels.tolist() == before.labels.tolist()
