"""COCO's results."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rbox_formats import LE90, ClassNames, ImageRecord, RboxError, canonical_le90, datasets, rbox_to_quad
from rbox_metrics import read_predictions
from rbox_metrics._inputs.predictions import ANGLES

NAMES = ClassNames(["plane", "ship", "harbor"])


def write(folder: Path, *entries: dict[str, Any]) -> Path:
    (folder / "results.json").write_text(json.dumps(entries))
    return folder / "results.json"


def entry(**values: Any) -> dict[str, Any]:
    return {"image_id": "a", "category_id": 0, "bbox": [10, 20, 8, 4, 30], "score": 0.75} | values


def truth(folder: Path) -> Path:
    """A COCO file whose ids are neither in a row nor in the order of the names."""
    images = [{"id": 70, "file_name": "x/P2.png", "width": 9, "height": 9}, {"id": 3, "file_name": "P1.png"}]
    categories = [{"id": 9, "name": "plane"}, {"id": 4, "name": "ship"}, {"id": 0, "name": "harbor"}]
    path = folder / "truth.json"
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": categories}))
    return path


def test_ids_are_those_of_the_truths_file(tmp_path: Path) -> None:
    path = write(tmp_path, entry(image_id=70, category_id=9), entry(image_id=3, category_id=4), entry(image_id=70))
    found = read_predictions(path, annotations=truth(tmp_path))
    assert found.class_names == ("harbor", "ship", "plane")  # in the order of their ids, as the dataset's
    assert [(record.image_id, record.labels.tolist()) for record in found] == [("P2", [2, 0]), ("P1", [1])]
    named = read_predictions(path, annotations=truth(tmp_path), class_names=NAMES)
    assert [record.labels.tolist() for record in named] == [[0, 2], [1]]


@pytest.mark.parametrize("used, labels", [([0, 2], [0, 2]), ([1, 3], [0, 2]), ([3], [2]), ([0], [0])])
def test_ids_count_from_where_those_in_use_say(used: list[int], labels: list[int], tmp_path: Path) -> None:
    path = write(tmp_path, *(entry(category_id=number) for number in used))
    (record,) = read_predictions(path, class_names=NAMES)
    assert record.labels.tolist() == labels


def test_ids_that_could_be_either_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(RboxError, match=r"neither 0 nor 3 is among them\n.*annotations="):
        read_predictions(write(tmp_path, entry(category_id=1), entry(category_id=2)), class_names=NAMES)


def test_images_by_number_are_found_in_a_truth(tmp_path: Path) -> None:
    """In a COCO dataset by their ids, in another by names that are numbers."""
    empty = np.zeros((0, 5)), np.zeros(0, np.int64)
    records = [ImageRecord("seven", *empty, metadata={"id": 7}), ImageRecord("0012", *empty, metadata={"id": 5})]
    datasets.write("coco", records, tmp_path / "coco", None, NAMES)
    datasets.write("dota", records, tmp_path / "dota", None, NAMES)
    results = write(tmp_path, entry(image_id=7, category_id=3), entry(image_id=5))
    found = read_predictions(
        write(tmp_path, entry(image_id=7), entry(image_id=5)), datasets.read("coco", tmp_path / "coco")
    )
    assert [record.image_id for record in found] == ["seven", "0012"]
    named = datasets.read("dota", tmp_path / "dota", None, NAMES)
    (record,) = read_predictions(write(tmp_path, entry(image_id=12)), named)
    assert record.image_id == "0012"
    with pytest.raises(
        RboxError, match=r"\[0\].image_id: expected the number of one of the ground truth's images, got a number 7"
    ):
        read_predictions(write(tmp_path, entry(image_id=7)), named)
    assert results.exists()


# Pixels from (1, 2) to (8, 5).
RUNS = {"size": [12, 12], "counts": [14, *[4, 8] * 7, 4, 42]}
QUAD = [0, 0, 6, 1, 5, 4, 0, 3]
BOX = [10, 20, 8, 4, 0.5]


@pytest.mark.parametrize(
    "place, box, quad",
    [
        ({"bbox": BOX}, BOX, None),
        ({"bbox": [10, 20, 4, 8, 0.5 + math.pi / 2]}, BOX, None),
        ({"bbox": None, "rbox": BOX}, BOX, None),
        ({"bbox": [1, 2, 8, 4]}, [5, 4, 8, 4, 0], [1, 2, 9, 2, 9, 6, 1, 6]),
        ({"bbox": QUAD}, None, QUAD),
        ({"bbox": None, "poly": QUAD}, None, QUAD),
        ({"bbox": None, "poly": QUAD, "rbox": BOX}, BOX, QUAD),
        ({"bbox": [0, 0, 6, 4], "segmentation": [QUAD]}, None, QUAD),
        ({"bbox": BOX, "segmentation": [QUAD]}, BOX, QUAD),
        ({"bbox": [1, 2, 8, 4], "segmentation": {"size": [9, 9], "counts": [81]}}, [5, 4, 8, 4, 0], None),
        ({"bbox": [0, 0, 1, 1], "segmentation": RUNS}, [5, 4, 7, 3, 0], None),
        ({"bbox": None, "segmentation": RUNS}, [5, 4, 7, 3, 0], None),
    ],
)
def test_places(place: dict[str, Any], box: list[float] | None, quad: list[float] | None, tmp_path: Path) -> None:
    path = write(tmp_path, entry(**place))
    (record,) = read_predictions(path, class_names=NAMES, convention="radians-clockwise")
    if box is not None:
        assert record.boxes[0] == pytest.approx(box)
    if quad is not None:
        assert record.quads[0].ravel().tolist() == quad
    if "poly" not in place and "segmentation" not in place and len(place["bbox"] or BOX) == 5:
        assert record.quads is None


def test_places_of_both_kinds_in_one_file_all_have_corners(tmp_path: Path) -> None:
    path = write(tmp_path, entry(bbox=BOX), entry(bbox=QUAD))
    (record,) = read_predictions(path, class_names=NAMES, convention=LE90)
    assert record.quads[0] == pytest.approx(rbox_to_quad(np.array(BOX, dtype=float)))
    assert record.quads[1].ravel().tolist() == QUAD


@pytest.mark.parametrize(
    "convention, angle, expected",
    [
        (None, 30, -30),
        ("degrees-counter-clockwise", 30, -30),
        (LE90.degrees.counter_clockwise, 30, -30),
        ("degrees-clockwise", 30, 30),
        ("degrees-clockwise", 100, -80),
        ("radians-clockwise", 0.5, 90 / math.pi),
        ("radians-counter-clockwise", 0.5, -90 / math.pi),
        ("le135", 2, 360 / math.pi - 180),
    ],
)
def test_the_angle_is_what_the_convention_says(convention: Any, angle: float, expected: float, tmp_path: Path) -> None:
    path = write(tmp_path, entry(bbox=[10, 20, 8, 4, angle]))
    found = read_predictions(path, class_names=NAMES, convention=convention)
    (record,) = found
    assert record.boxes[0] == pytest.approx([10, 20, 8, 4, math.radians(expected)])
    assert found.angles in ANGLES


def test_a_copy_of_a_coco_truth_is_the_truth(tmp_path: Path) -> None:
    """The same key means the same in both: what `coco-rotated` writes, given back as results."""
    boxes = np.array([[60, 100, 60, 12, 0.4], [140, 100, 60, 12, -1.5], [220, 100, 12, 60, 0.9]])
    written = ImageRecord("a", canonical_le90(boxes), np.array([0, 1, 2]), width=300, height=200)
    file = datasets.write("coco-rotated", [written], tmp_path, None, NAMES)
    entries = [
        {key: annotation[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.5}
        for annotation in json.loads(file.read_text())["annotations"]
    ]
    (record,) = read_predictions(write(tmp_path, *entries), annotations=file)
    np.testing.assert_allclose(record.boxes, written.boxes, atol=1e-9)


@pytest.mark.parametrize("angles", [[0.4, -1.5], [3.0], [0.0, 1.2]])
def test_angles_that_may_be_radians_are_asked_for(angles: list[float], tmp_path: Path) -> None:
    path = write(tmp_path, *(entry(bbox=[10, 20, 8, 4, angle]) for angle in angles))
    with pytest.raises(RboxError, match=r"results.json: the angles of `bbox` may be .*\n.*--convention"):
        read_predictions(path, class_names=NAMES)


def test_upright_boxes_need_no_convention(tmp_path: Path) -> None:
    found = read_predictions(write(tmp_path, entry(bbox=[10, 20, 8, 4, 0])), class_names=NAMES)
    assert found.angles == "degrees-counter-clockwise"
    assert next(iter(found)).boxes[0].tolist() == [10, 20, 8, 4, 0]


def test_boxes_that_ultralytics_names_are_in_radians_whatever_is_said(tmp_path: Path) -> None:
    path = write(tmp_path, entry(rbox=BOX), entry(bbox=[10, 20, 8, 4, 30]))
    (record,) = read_predictions(path, class_names=NAMES)
    assert record.boxes[:, 4].tolist() == pytest.approx([0.5, -math.pi / 6])


@pytest.mark.parametrize("convention", ["radians-clockwise", "oc"])
def test_an_angle_beyond_a_turn_is_none_in_radians(convention: str, tmp_path: Path) -> None:
    path = write(tmp_path, entry(bbox=[10, 20, 8, 4, 1]), entry(bbox=[10, 20, 8, 4, -30]))
    with pytest.raises(RboxError, match=r"\[1\].bbox: expected an angle in radians, up to 2 pi(.|\n)*degrees-counter"):
        read_predictions(path, class_names=NAMES, convention=convention)


def test_a_convention_is_one_that_there_is(tmp_path: Path) -> None:
    with pytest.raises(RboxError, match=r"expected a convention of angles among le90.*radians-clockwise, got 'left'"):
        read_predictions(write(tmp_path, entry()), class_names=NAMES, convention="left")


def test_only_coco_results_have_a_convention(tmp_path: Path) -> None:
    (tmp_path / "Task1_ship.txt").write_text("")
    with pytest.raises(RboxError, match="expected COCO results, since a convention of angles is given, got dota-task1"):
        read_predictions(tmp_path / "Task1_ship.txt", class_names=NAMES, convention="le90")


def test_results_without_scores_and_without_detections(tmp_path: Path) -> None:
    without = {key: value for key, value in entry().items() if key != "score"}
    (record,) = read_predictions(write(tmp_path, without), class_names=NAMES)
    assert record.scores is None
    assert list(read_predictions(write(tmp_path), class_names=NAMES)) == []


@pytest.mark.parametrize(
    "bad, message",
    [
        ({"category_id": 7}, r"\[1\].category_id: expected a category id among 0, 1, 2, got a number 7"),
        ({"category_id": "ship"}, r"\[1\].category_id: expected a number, got a string"),
        ({"bbox": [1, 2, 3]}, r"\[1\].bbox: expected 4 numbers .* 5 .* or 8"),
        ({"bbox": [1, 2, -3, 4, 0]}, r"\[1\].bbox: expected a width and a height that are not negative"),
        ({"bbox": [1, 2, 3, math.nan]}, r"\[1\].bbox\[3\]: expected a finite number"),
        ({"bbox": None}, r"\[1\]: expected a bbox or a segmentation"),
        ({"rbox": [1, 2, 3]}, r"\[1\].rbox: expected 5 numbers"),
        ({"segmentation": [[1, 2, 3, 4]]}, r"\[1\].segmentation\[0\]: expected x and y of at least 3 corners"),
        ({"score": None}, r"\[1\]: expected a key 'score'"),
        ({"score": "high"}, r"\[1\].score: expected a number"),
        ({"image_id": None}, r"\[1\].image_id: expected a number, got null"),
    ],
)
def test_a_bad_entry_is_named_by_its_place(bad: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(RboxError, match=rf"results.json: {message}"):
        read_predictions(write(tmp_path, entry(), entry(**bad)), class_names=NAMES)


def test_class_names_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(RboxError, match="have only numbers for classes"):
        read_predictions(write(tmp_path, entry()))


def test_a_file_cut_short_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('[{"image_id": 1,\n "category')
    with pytest.raises(RboxError, match=r"results.json:2: expected JSON"):
        read_predictions(tmp_path / "results.json", class_names=NAMES)
