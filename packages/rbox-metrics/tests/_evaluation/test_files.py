"""A predictions file against a dataset."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from rbox_formats import ClassNames, Dataset, ImageRecord, datasets, predictions
from rbox_metrics import MetricsError, evaluate_file, write_dota_submission, write_fair1m_submission

NAMES = ClassNames(["plane", "ship"])
A, B = [50.0, 50.0, 20.0, 8.0, 0.3], [20.0, 30.0, 9.0, 4.0, -0.5]


def record(image_id: str, boxes: list[list[float]], labels: list[int], **fields: object) -> ImageRecord:
    return ImageRecord(image_id, np.array(boxes).reshape(-1, 5), np.array(labels, dtype=np.int64), **fields)


def dataset(*records: ImageRecord, names: ClassNames = NAMES) -> Dataset:
    return Dataset(names, list(records), lambda one: one)


TRUTH = dataset(record("P1", [A, B], [0, 1]), record("P2", [B], [1]))
FOUND = [record("P1", [A, B], [0, 1], scores=np.array([0.9, 0.8])), record("P2", [A], [0], scores=np.array([0.7]))]


def jsonl(path: Path, names: ClassNames = NAMES) -> Path:
    with predictions.Writer(path, predictions.Header(names, "none")) as writer:
        for one in FOUND:
            writer.write(one)
    return path


def coco(path: Path) -> Path:
    path.write_text(
        json.dumps(
            [
                {"image_id": one.image_id, "category_id": int(label), "rbox": box.tolist(), "score": float(score)}
                for one in FOUND
                for box, label, score in zip(one.boxes, one.labels, one.scores, strict=True)
            ]
        )
    )
    return path


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: jsonl(folder / "predictions.jsonl"),
        lambda folder: coco(folder / "results.json"),
        lambda folder: write_dota_submission(folder / "out.zip", FOUND, NAMES),
    ],
)
def test_every_kind_gives_the_same_report(write: object, tmp_path: Path) -> None:
    report = evaluate_file(TRUTH, write(tmp_path), iou_thresholds=(0.5, 0.75))
    # The plane is found before the one that is not there, 11 / 11; of two ships one: recalls 0 to 0.5, 6 / 11.
    assert report.figures["map_per_class"] == pytest.approx([1, 6 / 11])
    assert report.figures["map"] == pytest.approx((1 + 6 / 11) / 2)
    assert report.class_names == tuple(NAMES)


def test_the_truths_classes_lead(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "predictions.jsonl", ClassNames(["Plane", "boat"]))
    with pytest.raises(MetricsError, match="no class for the detector's 'boat'"):
        evaluate_file(TRUTH, path)
    report = evaluate_file(TRUTH, path, class_mapping={"boat": "ship"})
    assert report.class_names == ("plane", "ship")
    assert report.figures["map_per_class"] == pytest.approx([1, 6 / 11])
    report = evaluate_file(TRUTH, path, class_mapping={"boat": None})
    assert report.figures["map_per_class"] == pytest.approx([1, 0])


def test_fair1m_files_are_scored_with_the_names_that_the_detector_has(tmp_path: Path) -> None:
    names = ClassNames(["Boeing737", "Warship"])
    path = write_fair1m_submission(tmp_path / "test.zip", FOUND, names)
    report = evaluate_file(TRUTH, path, class_names=names, class_mapping={"Boeing737": "plane", "warship": "ship"})
    assert report.figures["map"] == pytest.approx((1 + 6 / 11) / 2)


def test_a_coco_truth_says_whose_the_numbers_are(tmp_path: Path) -> None:
    datasets.write("coco", TRUTH, tmp_path / "truth", None, NAMES)
    entries = [
        {"image_id": 1, "category_id": 2, "bbox": B, "score": 0.9},
        {"image_id": 2, "category_id": 2, "bbox": B, "score": 0.8},
    ]
    (tmp_path / "results.json").write_text(json.dumps(entries))
    truth = datasets.read("coco", tmp_path / "truth")
    for named in (None, tmp_path / "truth/annotations.json"):
        report = evaluate_file(truth, tmp_path / "results.json", annotations=named, convention="radians-clockwise")
        assert report.angles == "radians-clockwise"
        assert report.figures["map_per_class"] == pytest.approx([0, 1])


def test_which_images_count_does_not_depend_on_the_predictions(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Two of four have an image; a third is predicted without."""
    image = tmp_path / "P1.png"
    truth = dataset(
        record("P1", [A], [0], path=image),
        record("P9", [A], [0], path=image),
        record("P2", [A], [0]),
        record("P3", [A], [0]),
    )
    with caplog.at_level(logging.INFO, logger="rbox_metrics"):
        everything = evaluate_file(truth, jsonl(tmp_path / "predictions.jsonl"))
        with_images = evaluate_file(truth, tmp_path / "predictions.jsonl", only_with_images=True)
    assert (everything.images, with_images.images) == (4, 2)
    assert (everything.at[0].classes[0].truths, with_images.at[0].classes[0].truths) == (4, 2)
    # The detection on P2, which has no file, is no false positive there.
    assert with_images.at[0].classes[0].detections == 1
    levels = {entry.message: entry.levelname for entry in caplog.records}
    assert levels == {
        "2 of 4 images have no predictions: their objects count as missed (1 of them have no image file either: "
        "--only-with-images leaves such images out)": "WARNING",
        "2 of 4 images have no file and do not count": "INFO",
        "1 of 2 images have no predictions: their objects count as missed": "WARNING",
    }
    values = [report.to_dict() for report in (everything, with_images)]
    assert [(v["images"], v["only_with_images"], v["images_left_out"]) for v in values] == [
        (4, False, 0),
        (2, True, 2),
    ]
    assert everything.summary()[0] == ("what counts of the ground truth", "all 4 images")
    assert with_images.summary()[0] == ("what counts of the ground truth", "2 images with a file of 4")
    bare = dataset(record("P1", [A], [0]), record("P2", [A], [0]))
    with pytest.raises(MetricsError, match=r"none of the 2 images has a file, and only images with a file count"):
        evaluate_file(bare, tmp_path / "predictions.jsonl", only_with_images=True)


def test_a_sample_of_the_images(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "predictions.jsonl")
    report = evaluate_file(TRUTH, path, images=["P1"])
    assert (report.images, report.images_left_out, report.only_with_images) == (1, 1, False)
    assert report.figures["map"] == 1  # what is wrong is on P2
    with pytest.raises(MetricsError, match="expected images that are in the ground truth, got 'P7'"):
        evaluate_file(TRUTH, path, images=["P1", "P7"])
    with pytest.raises(MetricsError, match="expected images that are in the ground truth, got 'P2'"):
        evaluate_file(dataset(TRUTH[0]), path, images=["P1"])  # not of the sample, nor of the dataset


def test_a_file_that_names_no_empty_images_is_no_reason_to_warn(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    truth = dataset(*TRUTH, record("P3", [], []))
    with caplog.at_level(logging.INFO, logger="rbox_metrics"):
        evaluate_file(truth, write_dota_submission(tmp_path / "out.zip", FOUND, NAMES))
    assert [entry.levelname for entry in caplog.records if "1 of 3 images" in entry.message] == ["INFO"]


def test_options_reach_the_evaluation(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "predictions.jsonl")
    report = evaluate_file(TRUTH, path, protocol="coco", geometry="quad", max_dets=(1, 5), iou_thresholds=(0.5,))
    assert (report.protocol, report.geometry, len(report.at)) == ("coco", "quad", 1)
    assert {"mar_1", "mar_5"} <= report.figures.keys()
    assert len(evaluate_file(TRUTH, path, protocol="coco").at) == 10


def test_an_image_that_the_truth_lacks_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MetricsError, match="expected images that are in the ground truth, got 'P2'"):
        evaluate_file(dataset(TRUTH[0]), jsonl(tmp_path / "predictions.jsonl"))


def test_difficult_objects_that_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two objects, one of them difficult; a detection on each, and one beside."""
    boxes = np.array([[20.0, 20, 10, 10, 0], [60, 20, 10, 10, 0], [20, 70, 10, 10, 0]])
    names = ClassNames(["plane"])
    truth = Dataset(names, [ImageRecord("P1", boxes[:2], [0, 0], difficult=[False, True], width=100, height=100)])
    found = ImageRecord("P1", boxes, [0, 0, 0], scores=[0.9, 0.8, 0.7], width=100, height=100)
    with predictions.Writer(tmp_path / "found.jsonl", predictions.Header(names, "none")) as writer:
        writer.write(found)

    def precision_and_truths(**options: bool) -> tuple[float, int]:
        at = evaluate_file(truth, tmp_path / "found.jsonl", **options).at[0]
        return at.precision_micro, at.classes[0].truths

    assert precision_and_truths() == (1 / 2, 1)
    with caplog.at_level("INFO"):
        assert precision_and_truths(count_difficult=True) == (2 / 3, 2)
    assert "1 difficult objects count like any other" in caplog.messages
