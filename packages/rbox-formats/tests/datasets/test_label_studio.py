from __future__ import annotations

import base64
import json
import logging
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets, rbox_to_quad
from rbox_formats.errors import DatasetError

# An image of 1000x500 on which a rectangle of 300x100 px is turned by a quarter around its corner (200, 100).
PLACE = {"x": 20, "y": 20, "width": 30, "height": 20, "rotation": 90}
TURNED = [[200, 100], [200, 400], [100, 400], [100, 100]]
SIZE = {"original_width": 1000, "original_height": 500}


def region(label: str = "ship", place: dict[str, Any] = PLACE, kind: str = "rectanglelabels", **other: Any) -> Any:
    value = {**place, kind: [label]}
    named = {"type": kind, "from_name": "label", "to_name": "image", "id": "x1"}
    return {**named, **SIZE, "image_rotation": 0, "value": value, **other}


def task(*results: Any, image: str = "/data/upload/1/0a1b2c3d-P1.png", **other: Any) -> dict[str, Any]:
    annotation = {"id": 1, "was_cancelled": False, "ground_truth": False, "result": list(results)}
    return {"id": 1, "data": {"image": image}, "annotations": [annotation], "predictions": [], **other}


def export(root: Path, *tasks: Any, name: str = "project-1.json") -> Path:
    root.mkdir(exist_ok=True, parents=True)
    (root / name).write_text(json.dumps(tasks), encoding="utf-8")
    return root


def test_an_export(tmp_path: Path) -> None:
    export(tmp_path, task(region(), region("plane", {**PLACE, "rotation": 0})))
    (tmp_path / "images").mkdir()
    Image.new("L", (1000, 500)).save(tmp_path / "images" / "P1.png")
    dataset = datasets.read("label-studio", tmp_path)
    assert dataset.class_names == ("plane", "ship")
    (record,) = dataset
    assert (record.image_id, record.file, record.size) == ("P1", tmp_path / "images" / "P1.png", (1000, 500))
    assert record.labels.tolist() == [1, 0]
    assert record.scores is None
    np.testing.assert_allclose(record.corners[0], TURNED, atol=1e-9)
    np.testing.assert_allclose(record.corners[1], [[200, 100], [500, 100], [500, 200], [200, 200]], atol=1e-9)
    np.testing.assert_allclose(record.boxes[0], [150, 250, 300, 100, -math.pi / 2], atol=1e-9)


def test_the_file_itself_and_one_task_alone(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps(task(region())))
    (record,) = datasets.read("label-studio", path)
    np.testing.assert_allclose(record.corners[0], TURNED, atol=1e-9)
    assert (record.path, record.size) == (None, (1000, 500))


@pytest.mark.parametrize("degrees", [0, 30, -75, 200, 359.5])
def test_a_rectangle_turns_clockwise_around_its_first_corner(degrees: float, tmp_path: Path) -> None:
    """Against a turn by complex numbers: with y down a positive angle is clockwise."""
    export(tmp_path, task(region(place={**PLACE, "rotation": degrees})))
    (record,) = datasets.read("label-studio", tmp_path)
    turn = complex(math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))
    expected = [complex(200, 100) + offset * turn for offset in (0, 300, 300 + 100j, 100j)]
    np.testing.assert_allclose(record.corners[0], [[z.real, z.imag] for z in expected], atol=1e-9)


def test_polygons_and_ellipses(tmp_path: Path) -> None:
    points = [[20, 20], [50, 20], [50, 40], [20, 40]]
    oval = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 90}
    export(
        tmp_path,
        task(
            region(place={"points": points, "closed": True}, kind="polygonlabels"),
            region(place={"points": [*points, [20, 30]]}, kind="polygonlabels"),
            region(place=oval, kind="ellipselabels"),
        ),
    )
    (record,) = datasets.read("label-studio", tmp_path)
    np.testing.assert_allclose(record.corners[0], np.array(points) * [10, 5])
    np.testing.assert_allclose(record.boxes[1], record.boxes[0], atol=1e-9)
    # 200 px across and 50 px down from the centre (500, 250), turned by a quarter.
    np.testing.assert_allclose(record.boxes[2], [500, 250, 400, 100, -math.pi / 2], atol=1e-9)


def test_shapes_and_labels_as_two_tags(tmp_path: Path) -> None:
    """<Rectangle> and <Labels>: two results for a region, of which one has the label."""
    bare = region(type="rectangle", value=PLACE)
    labelled = region(type="labels", value={**PLACE, "labels": ["ship"]}, from_name="labels")
    export(tmp_path, task(bare, labelled))
    (record,) = datasets.read("label-studio", tmp_path)
    assert len(record) == 1


def test_what_is_left_out_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keypoint = region(place={"x": 10, "y": 10, "width": 0.5}, kind="keypointlabels")
    brush = region(place={"format": "rle", "rle": [1, 2]}, kind="brushlabels")
    choice = region(value={**PLACE, "choices": ["clear"]}, type="choices")
    relation = {"from_id": "a", "to_id": "b", "type": "relation"}
    unlabelled = region(value={**PLACE, "rectanglelabels": []})
    unseen = {"id": 2, "data": {"image": "P2.png"}, "annotations": []}
    export(tmp_path, task(region(place={**PLACE, "x": 1}), keypoint, brush, choice, relation, unlabelled), unseen)
    with caplog.at_level(logging.WARNING):
        (record,) = datasets.read("label-studio", tmp_path)
    assert len(record) == 1
    assert [message.split(": ", 1)[1] for message in caplog.messages] == [
        "left out 1 tasks without an annotation",
        "left out 2 regions that are no rectangles, polygons or ellipses",
        "left out 1 regions without a label",
    ]


def test_of_several_annotations_one_counts(tmp_path: Path) -> None:
    def annotations(*values: tuple[str, dict[str, Any]]) -> list[Any]:
        return [{"result": [region(label)], **other} for label, other in values]

    def label_of(*values: tuple[str, dict[str, Any]]) -> str:
        export(tmp_path, task(annotations=annotations(*values)))
        dataset = datasets.read("label-studio", tmp_path)
        (record,) = dataset
        return dataset.class_names[record.labels[0]]

    late, soon = {"updated_at": "2024-02-01T00:00:00Z"}, {"updated_at": "2024-01-31T00:00:00Z"}
    assert label_of(("a", late), ("b", soon)) == "a"
    assert label_of(("a", soon), ("b", late)) == "b"
    assert label_of(("a", {}), ("b", {})) == "b"
    assert label_of(("a", {**soon, "ground_truth": True}), ("b", late)) == "a"
    assert label_of(("a", soon), ("b", {**late, "was_cancelled": True})) == "a"
    assert label_of(("a", {"created_at": 9}), ("b", {"created_at": 10})) == "b"


def test_json_min(tmp_path: Path) -> None:
    value = {**PLACE, "rectanglelabels": ["ship"], **SIZE}
    times = {"annotator": 1, "annotation_id": 3, "created_at": "2024-01-01", "updated_at": "2024-01-01", "lead_time": 2}
    export(
        tmp_path,
        {"image": "/data/upload/1/0a1b2c3d-P1.png", "id": 7, "label": [value], "site": "port", **times},
        {"image": "/data/upload/1/0a1b2c3d-P1.png", "id": 7, "label": [], **times, "updated_at": "2023-01-01"},
        {"image": "/data/upload/1/0a1b2c3d-P2.png", "id": 8, "label": [], **times},
        {"image": "/data/upload/1/0a1b2c3d-P3.png", "id": 9, **times},
        {"image": "/data/upload/1/0a1b2c3d-P4.png", "id": 10, **times, "annotation_id": None},
    )
    first, *empty = datasets.read("label-studio", tmp_path)
    np.testing.assert_allclose(first.corners, [TURNED], atol=1e-9)
    assert first.metadata == {"image": "/data/upload/1/0a1b2c3d-P1.png", "site": "port", "id": 7}
    assert [(record.image_id, len(record)) for record in empty] == [("P2", 0), ("P3", 0)]


IMAGES = {
    "/data/upload/1/0a1b2c3d-P1.png": ("P1", "images/P1.png"),
    "/data/upload/0a1b2c3d-P1.png": ("P1", "images/0a1b2c3d-P1.png"),
    "/data/local-files/?d=sets/port/P1.png": ("P1", "port/P1.png"),
    "s3://bucket/images/a%20b.png": ("a b", "images/a b.png"),
    "https://example.com/x/P1.png?signature=a/b": ("P1", "P1.png"),
    "C:\\work\\images\\P1.png": ("P1", "images/P1.png"),
    "../../P1.png": ("P1", "P1.png"),
    "/tasks/1/resolve/?fileuri=" + base64.b64encode(b"s3://bucket/P1.png").decode(): ("P1", "images/P1.png"),
}


@pytest.mark.parametrize("url", IMAGES)
def test_images_by_what_a_task_says(url: str, tmp_path: Path) -> None:
    image_id, name = IMAGES[url]
    export(tmp_path / "set", task(region(), data={"kind": "port", "photo": url}))
    path = tmp_path / "set" / name
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.new("L", (100, 50)).save(path)
    Image.new("L", (9, 9)).save(tmp_path / "P1.png")  # outside: never opened
    (record,) = datasets.read("label-studio", tmp_path / "set")
    assert (record.image_id, record.path) == (image_id, path)
    assert record.size == (100, 50)
    # Percents mean the image that is there.
    np.testing.assert_allclose(record.corners[0], np.array(TURNED) / 10, atol=1e-9)
    assert record.stated_size == (1000, 500)


@pytest.mark.parametrize("layout", ["full", "min"])
@pytest.mark.parametrize(
    ("urls", "ids"),
    [
        (("/data/local-files/?d=images/a/P1.png", "/data/local-files/?d=images/b/P1.png"), ["a/P1", "b/P1"]),
        (("s3://bucket/a/P1.png", "s3://bucket/b/c/P1.png"), ["a/P1", "b/c/P1"]),
        (("/data/upload/1/0a1b2c3d-P1.png", "/data/upload/1/99887766-P1.png"), ["0a1b2c3d-P1", "99887766-P1"]),
    ],
)
def test_equal_names(urls: tuple[str, str], ids: list[str], layout: str, tmp_path: Path) -> None:
    """Each task has its own image, and never that of another."""
    if layout == "full":
        export(tmp_path, *(task(region(), image=url) for url in urls))
    else:
        flat = {**PLACE, **SIZE, "rectanglelabels": ["ship"]}
        export(tmp_path, *({"image": url, "id": i, "annotation_id": i, "label": [flat]} for i, url in enumerate(urls)))
    for name, width in ((f"{ids[1]}.png", 90), ("P1.png", 50)):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (width, 40)).save(tmp_path / "images" / name)
    first, second = datasets.read("label-studio", tmp_path)
    assert [first.image_id, second.image_id] == ids
    assert (first.path, first.size, second.size) == (None, (1000, 500), (90, 40))


BAD: list[tuple[Any, str]] = [
    ([{"image": "P1.png"}], r"\[0\]: expected a task with its 'data', .*\nChoose \"JSON\""),
    ([task(data=3)], r"\[0\]\.data: expected an object, got a number 3"),
    ([{"data": {}}], r"expected tasks with annotations or predictions, found none\nChoose"),
    ([task(region(), data={"text": 1})], r"\[0\]\.data: expected the path of an image in the task's data"),
    ([task(region(), image="data:image/png;base64,aa")], r"expected the path of an image in the task's data"),
    ([task(), task()], r"\[1\]\.data\.image: expected an image that no other task has"),
    ([task(region("tram"))], r"rectanglelabels\[0\]: expected a class among ship, got a string \"tram\""),
    ([task(region(value={**PLACE, "rectanglelabels": ["a", "b"]}))], r"rectanglelabels: expected one label, got an"),
    ([task(region(place={**PLACE, "x": 2000}))], r"value\.x: expected percents of the image's size"),
    ([task(region(place={**PLACE, "width": -1}))], r"value\.width: expected percents .* sides of 0 or more"),
    ([task(region(place={"points": [[1, 2], [3, 4]]}))], r"value\.points: expected at least 3 points"),
    ([task(region(place={"points": [[1, 2], [3, 4], [5, 6000]]}))], r"points\[2\]: expected percents"),
    ([task(region(image_rotation=90))], r"image_rotation: expected 0: .*\nTurn the image back"),
    ([task(region(original_width=None))], r"result\[0\]: expected the image, or original_width and original_height"),
    ([task(region(place={**PLACE, "rotation": "1"}))], r"value\.rotation: expected a number, got a string"),
    (
        [task(region(place={**PLACE, "x": math.inf}))],
        r"result\[0\]\.value\.x: expected a finite number.*got a number Inf",
    ),
    ([3], r"expected an object, got a number 3"),
]


@pytest.mark.parametrize(("tasks", "message"), BAD)
def test_bad_exports(tasks: Any, message: str, tmp_path: Path) -> None:
    export(tmp_path, *tasks)
    with pytest.raises(DatasetError, match=r"project-1\.json: .*" + message):
        list(datasets.read("label-studio", tmp_path, class_names=["ship"]))


def test_detections_go_in_as_predictions_and_come_back(tmp_path: Path) -> None:
    """As the tool's guide to pre-annotations asks for them: percents, a score for each region."""
    boxes = np.array([[150.0, 250, 300, 100, -math.pi / 2], [40, 30, 20, 10, 0.3]])
    record = ImageRecord("P1", boxes, np.array([0, 1]), scores=np.array([0.9, 0.25]), width=1000, height=500)
    path = datasets.write("label-studio", [record], tmp_path, None, ClassNames(["ship", "plane"]))
    (written,) = json.loads(path.read_text())
    assert written["data"] == {"image": "/data/local-files/?d=images/P1.png"}
    assert "annotations" not in written
    (prediction,) = written["predictions"]
    first = prediction["result"][0]
    assert (first["type"], first["from_name"], first["to_name"]) == ("rectanglelabels", "label", "image")
    assert (first["original_width"], first["original_height"], first["score"]) == (1000, 500, 0.9)
    # The box's first corner is (-w, -h) over two, turned: it lies below on the left.
    assert first["value"]["rectanglelabels"] == ["ship"]
    np.testing.assert_allclose(
        [first["value"][key] for key in ("x", "y", "width", "height", "rotation")], [10, 80, 30, 20, -90], atol=1e-9
    )
    (again,) = datasets.read("label-studio", tmp_path, class_names=["ship", "plane"])
    assert again.scores is not None
    assert again.scores.tolist() == [0.9, 0.25]
    np.testing.assert_allclose(again.corners, rbox_to_quad(boxes), atol=1e-9)


def test_a_detector_without_scores_gives_predictions(tmp_path: Path) -> None:
    """Its findings, and images without any, are nobody's annotations: the tool would not show them for labelling."""
    from rbox_formats import predictions
    from rbox_formats.cli.main import main

    found = [
        ImageRecord("P1", [[40, 30, 20, 10, 0.3]], [0], width=100, height=80),
        ImageRecord("P2", [], [], width=100, height=80),
    ]
    with predictions.Writer(tmp_path / "in.jsonl", predictions.Header(ClassNames(["ship"]), "x")) as writer:
        for record in found:
            writer.write(record)
    words = ["convert", "--data", tmp_path / "in.jsonl", "--format", "predictions", "--to", "label-studio", "--out"]
    result = CliRunner().invoke(main, list(map(str, [*words, tmp_path / "out"])), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "Read back, it is the same." in result.output
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
    assert [set(task) & {"annotations", "predictions"} for task in tasks] == [{"predictions"}] * 2
    assert [len(task["predictions"][0]["result"]) for task in tasks] == [1, 0]
    # The same as ground truth.
    options = ["--to-option", "predictions=false"]
    result = CliRunner().invoke(main, list(map(str, [*words, tmp_path / "truth", *options])), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    tasks = json.loads((tmp_path / "truth" / "tasks.json").read_text())
    assert [set(task) & {"annotations", "predictions"} for task in tasks] == [{"annotations"}] * 2


@pytest.mark.skipif("RBOX_CHECK_SHAPES" in os.environ, reason="the check of types is there before ours")
def test_predictions_are_true_or_false(tmp_path: Path) -> None:
    record = ImageRecord("P1", [[40, 30, 20, 10, 0.3]], [0], width=100, height=80)
    with pytest.raises(DatasetError, match="expected predictions=true or predictions=false, got 1"):
        datasets.write("label-studio", [record], tmp_path, "x", ClassNames(["ship"]), options={"predictions": 1})


def test_what_came_from_the_tool_goes_back_with_its_paths(tmp_path: Path) -> None:
    export(tmp_path / "in", task(region(meta={"text": ["difficult"]}), data={"image": "s3://b/P1.png", "site": 3}))
    dataset = datasets.read("label-studio", tmp_path / "in")
    (record,) = dataset
    assert record.difficult.tolist() == [True]
    datasets.write("label-studio", dataset, tmp_path / "out", "train", dataset.class_names)
    (written,) = json.loads((tmp_path / "out" / "train.json").read_text())
    assert written["data"] == {"image": "s3://b/P1.png", "site": 3}
    assert written["annotations"][0]["result"][0]["meta"] == {"text": ["difficult"]}
    # A window of the image has its metadata, and is another image.
    window = ImageRecord("P1__64__0___0", record.boxes, record.labels, width=64, height=64, metadata=record.metadata)
    datasets.write("label-studio", [window], tmp_path / "out", "windows", dataset.class_names)
    (written,) = json.loads((tmp_path / "out" / "windows.json").read_text())
    assert written["data"]["image"] == "/data/local-files/?d=images/windows/P1__64__0___0.png"
