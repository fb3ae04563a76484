"""`lmm-detector demo`, smaller: the whole loop, its scores computed anew by shapely from the files on disk."""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import shapely
from click.testing import CliRunner
from lmm_detector.cli.main import main
from PIL import Image

SCENES, HELD_OUT, STEPS = 4, 3, 3
OPTIONS = ["--scenes", str(SCENES), "--held-out", str(HELD_OUT), "--steps", str(STEPS)]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "demo"
    result = CliRunner().invoke(main, ["demo", "--out", str(out), *OPTIONS], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    (out / "output.txt").write_text(result.output)
    return out


Object = tuple[str, shapely.Polygon]


def truth(out: Path, split: str) -> dict[str, list[Object]]:
    """The label files, read here by hand."""
    objects = {}
    for path in (out / "data" / split / "labelTxt").glob("*.txt"):
        fields = [line.split() for line in path.read_text().splitlines()]
        objects[path.stem] = [
            (f[8], shapely.Polygon([(float(f[i]), float(f[i + 1])) for i in (0, 2, 4, 6)])) for f in fields
        ]
    return objects


def found(out: Path, name: str) -> dict[str, list[Object]]:
    """The predictions file, its boxes turned into polygons here by hand."""
    header, *lines = map(json.loads, (out / name / "predictions.jsonl").read_text().splitlines())
    objects = {}
    for line in lines:
        polygons = []
        for cx, cy, w, h, angle in line["boxes"]:
            c, s = math.cos(angle), math.sin(angle)
            corners = [(-w / 2, -h / 2), (w / 2, -h / 2), (w / 2, h / 2), (-w / 2, h / 2)]
            polygons.append(shapely.Polygon([(cx + x * c - y * s, cy + x * s + y * c) for x, y in corners]))
        objects[line["image_id"]] = list(zip((header["class_names"][i] for i in line["labels"]), polygons, strict=True))
    return objects


def f1(truths: dict[str, list[Object]], detections: dict[str, list[Object]]) -> float:
    """One-to-one matching at IoU 0.5, the best pairs first; F1 over all classes together."""
    hits = 0
    for image_id, objects in truths.items():
        pairs = [
            (a.intersection(b).area / a.union(b).area, i, j)
            for i, (name, a) in enumerate(objects)
            for j, (other, b) in enumerate(detections[image_id])
            if name == other
        ]
        taken: tuple[set[int], set[int]] = (set(), set())
        for iou, i, j in sorted(pairs, reverse=True):
            if iou >= 0.5 and i not in taken[0] and j not in taken[1]:
                taken[0].add(i)
                taken[1].add(j)
                hits += 1
    return 2 * hits / (sum(map(len, truths.values())) + sum(map(len, detections.values())))


@pytest.mark.parametrize("name", ["before", "after"])
def test_the_reported_f1_is_that_of_the_files(name: str, out: Path) -> None:
    report = json.loads((out / name / "report.json").read_text())
    assert report["f1_micro"] == pytest.approx(f1(truth(out, "val"), found(out, name)), abs=1e-9)
    assert report["images"] == HELD_OUT


def test_scenes_differ_and_have_a_new_class(out: Path) -> None:
    files = [path for split in ("train", "val") for path in (out / "data" / split / "images").glob("*.png")]
    assert len({path.read_bytes() for path in files}) == len(files) == SCENES + HELD_OUT
    header = json.loads((out / "before" / "predictions.jsonl").read_text().splitlines()[0])
    assert header["class_names"] == ["plane", "ship", "small-vehicle", "storage-tank"]
    header = json.loads((out / "after" / "predictions.jsonl").read_text().splitlines()[0])
    assert header["class_names"] == ["plane", "ship", "small-vehicle", "storage-tank", "large-vehicle"]


def test_training_texts_are_the_truth_on_disk(out: Path) -> None:
    """Centre and sides of each object in thousandths of the scene, worked out from its corners here."""
    truths = truth(out, "train")
    texts = {e["image_id"]: e["text"] for e in map(json.loads, (out / "training/texts.jsonl").read_text().splitlines())}
    assert {name for name, objects in truths.items() if objects} <= set(texts) <= set(truths)
    for image_id, text in texts.items():
        groups = [group for group in text.split(";") if "[" in group]
        written = [
            (group.partition("[")[0], *map(int, numbers.split(",")[:2]), *sorted(map(int, numbers.split(",")[2:4])))
            for group in groups
            for numbers in re.findall(r"\[([-\d,]+)\]", group)
        ]
        expected = []
        for name, quad in truths[image_id]:
            corners = list(quad.exterior.coords)
            sides = sorted(math.dist(corners[i], corners[i + 1]) for i in (0, 1))
            expected.append((name, *(1000 * v / 96 for v in (*quad.centroid.coords[0], *sides))))
        assert len(written) == len(expected)
        for one, other in zip(sorted(written), sorted(expected), strict=True):
            assert one[0] == other[0]
            assert one[1:] == pytest.approx(other[1:], abs=1.01)


def test_held_out_scenes_are_drawn(out: Path) -> None:
    for name in ("before", "after"):
        pictures = list((out / name / "pictures").glob("*.png"))
        assert len(pictures) == HELD_OUT + 1
        for path in pictures:
            with Image.open(path) as picture:
                assert min(picture.size) >= 384


def test_it_says_what_it_made_and_what_it_is_worth(out: Path) -> None:
    output = " ".join((out / "output.txt").read_text().split())
    before, after = (json.loads((out / name / "report.json").read_text())["f1_micro"] for name in ("before", "after"))
    assert f"on {HELD_OUT} scenes that it has never seen: {before:.3f} before, {after:.3f} after" in output
    assert "large-vehicle" in output


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_demo_killed_once(tmp_path: Path) -> None:
    """As a user sees it, but killed after its first checkpoint: F1 of 0.7 in scenes that it has never seen."""
    out = tmp_path / "demo"
    command = [sys.executable, "-c", "from lmm_detector.cli.main import main; main()", "demo", "--out", str(out)]
    process = subprocess.Popen(command)
    while process.poll() is None and not (out / "training/checkpoints/checkpoint-100/detector.json").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "training" / "model").exists()
    subprocess.run(command, check=True)
    before, after = (f1(truth(out, "val"), found(out, name)) for name in ("before", "after"))
    assert after >= 0.7
    assert after > before + 0.1


@pytest.mark.slow
def test_the_second_time_nothing_is_done_again(out: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in [*out.glob("*/model/*"), *out.glob("*/predictions.jsonl")]}
    arguments = ["demo", "--out", str(out), *OPTIONS]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert before == {path: path.stat().st_mtime_ns for path in before}
    other = CliRunner().invoke(main, [*arguments[:-1], str(STEPS - 1)], catch_exceptions=False)
    assert other.exit_code == 1
    assert f"steps {STEPS}, not {STEPS - 1}" in other.output
