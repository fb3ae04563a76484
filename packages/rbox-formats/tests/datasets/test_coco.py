from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets, rbox_to_quad
from rbox_formats.errors import DatasetError

QUAD = [10, 20, 30, 20, 30, 40, 10, 40]


def document(*annotations: dict[str, Any], **other: Any) -> dict[str, Any]:
    common = {"image_id": 7, "category_id": 3}
    return {
        "images": [{"id": 7, "file_name": "P1.png", "width": 64, "height": 48, "license": 2}],
        "annotations": [{"id": i, **common, **annotation} for i, annotation in enumerate(annotations)],
        "categories": [{"id": 3, "name": "ship"}, {"id": 1, "name": "plane"}],
        **other,
    }


def make(root: Path, *annotations: dict[str, Any], **other: Any) -> Path:
    path = root / "train.json"
    path.write_text(json.dumps(document(*annotations, **other)), encoding="utf-8")
    return path


def one(root: Path, *annotations: dict[str, Any]) -> ImageRecord:
    (record,) = datasets.read("coco", make(root, *annotations))
    return record


def test_quads_flags_names_and_metadata(tmp_path: Path) -> None:
    path = make(
        tmp_path,
        {"segmentation": [QUAD], "bbox": [0, 0, 1, 1]},
        {"segmentation": [QUAD], "iscrowd": 1, "category_id": 1},
        {"segmentation": [QUAD], "ignore": True},
    )
    dataset = datasets.read("coco", path)
    assert dataset.class_names == ("plane", "ship")  # by their ids
    (record,) = dataset
    assert (record.image_id, record.size, record.path) == ("P1", (64, 48), None)
    assert record.metadata == {"id": 7, "license": 2}
    assert record.labels.tolist() == [1, 0, 1]
    assert record.difficult.tolist() == [False, True, True]
    assert record.quads[0].ravel().tolist() == QUAD
    assert [r.labels.tolist() for r in datasets.read("coco", path, class_names=["Ship", "PLANE"])] == [[0, 1, 0]]


TURNED = {"bbox": [20, 30, 40, 10], "segmentation": [], "attributes": {"occluded": False, "rotation": 30.0}}


@pytest.mark.parametrize(
    "annotation, degrees",
    [
        (TURNED, 30),
        (TURNED | {"segmentation": [[20, 30, 60, 30, 60, 40, 20, 40]]}, 30),
        (TURNED | {"attributes": {"rotation": 330.0}}, -30),
        (TURNED | {"attributes": {"rotation": 0.0}}, 0),
        (TURNED | {"attributes": {"rotation": None}}, 0),
        (TURNED | {"attributes": [{"rotation": 30}]}, 0),
        ({"bbox": [20, 30, 40, 10], "rotation": 30}, 0),
    ],
)
def test_a_box_is_turned_as_cvat_says(annotation: dict[str, Any], degrees: float, tmp_path: Path) -> None:
    """Clockwise about its centre: OpenCV's box points are the witness."""
    record = one(tmp_path, annotation)
    expected = cv2.boxPoints(((40, 35), (40, 10), degrees))
    apart = np.linalg.norm(record.corners[0][:, None] - expected[None], axis=-1)
    assert apart.min(axis=1).max() < 1e-4
    assert record.boxes[0, 2:4].tolist() == [40, 10]


def test_a_quad_goes_before_cvats_angle(tmp_path: Path) -> None:
    assert one(tmp_path, TURNED | {"segmentation": [QUAD]}).quads[0].ravel().tolist() == QUAD


def test_an_angle_that_is_not_read_is_noted(tmp_path: Path) -> None:
    attributes = {"heading": 12, "angle": "-0.5", "rotation": 5, "occluded": True, "quadrangle": 3, "theta": 0}
    record = one(tmp_path, {"bbox": [1, 2, 3, 4], "rotation": 30, "attributes": attributes}, TURNED | {"rotation": 1})
    assert record.passed_over == {
        "attribute 'rotation' that looks like an angle": 2,
        "attribute 'heading' that looks like an angle": 1,
        "attribute 'angle' that looks like an angle": 1,
    }


def test_an_angle_that_is_no_number_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"annotations\[0\].attributes.rotation: expected a number, got a string"):
        one(tmp_path, TURNED | {"attributes": {"rotation": "left"}})


def test_an_upright_box_is_its_corners(tmp_path: Path) -> None:
    record = one(tmp_path, {"bbox": [10, 20, 30, 8]})
    assert record.quads is None
    np.testing.assert_allclose(record.boxes, [[25, 24, 30, 8, 0]])


def test_a_rotated_box_turns_counter_clockwise_in_degrees(tmp_path: Path) -> None:
    # Worked by hand: 40 wide, 10 high, turned by 30 degrees counter-clockwise, so that its right end points up.
    record = one(tmp_path, {"bbox": [100, 100, 40, 10, 30]})
    np.testing.assert_allclose(record.boxes, [[100, 100, 40, 10, -np.pi / 6]])
    right = rbox_to_quad(record.boxes)[0, 1:3].mean(axis=0)
    np.testing.assert_allclose(right, [100 + 20 * np.cos(np.pi / 6), 100 - 10])


def test_rotated_boxes_as_cv2_has_them(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    record = one(tmp_path, {"bbox": [100, 100, 40, 10, 30]}, {"bbox": [50, 60, 12, 30, 200]})
    for (cx, cy, w, h, degrees), box in zip([(100, 100, 40, 10, 30), (50, 60, 12, 30, 200)], record.boxes, strict=True):
        corners = cv2.boxPoints(((cx, cy), (w, h), -degrees))  # OpenCV turns clockwise
        ours = rbox_to_quad(box)
        np.testing.assert_allclose(sorted(map(tuple, ours)), sorted(map(tuple, corners)), atol=1e-4)


def test_quads_beside_rotated_boxes_and_without(tmp_path: Path) -> None:
    record = one(tmp_path, {"bbox": [25, 24, 30, 8, 0], "segmentation": [QUAD]}, {"bbox": [25, 24, 30, 8, 0]})
    np.testing.assert_allclose(record.boxes, [[25, 24, 30, 8, 0]] * 2)
    np.testing.assert_allclose(record.quads, [np.reshape(QUAD, (4, 2)), [[10, 20], [40, 20], [40, 28], [10, 28]]])


def test_other_outlines_become_the_least_rectangle(tmp_path: Path) -> None:
    triangle = [[0, 0, 10, 0, 0, 10]]
    parts = [[0, 0, 4, 0, 0, 4], [10, 10, 6, 10, 10, 6]]
    record = one(tmp_path, {"segmentation": triangle}, {"segmentation": parts})
    assert record.boxes[:, 2].prod() > 0
    areas = record.boxes[:, 2] * record.boxes[:, 3]
    np.testing.assert_allclose(areas, [100, 4 * 2**0.5 * 10 * 2**0.5])


def test_masks_without_pixels_leave_the_box(tmp_path: Path) -> None:
    record = one(tmp_path, {"segmentation": {"counts": [48 * 64], "size": [48, 64]}, "bbox": [1, 2, 3, 4]})
    np.testing.assert_allclose(rbox_to_quad(record.boxes)[0].min(axis=0), [1, 2])


def test_images_without_annotations_are_kept(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a/P1.png"}, {"id": 2, "file_name": "b.jpg", "width": 5, "height": 4}]
    records = list(datasets.read("coco", make(tmp_path, images=images)))
    assert [(record.image_id, len(record), record.width) for record in records] == [("P1", 0, None), ("b", 0, 5)]


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("annotations/instances_train.json", "train"),
        ("Annotations/train.json", "train"),
        ("train.json", "train"),
        ("train/_annotations.coco.json", "train"),
        ("annotations.json", None),
        ("annotations/any.json", None),
        ("any.json", None),
    ],
)
@pytest.mark.parametrize("folder", ["images/train", "train", "images", "."])
def test_where_the_file_and_the_images_may_be(file: str, split: str | None, folder: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    make(tmp_path, {"segmentation": [QUAD]}).replace(tmp_path / file)
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    Image.new("L", (9, 8)).save(tmp_path / folder / "P1.png")
    (record,) = datasets.read("coco", tmp_path, split)
    if split or folder in ("images", "."):
        assert (record.path, record.size) == (tmp_path / folder / "P1.png", (9, 8))


def test_several_files_and_none(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"expected a file annotations\.json or .*, found none\nGive the file itself"
    ):
        datasets.read("coco", tmp_path)
    make(tmp_path)
    (tmp_path / "val.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"found none\nIt has train\.json, val\.json: give one of the files"):
        datasets.read("coco", tmp_path)
    with pytest.raises(DatasetError, match="expected a dataset folder or a JSON file, found none"):
        datasets.read("coco", tmp_path / "nowhere")


BAD_ANNOTATIONS: list[tuple[dict[str, Any], str]] = [
    ({}, r"annotations\[1\]: expected a bbox or a segmentation, got an object"),
    (
        {"bbox": [1, 2, 3]},
        r"annotations\[1\]\.bbox: expected 4 numbers \(x, y, w, h\) or 5 .*, got an array \[1, 2, 3\]",
    ),
    ({"bbox": [1, 2, -3, 4]}, r"annotations\[1\]\.bbox: expected a width and a height of 0 or more"),
    ({"bbox": "1 2 3 4"}, r'annotations\[1\]\.bbox: expected an array, got a string "1 2 3 4"'),
    ({"bbox": [1, 2, None, 4]}, r"annotations\[1\]\.bbox\[2\]: expected a number, got null$"),
    ({"bbox": [1, 2, True, 4]}, r"annotations\[1\]\.bbox\[2\]: expected a number, got true$"),
    (
        {"bbox": [1, 2, float("nan"), 4]},
        r"annotations\[1\]\.bbox\[2\]: expected a finite number up to .*, got a number NaN",
    ),
    ({"bbox": [1, 2, 1e99, 4]}, r"annotations\[1\]\.bbox\[2\]: expected a finite number up to 1000000000"),
    ({"segmentation": [[1, 2, 3, 4]]}, r"annotations\[1\]\.segmentation\[0\]: expected x and y of at least 3 corners"),
    ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, r"segmentation\[0\]: expected x and y of at least 3 corners"),
    ({"segmentation": [1, 2, 3, 4, 5, 6]}, r"segmentation\[0\]: expected an array, got a number 1"),
    (
        {"bbox": [1, 2, 3, 4], "category_id": 9},
        r"category_id: expected the id of one of the categories, got a number 9",
    ),
    ({"bbox": [1, 2, 3, 4], "category_id": "ship"}, r'category_id: expected a number, got a string "ship"'),
    ({"bbox": [1, 2, 3, 4], "iscrowd": 2}, r"annotations\[1\]\.iscrowd: expected 0, 1, true or false, got a number 2"),
]


@pytest.mark.parametrize(("annotation", "message"), BAD_ANNOTATIONS)
def test_bad_annotations(annotation: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = make(tmp_path, {"segmentation": [QUAD]}, annotation)
    with pytest.raises(DatasetError, match=r"train\.json: .*" + message):
        list(datasets.read("coco", path))


def test_a_category_that_is_no_class(tmp_path: Path) -> None:
    path = make(tmp_path, {"segmentation": [QUAD]})
    with pytest.raises(
        DatasetError, match=r"category_id: expected a class among tram, not 'ship', got.*\n.*--class-names"
    ):
        list(datasets.read("coco", path, class_names=["tram"]))


IMAGE = {"id": 7, "file_name": "P1.png"}
BAD_DOCUMENTS: list[tuple[Any, str]] = [
    ([], r"expected an object, got an array \[\]"),
    ({"images": []}, r"the document: expected a key 'categories', got 'images'"),
    (document(images=None), "images: expected an array, got null"),
    (document(images=[{"id": 7}]), r"images\[0\]: expected a key 'file_name', got 'id'"),
    (document(images=[{"id": 7, "file_name": 3}]), r"images\[0\]\.file_name: expected a string, got a number 3"),
    (document(images=[{"id": 7.5, "file_name": "a"}]), r"images\[0\]\.id: expected a whole number, got a number 7\.5"),
    (document(images=[{"id": 7, "file_name": "\ud800"}]), r"file_name: expected a string of whole characters"),
    (document(images=[IMAGE, {"id": 7, "file_name": "b"}]), r"images\[1\]\.id: expected an id that no other image has"),
    (
        document(images=[IMAGE, {"id": 8, "file_name": "P1.jpg"}]),
        r"images\[1\]\.file_name: expected a file name that no",
    ),
    (document(images=[IMAGE | {"width": 0}]), r"images\[0\]\.width: expected a whole number from 1 on, got a number 0"),
    (document(images=[IMAGE | {"file_name": "a/"}]), r"file_name: expected the name of a file inside"),
    (document(images=[IMAGE | {"width": 1e10}]), r"images\[0\]\.width: expected a finite number up to 1000000000"),
    (document(images=[IMAGE | {"id": float("inf")}]), r"images\[0\]\.id: expected a whole number, got a number Inf"),
    (document(images=[IMAGE | {"id": True}]), r"images\[0\]\.id: expected a number, got true"),
    (document(images=[IMAGE | {"file_name": ""}]), r"file_name: expected the name of a file inside"),
    (document(images=[IMAGE | {"file_name": "P\0.png"}]), r"file_name: expected the name of a file inside"),
    (
        document({}, images=[{"id": 1, "file_name": "a"}]),
        r"annotations\[0\]\.image_id: expected the id of one of the images",
    ),
    (document(annotations=[3]), r"annotations\[0\]: expected an object, got a number 3"),
    (
        document(categories=[{"id": 1, "name": "a"}] * 2),
        r"categories\[1\]\.id: expected an id that no other category has",
    ),
    (document(categories=[{"id": 1, "name": ""}]), r"expected a class name, got ''"),
]


@pytest.mark.parametrize(("content", "message"), BAD_DOCUMENTS)
def test_bad_documents(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"train\.json: .*" + message):
        list(datasets.read("coco", path))


NO_JSON = {
    b'{"images": [\n  {"id": 1,}\n]}': r"train\.json:2: expected JSON, got .* at column 1[12]\nThe file is broken",
    b'{"images": [': r"train\.json:1: expected JSON, got expecting value at column 13",
    b"": r"train\.json:1: expected JSON, got expecting value at column 1",
    b"\xff\xfe{}": r"train\.json: expected UTF-8 text",
    b"[" * 100_000: r"train\.json: expected JSON, got too many nested brackets",
    b'{"images": %s}' % (b"1" * 5000): r"train\.json: expected JSON, got .*digits",
}


@pytest.mark.parametrize("content", NO_JSON, ids=range(len(NO_JSON)))
def test_files_that_are_no_json(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=NO_JSON[content]):
        datasets.read("coco", path)


def test_a_name_too_long_for_a_file_system_is_no_file(tmp_path: Path) -> None:
    (record,) = datasets.read("coco", make(tmp_path, images=[{"id": 7, "file_name": "a" * 5000}]))
    assert record.path is None


def test_what_is_written(tmp_path: Path) -> None:
    names = ClassNames(["plane", "ship"])
    quads = np.array([[[10.5, 20], [30, 20], [30, 40], [10, 40]]])
    record = ImageRecord.from_quads(
        "P1",
        quads,
        np.array([1]),
        difficult=np.array([True]),
        width=64,
        height=48,
        metadata={"id": 9, "gsd": "0.5", "x": {1}},
    )
    path = datasets.write(
        "coco", [record, ImageRecord("P2", np.zeros((0, 5)), np.zeros(0, np.int64))], tmp_path, "val", names
    )
    assert path == tmp_path / "annotations" / "instances_val.json"
    assert json.loads(path.read_text()) == {
        "images": [
            {"id": 9, "file_name": "P1.png", "width": 64, "height": 48, "gsd": "0.5"},
            {"id": 1, "file_name": "P2.png"},
        ],
        "annotations": [
            {
                "id": 1,
                "image_id": 9,
                "category_id": 2,
                "bbox": [10, 20, 20, 20],
                "area": 395.0,
                "iscrowd": 0,
                "ignore": 1,
                "segmentation": [[10.5, 20, 30, 20, 30, 40, 10, 40]],
            }
        ],
        "categories": [{"id": 1, "name": "plane"}, {"id": 2, "name": "ship"}],
    }


def test_ids_stay_and_stay_distinct(tmp_path: Path) -> None:
    def record(name: str, **metadata: Any) -> ImageRecord:
        return ImageRecord(name, np.zeros((0, 5)), np.zeros(0, dtype=np.int64), metadata=metadata)

    given = [
        record("a", id=2),
        record("b"),
        record("c", id=2),
        record("d", id=1),
        record("e", id="x"),
        record("f", id=True),
    ]
    path = datasets.write("coco", given, tmp_path / "out.json", None, ClassNames(["ship"]))
    ids = [image["id"] for image in json.loads(path.read_text())["images"]]
    assert ids[0] == 2
    assert len(set(ids)) == len(ids)
    assert [record.metadata["id"] for record in datasets.read("coco", path)] == ids


def test_rotated_boxes_and_scores_are_written_for_detectron2(tmp_path: Path) -> None:
    boxes = np.array([[100, 100, 40, 10, -np.pi / 6]])
    record = ImageRecord("P1", boxes, np.array([0]), scores=np.array([0.25]))
    path = datasets.write("coco-rotated", [record], tmp_path, None, ClassNames(["ship"]))
    (entry,) = json.loads(path.read_text())["annotations"]
    np.testing.assert_allclose(entry["bbox"], [100, 100, 40, 10, 30])
    assert "segmentation" not in entry
    (again,) = datasets.read("coco-rotated", path)
    np.testing.assert_allclose(again.boxes, boxes, atol=1e-12)
    assert again.quads is None
    assert again.scores.tolist() == [0.25]


def test_a_closed_outline_keeps_its_four_corners(tmp_path: Path) -> None:
    skewed = [10, 20, 30, 22, 33, 40, 8, 41]
    assert one(tmp_path, {"segmentation": [[*skewed, *skewed[:2]]]}).quads.ravel().tolist() == skewed


@pytest.mark.parametrize("number", [20180000001, -5, 2**60 + 1, 20180000001.0])
def test_ids_of_any_size(number: float, tmp_path: Path) -> None:
    annotation = {"segmentation": [QUAD], "image_id": number, "category_id": number}
    images = [{"id": number, "file_name": "P1.png"}]
    path = make(tmp_path, annotation, images=images, categories=[{"id": number, "name": "ship"}])
    (record,) = datasets.read("coco", path)
    assert (len(record), record.metadata["id"]) == (1, number)
    if isinstance(number, int):
        datasets.write("coco", [record], tmp_path / "out.json", None, ClassNames(["ship"]))
        assert [again.metadata["id"] for again in datasets.read("coco", tmp_path / "out.json")] == [number]


@pytest.mark.parametrize("name", ["train\\P1.png", "a\\b/P1.png", "train//P1.png"])
def test_names_with_windows_separators(name: str, tmp_path: Path) -> None:
    (tmp_path / name.replace("\\", "/")).parent.mkdir(parents=True)
    Image.new("L", (9, 8)).save(tmp_path / name.replace("\\", "/"))
    (record,) = datasets.read("coco", make(tmp_path, images=[{"id": 7, "file_name": name}]))
    assert (record.image_id, record.size) == ("P1", (9, 8))


def test_one_name_in_two_folders_of_windows(tmp_path: Path) -> None:
    images = [{"id": 7, "file_name": "a\\P1.png"}, {"id": 8, "file_name": "b\\P1.png"}]
    found = datasets.read("coco", make(tmp_path, images=images))
    assert [record.image_id for record in found] == ["a/P1", "b/P1"]


def test_what_no_file_can_hold_is_not_written(tmp_path: Path) -> None:
    record = ImageRecord("P\udcff", np.zeros((0, 5)), np.zeros(0, dtype=np.int64))
    with pytest.raises(DatasetError, match="expected a file name in UTF-8"):
        datasets.write("coco", [record], tmp_path, None, ClassNames(["ship"]))
    record = ImageRecord("P1", np.zeros((0, 5)), np.zeros(0, dtype=np.int64), metadata={"by": "\ud800", "gsd": "1"})
    path = datasets.write("coco", [record], tmp_path, None, ClassNames(["ship"]))
    assert [again.metadata for again in datasets.read("coco", path)] == [{"gsd": "1", "id": 1}]


@pytest.mark.parametrize(
    "name",
    [
        "../P1.png",
        "a/../../../P1.png",
        "/home/me/data/P1.png",
        "C:\\data\\P1.png",
        "..\\P1.png",
        "D:/x/P1.png",
    ],
)
def test_paths_of_another_machine_are_looked_for_by_their_last_part(name: str, tmp_path: Path) -> None:
    """And nowhere but in the dataset's folder."""
    root = tmp_path / "a" / "set"
    (root / "images").mkdir(parents=True)
    for path in (tmp_path / "P1.png", tmp_path / "a" / "P1.png"):
        Image.new("L", (3, 3)).save(path)
    path = make(root, {"bbox": [1, 2, 3, 4]}, images=[{"id": 7, "file_name": name, "width": 64, "height": 48}])
    (record,) = datasets.read("coco", path)
    assert (record.image_id, record.path, record.size) == ("P1", None, (64, 48))
    Image.new("L", (9, 8)).save(root / "images" / "P1.png")
    (record,) = datasets.read("coco", path)
    assert (record.path, record.size) == (root / "images" / "P1.png", (9, 8))


@pytest.mark.parametrize("start", ["/home/me/data/", "C:\\data\\", "../", "../../x/"])
def test_equal_names_on_another_machine(start: str, tmp_path: Path) -> None:
    names = [f"{start}{cam}/P1.png" for cam in ("a", "b")]
    entries = [{"id": i, "file_name": name, "width": 64, "height": 48} for i, name in enumerate(names)]
    root = tmp_path / "set"
    (root / "images" / "b").mkdir(parents=True)
    (tmp_path / "a").mkdir()
    Image.new("L", (9, 8)).save(root / "images" / "b" / "P1.png")
    Image.new("L", (3, 3)).save(tmp_path / "a" / "P1.png")
    first, second = datasets.read("coco", make(root, images=entries))
    assert (first.image_id, first.path, first.size) == ("a/P1", None, (64, 48))
    assert (second.image_id, second.file, second.size) == ("b/P1", root / "images" / "b" / "P1.png", (9, 8))


def test_a_category_that_only_heads_others_is_no_class(tmp_path: Path) -> None:
    """As Roboflow writes it: the root may bear the class's name; one with objects is a class."""
    root = {"id": 0, "name": "ship", "supercategory": "none"}
    below = [{"id": 1, "name": "ship", "supercategory": "ship"}, {"id": 2, "name": "tug", "supercategory": "ship"}]
    alone = [{"id": 3, "name": "person", "supercategory": "person"}]
    object_ = {"bbox": [1, 2, 3, 4], "category_id": 1}
    dataset = datasets.read("coco", make(tmp_path, object_, categories=[root, *below, *alone]))
    assert dataset.class_names == ("ship", "tug", "person")
    assert next(iter(dataset)).labels.tolist() == [0]
    named = [root | {"name": "vessels"}, {"id": 1, "name": "ship", "supercategory": "vessels"}]
    assert datasets.read("coco", make(tmp_path, object_, categories=named)).class_names == ("ship",)
    used = make(tmp_path, object_, {"bbox": [1, 2, 3, 4], "category_id": 0}, categories=named)
    assert datasets.read("coco", used).class_names == ("vessels", "ship")


def test_equal_names_in_folders(tmp_path: Path) -> None:
    images = [{"id": number, "file_name": f"cam{number}/0001.jpg"} for number in (1, 2)]
    path = make(tmp_path, {"bbox": [1, 2, 3, 4], "image_id": 2}, images=images)
    found = [(record.image_id, len(record)) for record in datasets.read("coco", path)]
    assert found == [("cam1/0001", 0), ("cam2/0001", 1)]


def test_angles_that_may_be_radians_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    boxes = [{"bbox": [9, 9, 8, 4, angle]} for angle in (0.1, -1.5, 0.7, 1.2, 3.0)]
    datasets.read("coco", make(tmp_path, *boxes))
    assert "none of the angles of 5 rotated boxes is beyond pi: are they radians?" in caplog.text
    caplog.clear()
    datasets.read("coco", make(tmp_path, *boxes, {"bbox": [9, 9, 8, 4, 30]}))
    datasets.read("coco", make(tmp_path, *boxes[:4]))
    assert not caplog.text
