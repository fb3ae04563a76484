"""Detections in MMRotate's pickles; `data/results.py` made these, and the corners that mmrotate says they have."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rbox_baselines._tools._results import check_images, load_results, write_predictions
from rbox_baselines.errors import ResultsError
from rbox_formats import ClassNames, predictions

DATA = Path(__file__).parents[1] / "data"
WITNESS = json.loads((DATA / "results.json").read_text())
NAMES = ("plane", "ship", "bridge")


def same_outlines(corners: Any, others: Any, tolerance: float = 1e-3) -> None:
    """The same corners, whichever comes first and whichever way around: the float32 of the files keeps 1e-4 px."""
    first, second = (np.asarray(each, dtype=np.float64).reshape(-1, 4, 2) for each in (corners, others))
    assert len(first) == len(second)
    distances = np.linalg.norm(first[:, :, None] - second[:, None], axis=-1)
    assert distances.min(axis=2).max(initial=0) < tolerance
    assert distances.min(axis=1).max(initial=0) < tolerance


def test_what_a_model_of_mmrotate_found() -> None:
    records = load_results(DATA / "results-model.pkl", NAMES)
    # The model writes angles below -pi/2, where le90 ends.
    assert min(WITNESS["model"][0]["angles"]) < -np.pi / 2
    assert [record.image_id for record in records] == ["P0001", "P0002"]
    for record, witness in zip(records, WITNESS["model"], strict=True):
        assert record.size == (64, 96)
        same_outlines(record.corners, witness["corners"])
        assert record.labels.tolist() == witness["labels"]
        np.testing.assert_allclose(record.scores, witness["scores"], rtol=1e-6)
        assert record.quads is None
        assert (record.boxes[:, 2] >= record.boxes[:, 3]).all()
        assert (-np.pi / 2 <= record.boxes[:, 4]).all()
        assert (record.boxes[:, 4] < np.pi / 2).all()


def test_quads_stay_quads() -> None:
    first, second = load_results(DATA / "results-quads.pkl")
    assert first.quads is not None
    assert first.quads.tolist() == WITNESS["quads"][0]
    assert first.scores.tolist() == [0.75, 0.5]  # type: ignore[union-attr]
    assert first.labels.tolist() == [0, 2]
    # The second one is a square.
    np.testing.assert_allclose(first.boxes[1], [50, 60, 20, 20, 0], atol=1e-5)
    assert len(second) == 0


def test_the_form_of_mmrotate_0() -> None:
    first, second = load_results(DATA / "results-old.pkl", NAMES, image_ids=["P0001", "P0002"])
    assert first.image_id == "P0001"
    same_outlines(first.corners, WITNESS["old"])
    assert first.labels.tolist() == [1, 1, 2]
    np.testing.assert_allclose(first.scores, [0.9, 0.8, 0.3], rtol=1e-6)  # type: ignore[arg-type]
    assert (second.image_id, len(second)) == ("P0002", 0)


def write(path: Path, value: object) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=2))
    return path


def image(name: object = "P0001", n: int = 2, **changed: Any) -> dict[str, Any]:
    """An image as MMRotate 1.x writes it, with arrays for tensors."""
    instances = {
        "bboxes": np.tile(np.float32([30, 40, 20, 10, 0.5]), (n, 1)),
        "labels": np.arange(n),
        "scores": np.linspace(0.1, 0.9, n),
    }
    instances.update({key: value for key, value in changed.items() if key in instances})
    whole = {"img_id": name, "ori_shape": (96, 64), "img_path": "/data/images/P0009.png", "pred_instances": instances}
    return {**whole, **{key: value for key, value in changed.items() if key not in instances}}


@pytest.mark.parametrize("name, expected", [("P0001", "P0001"), (7, "P0009"), (None, "P0009"), ("", "P0009")])
def test_an_image_is_named_by_its_id_or_its_file(tmp_path: Path, name: object, expected: str) -> None:
    assert load_results(write(tmp_path / "r.pkl", [image(name)]))[0].image_id == expected


def test_what_is_not_finite_is_left_out(tmp_path: Path) -> None:
    boxes = np.float32([[30, 40, 20, 10, 0.5], [np.nan, 40, 20, 10, 0.5]])
    (record,) = load_results(write(tmp_path / "r.pkl", [image(bboxes=boxes)]))
    assert record.labels.tolist() == [0]
    assert record.scores.tolist() == [0.1]  # type: ignore[union-attr]


ARRAY = np.zeros((2, 6), np.float32)
BAD: dict[str, tuple[object, str]] = {
    "no list": ({"a": 1}, "expected a list with the detections of each image, got a dict with a"),
    "numbers": ([1, 2], "expected a dict with 'pred_instances', got int for image 0"),
    "another dict": ([image(), {"det": 1}], "expected a dict with 'pred_instances', got a dict with det for image 1"),
    "no boxes": ([image(bboxes=None)], "expected a tensor 'bboxes' of image 0, got NoneType"),
    "a list of boxes": ([image(bboxes=[[1, 2]])], "expected a tensor 'bboxes' of image 0, got list"),
    "boxes of six": ([image(bboxes=ARRAY)], r"expected boxes \(N, 5\) or \(N, 8\).* of image 0, got \(2, 6\)"),
    "flat boxes": ([image(bboxes=np.zeros(10))], r"expected boxes .* got \(10,\)"),
    "few labels": ([image(labels=np.zeros(1, int))], r"expected boxes .* got \(2, 5\), \(1,\), \(2,\)"),
    "labels in halves": ([image(labels=np.float32([0.5, 1]))], "expected labels from 0 on of image 0"),
    "labels below 0": ([image(labels=np.array([-1, 0]))], "expected labels from 0 on of image 0"),
    "labels beyond": (
        [image(n=5)],
        r"expected labels of 3 classes, got 4 on 'P0001'\nName the classes .*--class-names.*--format",
    ),
    "no size": ([image(ori_shape=None)], r"expected 'ori_shape' of image 0 as \(height, width\), got None"),
    "size 0": ([image(ori_shape=(0, 5))], r"expected 'ori_shape' of image 0"),
    "no name": ([image(None, img_path=None)], "expected 'img_id' or 'img_path' of image 0, got neither"),
    "twice": ([image(), image()], "expected each image once, got 'P0001' again"),
    "old": ([[ARRAY]], r"got 1 without names, as MMRotate 0.x writes them\n.*--image-ids"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_result_is_refused(tmp_path: Path, name: str) -> None:
    value, message = BAD[name]
    with pytest.raises(ResultsError, match=message):
        load_results(write(tmp_path / "r.pkl", value), NAMES)


@pytest.mark.parametrize(
    "value, ids, message",
    [
        ([[ARRAY]], ["a", "b"], r"expected as many image ids as images \(1\), got 2"),
        ([[ARRAY[:, :5], ARRAY]], ["a"], r"expected an array \(N, 6\) for each class of 'a'"),
        ([[ARRAY[0]]], ["a"], r"expected an array \(N, 6\) for each class of 'a'"),
        ([[]], ["a"], r"expected an array \(N, 6\) for each class of 'a'"),
        ([[ARRAY], [ARRAY]], ["a", "a"], "expected each image once, got 'a' again"),
    ],
)
def test_what_is_no_old_result_is_refused(tmp_path: Path, value: object, ids: list[str], message: str) -> None:
    with pytest.raises(ResultsError, match=message):
        load_results(write(tmp_path / "r.pkl", value), NAMES, image_ids=ids)


def test_results_of_another_dataset_are_refused(tmp_path: Path) -> None:
    records = load_results(write(tmp_path / "r.pkl", [image(f"P000{i}") for i in range(6)]))
    check_images(records, [f"P000{i}" for i in range(9)], tmp_path)
    with pytest.raises(
        ResultsError,
        match=r"got 4 of 6 that it does not have: 'P0001', 'P0003', 'P0004', \.\.\.\nName the dataset.*'P0000'",
    ):
        check_images(records, ["P0002", "P0000"], tmp_path)
    with pytest.raises(ResultsError, match="this dataset has no images"):
        check_images(records, [], tmp_path)


def test_predictions_are_read_back(tmp_path: Path) -> None:
    source = DATA / "results-quads.pkl"
    records = load_results(source)
    out = tmp_path / "new" / "predictions.jsonl"
    for _ in range(2):  # written anew, not gone on with
        write_predictions(records, ClassNames(NAMES), out, source=source, dataset={"data": "here"})
        found = predictions.read(out)
    assert found.class_names == NAMES
    assert found.header.fingerprint == "sha256:" + hashlib.sha256(source.read_bytes()).hexdigest()
    for before, after in zip(records, found, strict=True):
        assert (before.image_id, before.size) == (after.image_id, after.size)
        np.testing.assert_array_equal(before.boxes, after.boxes)
        np.testing.assert_array_equal(before.corners, after.corners)
        np.testing.assert_array_equal(before.scores, after.scores)  # type: ignore[arg-type]
