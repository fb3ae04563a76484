from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from rbox_baselines.cli.main import main
from rbox_formats import ClassNames, ImageRecord, datasets, predictions, rbox_to_quad

NAMES = ClassNames(["plane", "ship"])
BOXES = np.array([[30, 40, 20, 10, 0.5], [70, 80, 30, 10, -0.5], [20, 90, 16, 8, 1.0]], dtype=np.float64)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Two images: a plane and two ships on one, nothing on the other."""
    quads = rbox_to_quad(BOXES)
    first = ImageRecord.from_quads("P0001", quads, np.array([0, 1, 1]))
    second = ImageRecord.from_quads("P0002", quads[:0], np.array([], dtype=np.int64))
    datasets.write("dota", [first, second], tmp_path / "data", "val", NAMES)
    return tmp_path / "data"


def write(path: Path, name: str = "P0001", last_label: int = 1) -> Path:
    """The plane and one ship found, the third box 60 px off; the ship's sides are exchanged, as `oc` may have them."""
    boxes = BOXES + np.array([[0, 0, 0, 0, 0], [0, 0, -20, 20, np.pi / 2], [60, 0, 0, 0, 0]])
    found = {"bboxes": np.float32(boxes), "labels": np.array([0, 1, last_label]), "scores": np.float32([0.9, 0.6, 0.2])}
    empty = {"bboxes": np.zeros((0, 5)), "labels": np.zeros(0, int), "scores": np.zeros(0)}
    images = [
        {"img_id": name, "ori_shape": (128, 128), "pred_instances": found},
        {"img_id": "P0002", "ori_shape": (128, 128), "pred_instances": empty},
    ]
    path.write_bytes(pickle.dumps(images, protocol=2))
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["results", *map(str, arguments)], catch_exceptions=False)


def test_scores_and_writes(tmp_path: Path, dataset: Path) -> None:
    out, report = tmp_path / "predictions.jsonl", tmp_path / "report.json"
    result = run(
        write(tmp_path / "r.pkl"), "--data", dataset, "--split", "val", "--class-names", "plane,ship",
        "--out", out, "--out", report, "--protocol", "voc",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    figures = json.loads(report.read_text())
    # By hand: the plane is found (1); of two ships the first (1 at recall 1/2, then one false: area 1/2).
    assert figures["map"] == pytest.approx(0.75)
    # From score 0.2 (excluded) on: 2 of 2 detections hit, 2 of 3 objects found.
    best = figures["sweep"]["best"]["f1_micro"]
    assert best["value"] == pytest.approx(2 * 1 * (2 / 3) / (1 + 2 / 3))
    assert 0.2 < best["threshold"] <= 0.6
    assert "LMMRotate's mAP_nc" in result.output
    found = predictions.read(out)
    assert [len(record) for record in found] == [3, 0]
    np.testing.assert_allclose(found[0].boxes[:2], BOXES[:2], atol=1e-5)
    assert str(out) in result.output


def test_scores_without_writing(tmp_path: Path, dataset: Path) -> None:
    before = set(tmp_path.rglob("*"))
    result = run(write(tmp_path / "r.pkl"), "--data", dataset, "--split", "val", "--class-names", "plane,ship")
    assert result.exit_code == 0, result.output
    assert set(tmp_path.rglob("*")) - before == {tmp_path / "r.pkl"}


def test_old_results_with_a_list_of_images(tmp_path: Path, dataset: Path) -> None:
    rows = np.c_[BOXES, [0.9, 0.6, 0.2]].astype(np.float32)
    (tmp_path / "r.pkl").write_bytes(pickle.dumps([[rows[:0]] * 2, [rows[:1], rows[1:]]], protocol=2))
    (tmp_path / "ids.txt").write_text("P0002\nP0001\n")
    result = run(
        tmp_path / "r.pkl", "--data", dataset, "--split", "val", "--class-names", "plane,ship",
        "--image-ids", tmp_path / "ids.txt", "--out", tmp_path / "r.json",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "r.json").read_text())["map"] == pytest.approx(1)


@pytest.mark.parametrize(
    "changed, message",
    [({"name": "P0777"}, "does not have: 'P0777'"), ({"last_label": 2}, "expected labels of 2 classes, got 2")],
)
def test_results_that_do_not_fit_are_one_message(tmp_path: Path, dataset: Path, changed: dict, message: str) -> None:
    out = tmp_path / "predictions.jsonl"
    path = write(tmp_path / "r.pkl", **changed)
    result = run(path, "--data", dataset, "--split", "val", "--class-names", "plane,ship", "--out", out)
    assert result.exit_code == 1
    assert message in result.output
    assert not out.exists()


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        ([], 2, "Missing argument 'PICKLE'"),
        (["r.pkl"], 2, "Missing option '--data'"),
        (["none.pkl", "--data", "data", "--split", "val"], 1, "none.pkl: expected a file of results, found none"),
        (["r.pkl", "--data", "data", "--split", "val", "--out", "r.pkl"], 1, "r.pkl: expected another file"),
        (["r.pkl", "--data", "nowhere"], 1, "nowhere"),
    ],
)
def test_what_is_wrong_with_the_call(
    tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
) -> None:
    write(tmp_path / "r.pkl")
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == code
    assert message in result.output
