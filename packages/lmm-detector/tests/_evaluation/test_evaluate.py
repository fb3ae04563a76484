from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from lmm_detector import evaluate_file, visualize
from rbox_formats import Dataset, ImageRecord, datasets, draw, images, predictions
from rbox_formats.errors import DatasetError, RboxError
from rbox_metrics.plots import judged_sheet

HEADER_SETTINGS = {"fingerprint": "sha256:1"}


def write(path: Path, records: list[ImageRecord], names: tuple[str, ...]) -> Path:
    with predictions.Writer(path, predictions.Header(names, **HEADER_SETTINGS)) as writer:  # type: ignore[arg-type]
        for record in records:
            writer.write(record)
    return path


def bare(record: ImageRecord, boxes: np.ndarray | None = None) -> ImageRecord:
    boxes = record.boxes if boxes is None else boxes
    return ImageRecord(record.image_id, boxes, record.labels[: len(boxes)], width=record.width, height=record.height)


@pytest.fixture
def truth(scenes: Path, class_names: tuple[str, ...]) -> Dataset:
    return datasets.read("dota", scenes, "val", class_names)


def test_the_truth_itself_scores_one(truth: Dataset, tmp_path: Path) -> None:
    figures = evaluate_file(truth, write(tmp_path / "p.jsonl", [bare(r) for r in truth], truth.class_names)).to_dict()
    assert figures["f1_micro"] == figures["map_nc"] == 1.0


def test_missed_images_count(truth: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = list(truth)
    path = write(tmp_path / "p.jsonl", [bare(records[0])], truth.class_names)
    recall = evaluate_file(truth, path).to_dict()["recall_micro"]
    assert recall == pytest.approx(len(records[0]) / sum(map(len, records)))
    assert "2 of 3 images have no predictions" in caplog.text


def test_label_files_without_an_image_are_left_out(
    truth: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    records = list(truth)
    alone = ImageRecord("alone", records[0].boxes, records[0].labels)
    both = Dataset(truth.class_names, [*records, alone], lambda record: record)
    path = write(tmp_path / "p.jsonl", [bare(r) for r in records], truth.class_names)
    assert evaluate_file(both, path, only_with_images=True).to_dict()["recall_micro"] == 1.0
    assert "1 of 4 images have no file and do not count" in caplog.text


def test_predictions_of_another_dataset(truth: Dataset, tmp_path: Path) -> None:
    other = ImageRecord("other", np.zeros((0, 5)), np.zeros(0, dtype=np.int64))
    with pytest.raises(RboxError, match="'other'"):
        evaluate_file(truth, write(tmp_path / "p.jsonl", [other], truth.class_names))


def test_a_picture_for_each_image_and_a_sheet(truth: Dataset, tmp_path: Path) -> None:
    """Each with its own annotations left and its own predictions right, as `draw` draws them."""
    first, second, _ = truth
    predicted = [bare(second, second.boxes[:1]), bare(first)]
    path = write(tmp_path / "p.jsonl", predicted, truth.class_names)
    *pictures, sheet = visualize(truth, path, tmp_path / "pictures")
    assert [picture.name for picture in pictures] == [f"{first.image_id}.png", f"{second.image_id}.png"]
    assert sheet.name == "sheet.png"
    assert images.read_size(sheet)[0] > images.read_size(pictures[0])[0]
    for picture, annotated, found in zip(pictures, (first, second), reversed(predicted), strict=True):
        expected = draw.side_by_side(images.load(annotated.file), annotated, found, truth.class_names)
        np.testing.assert_array_equal(images.load(picture), np.asarray(expected))
    expected_sheet = judged_sheet([(first, predicted[1]), (second, predicted[0])], truth.class_names)
    np.testing.assert_array_equal(images.load(sheet), np.asarray(expected_sheet))
    assert len(visualize(truth, path, tmp_path / "one", limit=1)) == 2


def test_nothing_to_draw(truth: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="expected images that are in the dataset and in the predictions"):
        visualize(truth, write(tmp_path / "p.jsonl", [], truth.class_names), tmp_path / "pictures")
    assert not (tmp_path / "pictures").exists()
