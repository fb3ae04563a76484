"""`lmm-detector demo`, smaller: the whole loop, its scores computed anew by shapely from the files on disk."""

from __future__ import annotations

import json
import math
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import shapely
from click.testing import CliRunner
from lmm_detector.cli.main import main
from PIL import Image

# Its F1 on the scenes that it learns is 1 from step 75 on.
SCENES, STEPS = 4, 120


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "demo"
    arguments = ["demo", "--out", str(out), "--scenes", str(SCENES), "--steps", str(STEPS)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
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


def found(out: Path, split: str) -> dict[str, list[Object]]:
    """The predictions file, its boxes turned into polygons here by hand."""
    header, *lines = map(json.loads, (out / split / "predictions.jsonl").read_text().splitlines())
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


def test_it_learns_its_training_scenes(out: Path) -> None:
    assert f1(truth(out, "train"), found(out, "train")) >= 0.9


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_reported_f1_is_that_of_the_files(split: str, out: Path) -> None:
    report = json.loads((out / split / "report.json").read_text())
    assert report["f1_micro"] == pytest.approx(f1(truth(out, split), found(out, split)), abs=1e-9)


def test_scenes_are_many_and_differ(out: Path) -> None:
    names = Counter(name for split in ("train", "val") for objects in truth(out, split).values() for name, _ in objects)
    assert set(names) == {"plane", "ship", "small-vehicle", "storage-tank"}
    files = [path for split in ("train", "val") for path in (out / "data" / split / "images").glob("*.png")]
    assert len({path.read_bytes() for path in files}) == len(files) == 2 * SCENES


def test_training_texts_are_the_truth_on_disk(out: Path) -> None:
    """Version 2: each class once, `<sep>` between quads; the corners are the annotated ones, clamped, within a bin."""
    truths = truth(out, "train")
    texts = {e["image_id"]: e["text"] for e in map(json.loads, (out / "training/texts.jsonl").read_text().splitlines())}
    assert set(texts) == set(truths)
    for image_id, text in texts.items():
        groups = re.findall(r"([a-z ]+)((?:<[a-z_0-9]+>)+)", text)
        assert "".join(name + tags for name, tags in groups) == text
        assert len({name for name, _ in groups}) == len(groups)
        written = [
            (name.replace(" ", "-"), {tuple(map(int, pair)) for pair in re.findall(r"<loc_(\d+)><loc_(\d+)>", quad)})
            for name, tags in groups
            for quad in tags.split("<sep>")
        ]
        expected = [
            (name, {tuple(min(max(int(v / 96 * 1000), 0), 999) for v in corner) for corner in quad.exterior.coords})
            for name, quad in truths[image_id]
        ]
        assert sorted(written, key=str) == sorted(expected, key=str)


def test_truth_and_predictions_are_drawn(out: Path) -> None:
    for split in ("train", "val"):
        pictures = list((out / split / "pictures").glob("*.png"))
        assert len(pictures) == SCENES + 1
        for path in pictures:
            with Image.open(path) as picture:
                assert min(picture.size) >= 384


def test_it_says_what_it_made_and_what_it_is_worth(out: Path) -> None:
    output = (out / "output.txt").read_text().replace("\n", " ")
    assert "does not generalise" in " ".join(output.split())
    assert "on held-out ones" in " ".join(output.split())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_demo_killed_once(tmp_path: Path) -> None:
    """All 16 scenes, 400 steps, killed after its first checkpoint: F1 of 0.9."""
    out = tmp_path / "demo"
    command = [sys.executable, "-c", "from lmm_detector.cli.main import main; main()", "demo", "--out", str(out)]
    process = subprocess.Popen(command)
    while process.poll() is None and not (out / "training/checkpoints/checkpoint-100/detector.json").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "training" / "model").exists()
    subprocess.run(command, check=True)
    assert f1(truth(out, "train"), found(out, "train")) >= 0.9


def test_the_second_time_nothing_is_done_again(out: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in [*out.glob("*/model/*"), *out.glob("*/predictions.jsonl")]}
    arguments = ["demo", "--out", str(out), "--scenes", str(SCENES), "--steps", str(STEPS)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert before == {path: path.stat().st_mtime_ns for path in before}
    other = CliRunner().invoke(main, [*arguments[:-1], str(STEPS - 1)], catch_exceptions=False)
    assert other.exit_code == 1
    assert f"steps {STEPS}, not {STEPS - 1}" in other.output
