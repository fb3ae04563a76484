"""`rbox-metrics evaluate`, from files to a report."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rbox_metrics
from click.testing import CliRunner
from rbox_formats import ClassNames, ImageRecord
from rbox_formats.predictions import Header, Writer
from rbox_metrics.cli.main import main

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
        written = tmp_path / "again.zip" if path == dota else dota
        code, output = run("evaluate", *inputs, "--predictions", path, "--out", out, "--dota-submission", written)
        assert code == 0, output
        figures.append(json.loads(out.read_text(encoding="utf-8")))
    assert figures[0]["map"] == figures[1]["map"] > 0
    assert dota.read_bytes() == (tmp_path / "again.zip").read_bytes()


def test_an_image_that_the_truth_lacks_ends_in_one_message(run: Run, truth: Path, predictions: Path) -> None:
    (truth / "val" / "labelTxt" / "q.txt").unlink()
    code, output = run("evaluate", "--truth", truth, "--split", "val", "--predictions", predictions)
    assert code == 1
    assert "Error: expected images that the truth has, got 'q'" in output
    assert "Traceback" not in output


def test_classes_that_only_the_dataset_has_are_the_predictions_matter(
    run: Run, truth: Path, write: Callable[..., Path]
) -> None:
    """What helps is to name the classes, not to correct the annotations."""
    label = truth / "val" / "labelTxt" / "q.txt"
    label.write_text(label.read_text(encoding="utf-8").replace("plane", "tank"), encoding="utf-8")
    predictions = write("predictions.jsonl", [], [], None)
    code, output = run("evaluate", "--truth", truth, "--split", "val", "--predictions", predictions)
    assert code == 1
    words = " ".join(output.split())
    assert "predictions.jsonl: expected a dataset with the classes of the predictions, got others:" in words
    assert "got 'tank'" in words
    assert "--class-names" in words


@pytest.mark.parametrize(
    "option, name, message",
    [
        ("--out", "folder.json", "expected a file to write, got a folder"),
        ("--dota-submission", "folder.json", "expected a file to write, got a folder"),
        ("--fair1m-submission", "file/out.zip", "expected a folder that can be written to"),
        ("--plots", "file", "expected a folder for pictures, got a file"),
        ("--plots", "file/pictures", "expected a folder that can be written to"),
    ],
)
def test_what_cannot_be_written_is_said_before_the_work(
    option: str, name: str, message: str, run: Run, truth: Path, predictions: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "file").touch()
    report = tmp_path / "report.md"
    code, output = run(
        "evaluate", "--truth", truth, "--split", "val", "--predictions", predictions,
        "--out", report, option, tmp_path / name,
    )  # fmt: skip
    assert code == 1
    assert message in " ".join(output.split())
    assert not report.exists()


def test_coco_results_find_the_numbers_in_a_coco_truth(run: Run, truth: Path, tmp_path: Path) -> None:
    """Category ids that only the truth's file explains."""
    from rbox_formats import datasets

    annotated = datasets.read("dota", truth, "val", ["ship", "plane"])
    datasets.write("coco", annotated, tmp_path / "coco", None, annotated.class_names)
    path = tmp_path / "coco" / "annotations.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    for entry in (*content["annotations"], *content["categories"]):
        entry["category_id" if "category_id" in entry else "id"] += 40
    path.write_text(json.dumps(content), encoding="utf-8")
    plane = next(category["id"] for category in content["categories"] if category["name"] == "plane")
    results, out = tmp_path / "results.json", tmp_path / "report.json"
    image = content["images"][0]["id"]
    detections = [{"image_id": image, "category_id": plane, "bbox": [5, 2, 10, 4, 0], "score": 0.5}]
    results.write_text(json.dumps(detections), encoding="utf-8")
    code, output = run(
        "evaluate", "--truth", tmp_path / "coco", "--format", "coco", "--predictions", results, "--out", out
    )
    assert code == 0, output
    assert json.loads(out.read_text(encoding="utf-8"))["map_per_class"] == [None, pytest.approx(6 / 11)]
    code, output = run(
        "evaluate", "--truth", truth, "--split", "val", "--predictions", truth, "--predictions-format", "dota",
        "--annotations", path,
    )  # fmt: skip
    assert code == 1
    assert "expected COCO results where a COCO file of annotations is named" in " ".join(output.split())


def test_names_that_look_like_markup_are_printed_as_they_are(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "labelTxt"
    folder.mkdir()
    (folder / "p.txt").write_text("0 0 10 0 10 4 0 4 [red] 0\n", encoding="utf-8")
    path = tmp_path / "predictions.jsonl"
    with Writer(path, Header(ClassNames(["[red]", "[/b]"]), "none")) as writer:
        writer.write(ImageRecord("p", np.array([[5.0, 2, 10, 4, 0]]), np.array([0]), width=100, height=100))
    for command in ("evaluate", "confusion"):
        code, output = run(command, "--truth", tmp_path, "--predictions", path)
        assert code == 0, output
        assert "[red]" in output


def test_with_several_thresholds_what_is_of_the_lowest_alone_says_so(run: Run, truth: Path, predictions: Path) -> None:
    inputs = ("evaluate", "--truth", truth, "--split", "val", "--predictions", predictions)
    assert "from here on, the IoU threshold is: 0.4" in run(*inputs, "--iou", 0.75, "--iou", 0.4)[1]
    assert "from here on" not in run(*inputs)[1]


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


def test_difficult_objects_count_where_asked(tmp_path: Path) -> None:
    (tmp_path / "labelTxt").mkdir()
    (tmp_path / "labelTxt" / "P1.txt").write_text("10 10 50 10 50 30 10 30 plane 0\n60 60 90 60 90 80 60 80 plane 1\n")
    (tmp_path / "Task1_plane.txt").write_text("P1 0.9 10 10 50 10 50 30 10 30\n")
    words = ["evaluate", "--truth", str(tmp_path), "--predictions", str(tmp_path / "Task1_plane.txt")]
    for option, ap in (([], 1.0), (["--count-difficult"], 6 / 11)):
        result = CliRunner().invoke(main, [*words, *option, "--out", str(tmp_path / "r.json")], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert json.loads((tmp_path / "r.json").read_text())["map"] == pytest.approx(ap)
