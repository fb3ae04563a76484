"""`rbox-metrics evaluate`, from files to a report."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import rbox_metrics

Run = Callable[..., tuple[int, str]]


def test_evaluates_with_the_class_names_of_the_predictions(
    run: Run, truth: Path, predictions: Path, tmp_path: Path
) -> None:
    out, table, page = (tmp_path / f"report.{ending}" for ending in ("json", "csv", "md"))
    code, output = run(
        "evaluate", "--truth", truth, "--format", "dota", "--split", "val", "--predictions", predictions,
        "--protocol", "voc", "--iou", 0.5, "--iou", 0.75, "--out", out, "--out", table, "--out", page,
    )  # fmt: skip
    assert code == 0, output
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["class_names"] == ["ship", "plane"]
    assert report["protocol"] == "voc"
    assert report["iou_thresholds"] == [0.5, 0.75]
    assert report["images"] == 2
    assert report["map_50"] == report["map_75"] == 0.5
    assert report["map_per_class"] == [None, 0.5]
    # The plane that was not found; the ships are difficult.
    assert report["errors"]["not_found"]["missed"] == [0, 1]
    assert report["confusion"]["counts"] == [[0, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert report["sweep"]["best"]["f1_micro"]["value"] == 2 / 3
    assert report["placement"]["iou_mean"] == 1
    plane = next(line for line in output.splitlines() if line.split()[:1] == ["plane"])
    assert plane.split() == ["plane", "2", "1", "50.00", "54.55", "54.55", "100.00", "50.00", "66.67"]
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert [(row["iou_threshold"], row["name"], row["ap"]) for row in rows] == [
        ("0.5", "ship", ""), ("0.5", "plane", "0.5"), ("0.75", "ship", ""), ("0.75", "plane", "0.5"),
    ]  # fmt: skip
    assert "| plane | 2 | 1 | 50.00 |" in page.read_text(encoding="utf-8")
    assert all(str(path.name) in output for path in (out, table, page))


def test_classes_are_led_to_the_dataset_s(run: Run, truth: Path, write: Callable[..., Path], tmp_path: Path) -> None:
    predictions = write("other.jsonl", [[5.0, 2, 10, 4, 0], [55.0, 2, 10, 4, 0]], [0, 1], None)
    mapping = tmp_path / "mapping.json"
    mapping.write_text('{"ship": "plane", "plane": null}', encoding="utf-8")
    code, output = run(
        "evaluate", "--truth", truth, "--split", "val", "--predictions", predictions, "--class-mapping", mapping,
        "--class-names", "plane,ship",
    )  # fmt: skip
    assert code == 0, output
    plane = next(line for line in output.splitlines() if line.split()[:1] == ["plane"])
    assert plane.split()[:3] == ["plane", "2", "1"]


def test_submissions_hold_the_detections(run: Run, truth: Path, predictions: Path, tmp_path: Path) -> None:
    dota, fair1m = tmp_path / "dota.zip", tmp_path / "fair1m.zip"
    code, output = run(
        "evaluate", "--truth", truth, "--split", "val", "--predictions", predictions,
        "--dota-submission", dota, "--fair1m-submission", fair1m,
    )  # fmt: skip
    assert code == 0, output
    with zipfile.ZipFile(dota) as archive:
        assert archive.read("Task1_plane.txt").split()[:2] == [b"q", b"0.9"]
    with zipfile.ZipFile(fair1m) as archive:
        assert archive.namelist() == ["test/q.xml"]


def test_what_a_submission_holds_is_scored_alike(run: Run, truth: Path, predictions: Path, tmp_path: Path) -> None:
    inputs = ("--truth", truth, "--split", "val", "--protocol", "coco", "--class-names", "ship,plane")
    dota = tmp_path / "dota.zip"
    figures = []
    for path in (predictions, dota):
        out = tmp_path / f"{path.stem}.json"
        code, output = run("evaluate", *inputs, "--predictions", path, "--out", out, "--dota-submission", dota)
        assert code == 0, output
        figures.append(json.loads(out.read_text(encoding="utf-8")))
    assert figures[0]["map"] == figures[1]["map"] > 0


def test_an_image_that_the_truth_lacks_ends_in_one_message(run: Run, truth: Path, predictions: Path) -> None:
    (truth / "val" / "labelTxt" / "q.txt").unlink()
    code, output = run("evaluate", "--truth", truth, "--split", "val", "--predictions", predictions)
    assert code == 1
    assert output.startswith("Error: expected images that the truth has, got 'q'")


def test_outputs_are_checked_before_the_work(run: Run, truth: Path, predictions: Path, tmp_path: Path) -> None:
    inputs = ("evaluate", "--truth", truth, "--split", "val", "--predictions", predictions)
    code, output = run(*inputs, "--out", tmp_path / "report.txt")
    assert code == 2
    assert "expected a file ending in .json, .md or .csv, got" in " ".join(output.split())
    before = predictions.read_bytes()
    code, output = run(*inputs, "--out", predictions)
    assert code != 0
    assert predictions.read_bytes() == before


def test_missing_options_are_usage_errors(run: Run, truth: Path) -> None:
    code, output = run("evaluate", "--truth", truth)
    assert code == 2
    assert "--predictions" in output


def test_version_and_help(run: Run) -> None:
    assert rbox_metrics.__version__ in run("--version")[1]
    output = run("--help")[1]
    assert all(command in output for command in ("compare", "confusion", "evaluate", "merge", "plot", "sweep"))
    assert "--protocol" in run("evaluate", "--help")[1]
