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
        "evaluate", "--data", truth, "--format", "dota", "--split", "val", "--predictions", predictions,
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
        "evaluate", "--data", truth, "--split", "val", "--predictions", predictions, "--map", mapping,
        "--class-names", "plane,ship",
    )  # fmt: skip
    assert code == 0, output
    plane = next(line for line in output.splitlines() if line.split()[:1] == ["plane"])
    assert plane.split()[:3] == ["plane", "2", "1"]


def test_submissions_hold_the_detections(run: Run, truth: Path, predictions: Path, tmp_path: Path) -> None:
    dota, fair1m = tmp_path / "dota.zip", tmp_path / "fair1m.zip"
    code, output = run(
        "evaluate", "--data", truth, "--split", "val", "--predictions", predictions,
        "--dota-submission", dota, "--fair1m-submission", fair1m,
    )  # fmt: skip
    assert code == 0, output
    with zipfile.ZipFile(dota) as archive:
        assert archive.read("Task1_plane.txt").split()[:2] == [b"q", b"0.9"]
    with zipfile.ZipFile(fair1m) as archive:
        assert archive.namelist() == ["test/q.xml"]


def test_what_a_submission_holds_is_scored_alike(run: Run, truth: Path, predictions: Path, tmp_path: Path) -> None:
    inputs = ("--data", truth, "--split", "val", "--protocol", "coco", "--class-names", "ship,plane")
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
    code, output = run("evaluate", "--data", truth, "--split", "val", "--predictions", predictions)
    assert code == 1
    assert "Error: expected images that are in the ground truth, got 'q'" in output
    assert "Traceback" not in output


def test_classes_that_only_the_dataset_has_are_the_predictions_matter(
    run: Run, truth: Path, write: Callable[..., Path]
) -> None:
    """What helps is to name the classes, not to correct the annotations."""
    label = truth / "val" / "labelTxt" / "q.txt"
    label.write_text(label.read_text(encoding="utf-8").replace("plane", "tank"), encoding="utf-8")
    predictions = write("predictions.jsonl", [], [], None)
    code, output = run("evaluate", "--data", truth, "--split", "val", "--predictions", predictions)
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
        "evaluate", "--data", truth, "--split", "val", "--predictions", predictions,
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
        "evaluate", "--data", tmp_path / "coco", "--format", "coco", "--predictions", results, "--out", out
    )
    assert code == 0, output
    assert json.loads(out.read_text(encoding="utf-8"))["map_per_class"] == [None, pytest.approx(6 / 11)]
    code, output = run(
        "evaluate", "--data", truth, "--split", "val", "--predictions", truth, "--predictions-format", "dota",
        "--annotations", path,
    )  # fmt: skip
    assert code == 1
    assert "expected COCO results, since a COCO file of annotations is given" in " ".join(output.split())


def test_names_that_look_like_markup_are_printed_as_they_are(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "labelTxt"
    folder.mkdir()
    (folder / "p.txt").write_text("0 0 10 0 10 4 0 4 [red] 0\n", encoding="utf-8")
    path = tmp_path / "predictions.jsonl"
    with Writer(path, Header(ClassNames(["[red]", "[/b]"]), "none")) as writer:
        writer.write(ImageRecord("p", np.array([[5.0, 2, 10, 4, 0]]), np.array([0]), width=100, height=100))
    for command in ("evaluate", "confusion"):
        code, output = run(command, "--data", tmp_path, "--predictions", path)
        assert code == 0, output
        assert "[red]" in output


def test_with_several_thresholds_what_is_of_the_lowest_alone_says_so(run: Run, truth: Path, predictions: Path) -> None:
    inputs = ("evaluate", "--data", truth, "--split", "val", "--predictions", predictions)
    assert "from here on, the IoU threshold is: 0.4" in run(*inputs, "--iou", 0.75, "--iou", 0.4)[1]
    assert "from here on" not in run(*inputs)[1]


def test_outputs_are_checked_before_the_work(run: Run, truth: Path, predictions: Path, tmp_path: Path) -> None:
    inputs = ("evaluate", "--data", truth, "--split", "val", "--predictions", predictions)
    code, output = run(*inputs, "--out", tmp_path / "report.txt")
    assert code == 2
    assert "expected a file ending in .json, .md or .csv, got" in " ".join(output.split())
    before = predictions.read_bytes()
    code, output = run(*inputs, "--out", predictions)
    assert code != 0
    assert predictions.read_bytes() == before


def test_missing_options_are_usage_errors(run: Run, truth: Path) -> None:
    code, output = run("evaluate", "--data", truth)
    assert code == 2
    assert "--predictions" in output


def test_version_and_help(run: Run) -> None:
    assert rbox_metrics.__version__ in run("--version")[1]
    output = run("--help")[1]
    assert all(command in output for command in ("compare", "confusion", "evaluate", "merge", "plot", "sweep"))
    assert "--protocol" in run("evaluate", "--help")[1]


def _coco_pair(folder: Path, angles: list[float]) -> tuple[Path, Path]:
    """A COCO truth of long boxes, in degrees, and results that have its numbers."""
    images = [{"id": 1, "file_name": "a.png", "width": 900, "height": 200}]
    boxes = [[100 + 150 * i, 100, 60, 12, angle] for i, angle in enumerate(angles)]
    annotations = [{"id": i, "image_id": 1, "category_id": 1, "bbox": box} for i, box in enumerate(boxes)]
    truth = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "ship"}]}
    (folder / "truth.json").write_text(json.dumps(truth), encoding="utf-8")
    results = [{"image_id": 1, "category_id": 1, "bbox": box, "score": 0.9 - i / 10} for i, box in enumerate(boxes)]
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    return folder / "truth.json", folder / "results.json"


@pytest.mark.parametrize("command", ["evaluate", "sweep", "confusion", "compare"])
def test_copies_of_a_coco_truth_are_found_and_the_convention_is_said(
    command: str, run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "rbox_metrics")
    truth, results = _coco_pair(tmp_path, [30, -60, 100, 5])
    inputs = [command, "--data", truth, "--format", "coco", "--predictions", results, "--out", tmp_path / "out.json"]
    code, output = run(*inputs, *(["--other", results] if command == "compare" else []))
    assert code == 0, output
    assert "read as degrees, counter-clockwise" in caplog.text
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    if command == "evaluate":
        assert (found["map"], found["angles"]) == (1.0, "degrees-counter-clockwise")
    code, output = run(*inputs[:-2], "--convention", "radians-clockwise")
    assert code == (2 if command == "compare" else 1)
    assert command == "compare" or "expected an angle in radians" in output


def test_results_in_the_other_direction_are_said_to_be(run: Run, tmp_path: Path) -> None:
    truth, results = _coco_pair(tmp_path, [30, -50, 20, 60])
    out = tmp_path / "out.json"
    code, output = run(
        "evaluate", "--data", truth, "--format", "coco", "--predictions", results,
        "--convention", "degrees-clockwise", "--out", out,
    )  # fmt: skip
    assert code == 0, output
    found = json.loads(out.read_text(encoding="utf-8"))
    assert (found["map"], found["angles"], found["turned"]["kind"]) == (0.0, "degrees-clockwise", "mirrored")
    assert "4 of the 4 detections that lie where an object does" in " ".join(output.split())


def test_conventions_are_those_of_the_reader() -> None:
    from rbox_metrics._inputs.predictions import ANGLES
    from rbox_metrics.cli._scoring import _ANGLES

    assert tuple(ANGLES) == _ANGLES


def test_truths_that_cross_themselves_are_counted(run: Run, tmp_path: Path) -> None:
    labels = tmp_path / "labelTxt"
    labels.mkdir()
    crossing = "10 100 50 120 50 100 10 120"
    (labels / "a.txt").write_text(f"10 10 50 10 50 30 10 30 ship 0\n{crossing} ship 0\n", encoding="utf-8")
    (tmp_path / "Task1_ship.txt").write_text(f"a 0.9 {crossing}\n", encoding="utf-8")
    for protocol, count in (("dota", 1), ("voc", None)):
        out = tmp_path / "out.json"
        code, output = run(
            "evaluate", "--data", tmp_path, "--class-names", "ship", "--predictions", tmp_path / "Task1_ship.txt",
            "--protocol", protocol, "--out", out,
        )  # fmt: skip
        assert code == 0, output
        assert json.loads(out.read_text(encoding="utf-8"))["self_crossing_truths"] == count
        assert ("truths that cross themselves" in output) == bool(count)


def test_predictions_on_an_image_without_a_label_file_count(
    run: Run, truth: Path, write: Callable[..., Path], tmp_path: Path
) -> None:
    from PIL import Image

    (truth / "val" / "images").mkdir()
    Image.new("L", (100, 100)).save(truth / "val" / "images" / "r.png")
    predictions = write("predictions.jsonl", [[5.0, 2, 10, 4, 0]], [1], [0.9], image_id="r")
    inputs = ("evaluate", "--data", truth, "--split", "val", "--predictions", predictions)
    code, output = run(*inputs, "--out", tmp_path / "out.json")
    assert code == 0, output
    report = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert (report["images"], report["precision_micro"]) == (3, 0.0)
    # A detector sees all images: what it finds on those that are left out does not count either.
    code, output = run(*inputs, "--only-labelled", "--out", tmp_path / "labelled.json")
    assert code == 0, output
    report = json.loads((tmp_path / "labelled.json").read_text(encoding="utf-8"))
    assert (report["images"], report["images_left_out"]) == (2, 1)


def _dota(folder: Path, *names: str) -> Path:
    (folder / "labelTxt").mkdir(parents=True)
    lines = [
        f"{10 + 60 * i} 10 {50 + 60 * i} 10 {50 + 60 * i} 30 {10 + 60 * i} 30 {name} 0\n"
        for i, name in enumerate(names)
    ]
    (folder / "labelTxt" / "a.txt").write_text("".join(lines), encoding="utf-8")
    return folder


def test_class_names_are_those_of_predictions_in_a_dataset_format_too(run: Run, tmp_path: Path) -> None:
    truth, same = _dota(tmp_path / "truth", "crane", "mast"), _dota(tmp_path / "same", "crane", "mast")
    other = _dota(tmp_path / "other", "gantry", "mast", "tree")
    (tmp_path / "map.json").write_text('{"gantry": "crane", "tree": null}')
    inputs = ("evaluate", "--data", truth, "--class-names", "crane,mast", "--out", tmp_path / "out.json")
    for predictions, mapping in ((same, ()), (other, ("--map", tmp_path / "map.json"))):
        code, output = run(*inputs, "--predictions", predictions, "--predictions-format", "dota", *mapping)
        assert code == 0, output
        assert json.loads((tmp_path / "out.json").read_text())["map"] == 1
    code, output = run(*inputs, "--predictions", other, "--predictions-format", "dota")
    assert code == 1
    assert "expected a class among crane, mast, got 'gantry'" in output


def test_classes_without_detections_are_named_with_a_submission(run: Run, tmp_path: Path) -> None:
    truth, found = _dota(tmp_path / "truth", "crane", "mast"), _dota(tmp_path / "found", "mast")
    code, output = run(
        "evaluate", "--data", truth, "--class-names", "crane,mast,tree", "--predictions", found,
        "--predictions-format", "dota", "--dota-submission", tmp_path / "out.zip",
    )  # fmt: skip
    assert code == 0, output
    assert "Classes without detections, whose files are empty: crane, tree." in output
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert [archive.read(f"Task1_{name}.txt") == b"" for name in ("crane", "mast", "tree")] == [True, False, True]


def test_difficult_objects_count_where_asked(tmp_path: Path) -> None:
    (tmp_path / "labelTxt").mkdir()
    (tmp_path / "labelTxt" / "P1.txt").write_text("10 10 50 10 50 30 10 30 plane 0\n60 60 90 60 90 80 60 80 plane 1\n")
    (tmp_path / "Task1_plane.txt").write_text("P1 0.9 10 10 50 10 50 30 10 30\n")
    words = ["evaluate", "--data", str(tmp_path), "--predictions", str(tmp_path / "Task1_plane.txt")]
    for option, ap in (([], 1.0), (["--count-difficult"], 6 / 11)):
        result = CliRunner().invoke(main, [*words, *option, "--out", str(tmp_path / "r.json")], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        assert json.loads((tmp_path / "r.json").read_text())["map"] == pytest.approx(ap)
