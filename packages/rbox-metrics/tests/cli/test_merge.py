"""`rbox-metrics merge`: predictions on windows become predictions on images."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets, predictions, rbox_to_quad, splitting
from rbox_formats.predictions import Header, Writer
from rbox_metrics import read_predictions

Run = Callable[..., tuple[int, str]]

HEADER = Header(ClassNames(["ship", "plane"]), fingerprint="none", generation={"beams": 1})


def write(path: Path, records: list[ImageRecord]) -> Path:
    with Writer(path, HEADER) as writer:
        for record in records:
            writer.write(record)
    return path


def record(name: str, boxes: list, labels: list, scores: list | None) -> ImageRecord:
    array = np.array(boxes, dtype=float).reshape(-1, 5)
    return ImageRecord(name, array, np.array(labels, int), scores=None if scores is None else np.array(scores))


def test_what_two_windows_saw_is_kept_once(run: Run, tmp_path: Path) -> None:
    """The windows of P0001 share the columns 824 to 1024; another image has one window."""
    parts = [
        record("P0001__1024__0___0", [[900, 50, 40, 20, 0.5], [100, 100, 40, 20, 0]], [0, 0], [0.6, 0.9]),
        record("P0001__1024__824___0", [[76, 50, 40, 20, 0.5], [77, 50, 40, 20, 0.5]], [0, 1], [0.8, 0.7]),
        record("P0002__1024__0___0", [], [], []),
    ]
    out = tmp_path / "merged.jsonl"
    code, output = run("merge", "--predictions", write(tmp_path / "parts.jsonl", parts), "--out", out)
    assert code == 0, output
    assert "2 images" in output
    found = predictions.read(out)
    assert found.header == HEADER
    first, second = found
    assert (first.image_id, second.image_id) == ("P0001", "P0002")
    # Of the ship seen twice the better is kept; the plane at nearly its place is of another class.
    assert sorted(map(tuple, first.boxes.tolist())) == [
        (100, 100, 40, 20, 0), (900, 50, 40, 20, 0.5), (901, 50, 40, 20, 0.5),
    ]  # fmt: skip
    assert sorted(first.scores.tolist()) == [0.7, 0.8, 0.9]
    assert len(second) == 0


def test_windows_that_were_resized(run: Run, tmp_path: Path) -> None:
    part = record("P0001__512__100___200", [[50, 60, 40, 20, math.pi / 4]], [0], None)
    out = tmp_path / "merged.jsonl"
    code, _ = run("merge", "--predictions", write(tmp_path / "parts.jsonl", [part]), "--out", out, "--window", 1024)
    assert code == 0
    (found,) = predictions.read(out)
    assert found.boxes[0] == pytest.approx([125, 230, 20, 10, math.pi / 4])


def test_names_that_are_no_windows(run: Run, tmp_path: Path) -> None:
    parts = write(tmp_path / "parts.jsonl", [record("P0001", [], [], None)])
    code, output = run("merge", "--predictions", parts, "--out", tmp_path / "merged.jsonl")
    assert code == 1
    assert "expected a window's name, as in P0706__1024__87___158, got 'P0001'" in output
    assert not (tmp_path / "merged.jsonl").exists()


@pytest.fixture
def task1(tmp_path: Path) -> Path:
    """Of DOTA's kit's windows, at two scales; one object is seen in both."""
    folder = tmp_path / "windows"
    folder.mkdir()
    seen = "50 50 90 50 90 70 50 70"
    (folder / "Task1_ship.txt").write_text(
        f"P1__1__200___100 0.9 {seen}\nP1__0.5__100___50 0.8 25 25 45 25 45 35 25 35\n"
    )
    (folder / "Task1_plane.txt").write_text(f"my__photo__1024__200___100 0.5 {seen}\n")
    return folder


@pytest.mark.parametrize("kind", ["folder", "zip", "file"])
@pytest.mark.parametrize("ending", [".jsonl", ".zip"])
def test_task1_files_of_windows(
    kind: str, ending: str, run: Run, task1: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = {"folder": task1, "zip": tmp_path / "in.zip", "file": task1 / "Task1_ship.txt"}[kind]
    if kind == "zip":
        with zipfile.ZipFile(given, "w") as archive:
            for path in task1.iterdir():
                archive.write(path, f"inside/{path.name}")
    caplog.set_level("INFO", "rbox_metrics")
    out = tmp_path / f"merged{ending}"
    code, output = run("merge", "--predictions", given, "--out", out)
    assert code == 0, output
    assert "2 by their scale, as DOTA's kit does" in caplog.text
    assert ("1 by their size" in caplog.text) == (kind != "file")
    found = {record.image_id: record for record in read_predictions(out)}
    assert found["P1"].quads.reshape(-1, 8).tolist() == [[250, 150, 290, 150, 290, 170, 250, 170]]
    assert found["P1"].scores.tolist() == [0.9]
    assert ("my__photo" in found) == (kind != "file")


def test_windows_of_a_dataset_are_merged_and_score_in_full(run: Run, tmp_path: Path) -> None:
    """The truth of the windows that `split` cuts, taken for detections on them."""
    image = tmp_path / "whole" / "images" / "a.png"
    image.parent.mkdir(parents=True)
    Image.new("RGB", (700, 500)).save(image)
    chance = np.random.default_rng(1)
    places = [(x, y) for x in range(40, 660, 90) for y in range(40, 460, 90)]
    boxes = [
        [x, y, 40, 12, angle] for (x, y), angle in zip(places, chance.uniform(-1.5, 1.5, len(places)), strict=True)
    ]
    truth = ImageRecord.from_quads(
        "a", rbox_to_quad(np.array(boxes, dtype=float)), np.arange(len(boxes)) % 2, path=image, width=700, height=500
    )
    datasets.write("dota", [truth], tmp_path / "whole", None, HEADER.class_names)
    splitting.split(
        datasets.read("dota", tmp_path / "whole"), tmp_path / "cut", splitting.SplitSettings(size=300, gap=100)
    )
    windows = ("--predictions", tmp_path / "cut", "--predictions-format", "dota")
    code, output = run("evaluate", "--data", tmp_path / "whole", *windows)
    assert code == 1
    assert "These are windows of the ground truth's images: join them first (rbox-metrics merge" in " ".join(
        output.split()
    )
    code, output = run("merge", *windows, "--out", tmp_path / "merged.jsonl")
    assert code == 0, output
    out = tmp_path / "report.json"
    code, output = run(
        "evaluate", "--data", tmp_path / "whole", "--predictions", tmp_path / "merged.jsonl", "--out", out
    )
    assert code == 0, output
    report = json.loads(out.read_text())
    assert report["map"] == 1
    assert report["at"][0]["precision_micro"] == report["at"][0]["recall_micro"] == 1


def test_what_merge_cannot_write(run: Run, task1: Path, tmp_path: Path) -> None:
    code, output = run("merge", "--predictions", task1, "--out", tmp_path / "merged.txt")
    assert code == 1
    assert "expected a file ending in .jsonl, .parquet or .zip to write to" in output
