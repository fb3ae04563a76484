"""What Ultralytics' `predict save_txt save_conf` writes."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from rbox_formats import ClassNames, Dataset, ImageRecord, RboxError, datasets, rbox_to_quad
from rbox_metrics import evaluate, read_predictions
from rbox_metrics.cli.main import main

NAMES = ClassNames(["ship", "plane"])
BOXES = np.array([[100.0, 50, 60, 20, 0.4], [40, 30, 20, 10, -1.0]])
TRUTH = Dataset(NAMES, [ImageRecord("P1", BOXES, [0, 1], width=200, height=100)])


def line(label: int, numbers: np.ndarray, *rest: float) -> str:
    """As `Results.save_txt` does: "%g" for each number, six digits."""
    values = (label, *numbers.ravel().tolist(), *rest)
    return ("%g " * len(values)).rstrip() % values


def run(root: Path, *lines: str, folder: str = "labels") -> Path:
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / "P1.txt").write_text("".join(f"{one}\n" for one in lines))
    return root


def shares(boxes: np.ndarray = BOXES) -> np.ndarray:
    return rbox_to_quad(boxes) / [200, 100]


@pytest.mark.parametrize("folder", ["labels", "."])
@pytest.mark.parametrize("rest", [(), (0.9,), (0.9, 17)])
def test_quads_confidences_and_tracks(folder: str, rest: tuple[float, ...], tmp_path: Path) -> None:
    run(tmp_path, *(line(label, quad, *rest) for label, quad in enumerate(shares())), folder=folder)
    found = read_predictions(tmp_path, TRUTH)
    assert (found.kind, found.has_empty_images, found.class_names) == ("ultralytics", False, NAMES)
    (record,) = found
    assert record.image_id == "P1"
    assert record.labels.tolist() == [0, 1]
    np.testing.assert_allclose(record.boxes, BOXES, atol=2e-3)  # six digits
    if rest:
        assert record.scores is not None
        assert record.scores.tolist() == [0.9, 0.9]
    else:
        assert record.scores is None
    assert evaluate(TRUTH, found, NAMES, iou_thresholds=[0.95]).at[0].map == 1


def test_upright_boxes_and_xywhr(tmp_path: Path) -> None:
    run(tmp_path, "0 0.5 0.5 0.2 0.4 0.75", "1 0.25 0.5 0.1 0.1 0.5 3")
    (record,) = read_predictions(tmp_path, TRUTH)
    np.testing.assert_allclose(record.boxes, [[100, 50, 40, 40, 0], [50, 50, 20, 10, 0]], atol=1e-9)
    assert record.scores is not None
    assert record.scores.tolist() == [0.75, 0.5]
    # Pixels and radians: as obb.xywhr has them, the height more than the width.
    run(tmp_path, f"0 100 50 20 60 {0.4 + math.pi / 2!r} 0.5", "1 40 30 20 10 -1 0.25")
    (record,) = read_predictions(tmp_path, TRUTH)
    np.testing.assert_allclose(record.boxes, BOXES, atol=1e-9)
    run(tmp_path, "0 100 50 20 60 0.3", "1 40 30 20 10 -1")
    (record,) = read_predictions(tmp_path, TRUTH)
    assert record.scores is None
    run(tmp_path, *(line(label, quad, 0.5) for label, quad in enumerate(rbox_to_quad(BOXES))))
    (record,) = read_predictions(tmp_path, TRUTH)
    np.testing.assert_allclose(record.boxes, BOXES, atol=2e-3)


def test_whose_classes_the_numbers_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(tmp_path / "predict", line(0, shares()[1], 0.9))
    with caplog.at_level(logging.WARNING):
        assert read_predictions(tmp_path / "predict", TRUTH).class_names == NAMES
    assert "class numbers are taken for those of the ground truth (0 ship, 1 plane)" in caplog.text
    (tmp_path / "predict" / "data.yaml").write_text("names: [plane, ship]\n")
    caplog.clear()
    for path in (tmp_path / "predict", tmp_path / "predict" / "labels"):
        found = read_predictions(path, TRUTH)
        assert found.class_names == ("plane", "ship")
    assert not caplog.text
    assert read_predictions(path, TRUTH, class_names=["a", "b"]).class_names == ("a", "b")
    with pytest.raises(RboxError, match=r"the files have only numbers of classes, no names\nPut the data\.yaml"):
        read_predictions(run(tmp_path / "other" / "run", line(0, shares()[0], 0.5)))


def test_other_text_files_beside_the_labels_are_none_of_it(tmp_path: Path) -> None:
    run(tmp_path, line(0, shares()[0], 0.9))
    (tmp_path / "notes.txt").write_text("conf=0.25\n")
    (tmp_path / "labels" / "classes.txt").write_text("ship\n")
    found = read_predictions(tmp_path, TRUTH)
    assert (found.kind, [record.image_id for record in found]) == ("ultralytics", ["P1"])


def test_sizes_of_the_pictures_beside(tmp_path: Path) -> None:
    run(tmp_path, line(0, shares()[0], 0.9))
    with pytest.raises(RboxError, match=r"P1\.txt: expected an image 'P1' in the ground truth, or beside the labels"):
        read_predictions(tmp_path, class_names=NAMES)
    Image.new("L", (200, 100)).save(tmp_path / "P1.jpg")
    (record,) = read_predictions(tmp_path, class_names=NAMES)
    np.testing.assert_allclose(record.boxes, BOXES[:1], atol=2e-3)


BAD = {
    "0 0.1 0.2 0.3": "expected predictions whose kind",
    "7 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3 0.9": r"P1\.txt:1: expected a class from 0 to 1 \(ship, plane\), got 7\nPut",
    "0 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3 7": r"P1\.txt:1: expected a confidence from 0 to 1, got 7\nThe number of a",
    "0 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3 1.5": r"expected a confidence from 0 to 1, got 1\.5\nA line reads",
    "0 0.1 0.1 0.3 0.1 0.3 0.3 0.1": r"expected a class, 8 coordinates and perhaps a confidence, got 8 fields",
    "0 0.5 0.5 -0.1 0.2": r"expected sides that are not negative, got '-0\.1 0\.2'",
    "0 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3 0.9\n0 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3": "some lines have a confidence",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_lines(text: str, tmp_path: Path) -> None:
    with pytest.raises(RboxError, match=BAD[text]):
        read_predictions(run(tmp_path, text), TRUTH)


def test_the_command(tmp_path: Path) -> None:
    """A yolo-obb dataset as the truth, and the folder of a run: the same boxes score 100."""
    (tmp_path / "data" / "images").mkdir(parents=True)
    Image.new("L", (200, 100)).save(tmp_path / "data" / "images" / "P1.png")
    datasets.write("yolo-obb", TRUTH, tmp_path / "data", None, NAMES)
    run(tmp_path / "predict", *(line(label, quad, 0.9) for label, quad in enumerate(shares())))
    words = ["evaluate", "--data", str(tmp_path / "data"), "--format", "yolo-obb", "--predictions"]
    report = tmp_path / "report.json"
    result = CliRunner().invoke(main, [*words, str(tmp_path / "predict"), "--out", str(report)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert '"map": 1.0' in report.read_text()
