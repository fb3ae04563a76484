"""`rbox-metrics evaluate`, from files to a report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rbox_metrics
from click.testing import CliRunner
from rbox_formats import ClassNames, ImageRecord
from rbox_formats.predictions import Header, Writer
from rbox_metrics._cli import main

NAMES = ClassNames(["ship", "plane"])


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)
    return result.exit_code, result.output


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """One plane and one difficult ship on each of two images, in a split."""
    folder = tmp_path / "data" / "val" / "labelTxt"
    folder.mkdir(parents=True)
    lines = "0 0 10 0 10 4 0 4 plane 0\n50 0 60 0 60 4 50 4 ship 1\n"
    for image_id in ("p", "q"):
        (folder / f"{image_id}.txt").write_text(lines, encoding="utf-8")
    return tmp_path / "data"


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """Of the planes one is found, of the ships one; the classes are in another order than the dataset's own."""
    path = tmp_path / "predictions.jsonl"
    boxes = np.array([[5.0, 2, 10, 4, 0], [55.0, 2, 10, 4, 0]])
    with Writer(path, Header(NAMES, fingerprint="none")) as writer:
        writer.write(ImageRecord("q", boxes, np.array([1, 0]), scores=np.array([0.9, 0.8]), width=100, height=100))
    return path


def test_evaluates_with_the_class_names_of_the_predictions(truth: Path, predictions: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.json"
    code, output = run(
        "evaluate", "--truth", truth, "--format", "dota", "--split", "val", "--predictions", predictions,
        "--protocol", "voc", "--iou", 0.5, "--iou", 0.75, "--out", out,
    )  # fmt: skip
    assert code == 0, output
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["class_names"] == ["ship", "plane"]
    assert report["protocol"] == "voc"
    assert report["iou_thresholds"] == [0.5, 0.75]
    assert report["images"] == 2
    assert report["map_50"] == report["map_75"] == 0.5
    assert report["map_per_class"] == [None, 0.5]
    plane = next(line for line in output.splitlines() if line.split()[:1] == ["plane"])
    assert plane.split() == ["plane", "2", "1", "50.00", "54.55", "54.55", "100.00", "50.00", "66.67"]
    assert str(out.name) in output


def test_an_image_that_the_truth_lacks_ends_in_one_message(truth: Path, predictions: Path) -> None:
    (truth / "val" / "labelTxt" / "q.txt").unlink()
    code, output = run("evaluate", "--truth", truth, "--split", "val", "--predictions", predictions)
    assert code == 1
    assert output.startswith("Error: expected images that the truth has, got 'q'")


def test_missing_options_are_usage_errors(truth: Path) -> None:
    code, output = run("evaluate", "--truth", truth)
    assert code == 2
    assert "--predictions" in output


def test_version_and_help() -> None:
    assert rbox_metrics.__version__ in run("--version")[1]
    assert "evaluate" in run("--help")[1]
    assert "--protocol" in run("evaluate", "--help")[1]
