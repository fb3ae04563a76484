"""Kinds of predictions files, told apart, and read through one function."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import numpy as np
import pytest
from rbox_formats import ClassNames, ImageRecord, RboxError, datasets, predictions
from rbox_metrics import MetricsError, read_predictions

NAMES = ClassNames(["plane", "small-vehicle"])
LINE = "P1 0.5 0 0 4 0 4 2 0 2\n"


def record(image_id: str = "P1", scored: bool = True) -> ImageRecord:
    boxes = np.array([[2.0, 1.0, 4.0, 2.0, 0.0], [20.0, 30.0, 8.0, 3.0, 0.5]])
    scores = np.array([0.5, 0.25]) if scored else None
    return ImageRecord(image_id, boxes, np.array([0, 1]), scores=scores, width=100, height=100)


def jsonl(folder: Path) -> Path:
    with predictions.Writer(folder / "predictions.jsonl", predictions.Header(NAMES, "none")) as writer:
        writer.write(record())
    return folder / "predictions.jsonl"


def task1_folder(folder: Path) -> Path:
    (folder / "Task1_plane.txt").write_text(LINE)
    return folder


def task1_zip(folder: Path) -> Path:
    with ZipFile(folder / "out.zip", "w") as archive:
        archive.writestr("Task1_plane.txt", LINE)
    return folder / "out.zip"


def coco_results(folder: Path) -> Path:
    entry = {"image_id": "P1", "category_id": 0, "bbox": [2, 1, 4, 2, 0.0], "score": 0.5}
    (folder / "results.bbox.json").write_text(json.dumps([entry]))
    return folder / "results.bbox.json"


def fair1m_folder(folder: Path) -> Path:
    return datasets.write("fair1m", [record()], folder, None, NAMES).parent


def fair1m_zip(folder: Path) -> Path:
    written = datasets.write("fair1m", [record()], folder, None, NAMES)
    with ZipFile(folder / "test.zip", "w") as archive:
        archive.write(written / "P1.xml", "test/P1.xml")
    return folder / "test.zip"


@pytest.mark.parametrize(
    "make, kind",
    [
        (jsonl, "predictions"),
        (task1_folder, "dota-task1"),
        (task1_zip, "dota-task1"),
        (lambda folder: task1_folder(folder) / "Task1_plane.txt", "dota-task1"),
        (coco_results, "coco-results"),
        (fair1m_folder, "fair1m-results"),
        (fair1m_zip, "fair1m-results"),
    ],
)
def test_kinds_are_told_apart_and_say_the_same(make: object, kind: str, tmp_path: Path) -> None:
    found = read_predictions(make(tmp_path), class_names=NAMES)
    assert found.kind == kind
    assert found.class_names == NAMES
    (image,) = found
    assert image.image_id == "P1"
    assert image.boxes[0] == pytest.approx([2, 1, 4, 2, 0])
    assert image.labels[0] == 0
    assert image.scores is not None
    assert image.scores[0] == 0.5


@pytest.mark.parametrize("scored", [True, False])
def test_any_dataset_format_can_be_named(scored: bool, tmp_path: Path) -> None:
    for format in ("coco", "labelme"):
        datasets.write(format, [record(scored=scored)], tmp_path / format, None, NAMES)
        (image,) = read_predictions(tmp_path / format, format=format, class_names=NAMES)
        assert image.labels.tolist() == [0, 1]
        assert np.abs(image.boxes - record().boxes).max() < 1e-9
        if format == "coco":
            assert (image.scores is not None) == scored


def test_a_file_that_a_name_belies_is_read_as_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "detections.dat").write_bytes(jsonl(tmp_path).read_bytes())
    (tmp_path / "archive.bin").write_bytes(task1_zip(tmp_path).read_bytes())
    assert read_predictions(tmp_path / "detections.dat").kind == "predictions"
    assert read_predictions(tmp_path / "archive.bin").kind == "dota-task1"


def test_class_names_of_a_predictions_file_are_its_headers(tmp_path: Path) -> None:
    path = jsonl(tmp_path)
    assert read_predictions(path).class_names == NAMES
    assert read_predictions(path, class_names=["a", "b"]).class_names == ("a", "b")
    with pytest.raises(MetricsError, match="expected the 2 class names"):
        read_predictions(path, class_names=["a"])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda folder: folder / "none", "none: expected a predictions file or folder, found none"),
        (
            lambda folder: folder,
            r"can be recognised by the content, got a folder with nothing in it(.|\n)*coco-results",
        ),
        (
            lambda folder: write(folder / "labelTxt" / "a.txt", "1 2 9 2 9 8 1 8 ship 0").parents[1],
            r"a folder with labelTxt in it\nIt looks like a dataset: --predictions-format dota\n",
        ),
        (lambda folder: write(folder / "a.txt", "plane 1 2 3"), "can be recognised by the content"),
        (lambda folder: write(folder / "a.json", '{"images": []}'), "can be recognised by the content"),
        (
            lambda folder: write(folder / "a.zip", "PK"),
            "expected a zip, got a file that is no zip, or one that is cut short",
        ),
        (lambda folder: write(folder / "a.jsonl", ""), "expected the header of a predictions file"),
    ],
)
def test_what_is_no_kind_is_an_error(make: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(RboxError, match=message):
        read_predictions(make(tmp_path))


def test_an_unknown_format_is_an_error_that_lists_them(tmp_path: Path) -> None:
    with pytest.raises(MetricsError, match=r"coco-results.*fair1m-results.*yolo-obb.*got 'pascal'"):
        read_predictions(tmp_path, format="pascal")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "name", ["../Task1_plane.txt", "/Task1_plane.txt", "a/../../Task1_plane.txt", "C:Task1_plane.txt"]
)
def test_names_that_lead_out_of_a_zip_are_refused(name: str, tmp_path: Path) -> None:
    with ZipFile(tmp_path / "out.zip", "w") as archive:
        archive.writestr(ZipInfo(name), LINE)
    with pytest.raises(RboxError, match=r"out.zip|inside"):
        read_predictions(tmp_path / "out.zip", format="dota-task1")
    assert [path.name for path in tmp_path.rglob("*")] == ["out.zip"]


def test_a_zip_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rbox_formats.archives.LARGEST", 1000)
    with ZipFile(tmp_path / "out.zip", "w") as archive:
        archive.writestr("Task1_plane.txt", LINE * 20)
        archive.writestr("Task1_ship.txt", LINE * 30)
    with pytest.raises(MetricsError, match="expected at most 1000 bytes when unpacked, got 1150"):
        read_predictions(tmp_path / "out.zip")


def test_a_zip_of_two_files_of_one_name_is_refused(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "out.zip", "w") as archive:
        archive.writestr("a/Task1_plane.txt", LINE)
        archive.writestr("b/Task1_plane.txt", LINE)
    with pytest.raises(MetricsError, match=r"each file name once, got a/Task1_plane.txt and b/Task1_plane.txt"):
        read_predictions(tmp_path / "out.zip")


def test_a_zip_cut_short_or_damaged_is_an_error(tmp_path: Path) -> None:
    content = bytearray(task1_zip(tmp_path).read_bytes())
    content[content.index(b"P1 0.5")] ^= 0xFF
    (tmp_path / "bad.zip").write_bytes(content)
    with pytest.raises(MetricsError, match=r"expected a whole zip, got 'Task1_plane.txt'"):
        read_predictions(tmp_path / "bad.zip")
    (tmp_path / "short.zip").write_bytes(content[: len(content) // 2])
    with pytest.raises(RboxError):
        read_predictions(tmp_path / "short.zip")


def test_what_lies_beside_the_files_in_a_zip_is_passed_over(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "out.zip", "w") as archive:
        archive.writestr("results/Task1_plane.txt", LINE)
        archive.writestr("__MACOSX/results/._Task1_plane.txt", b"\0\5\x16\7")
        archive.writestr("results/.DS_Store", b"\0")
        archive.writestr("readme.md", "none")
    (image,) = read_predictions(tmp_path / "out.zip")
    assert len(image) == 1


@pytest.mark.parametrize("name", ["results.pkl", "results.bin"])
def test_a_pickle_is_not_opened_and_what_reads_it_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pickle.dumps([{"img_id": "P1"}]))
    with pytest.raises(
        MetricsError, match=rf"pickles, such as .*\nrbox-baselines .*: rbox-baselines results {tmp_path / name} --data"
    ):
        read_predictions(tmp_path / name)
