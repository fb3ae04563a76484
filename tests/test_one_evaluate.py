"""The same data and the same predictions give the same figures, whoever is asked: every command and function."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import lmm_detector
import pytest
import rbox_baselines
import rbox_metrics
from click.testing import CliRunner
from lmm_detector.cli.main import main as lmm
from PIL import Image
from rbox_baselines.cli.main import main as baselines
from rbox_formats import ClassNames, datasets, predictions
from rbox_metrics.cli.main import main as metrics

NAMES = ClassNames(["ship"])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four label files with a ship each, three of them with an image; the three ships are found, exactly."""
    root = tmp_path / "data"
    for folder in ("labelTxt", "images"):
        (root / folder).mkdir(parents=True)
    for number in range(4):
        (root / "labelTxt" / f"P{number}.txt").write_text("1 2 30 2 30 20 1 20 ship 0\n")
        if number:
            Image.new("RGB", (64, 64)).save(root / "images" / f"P{number}.png")
    with predictions.Writer(tmp_path / "found.jsonl", predictions.Header(NAMES, "none")) as writer:
        for record in datasets.read("dota", root, None, NAMES):
            if record.path is not None:
                writer.write(record)
    return root


def command(group: object, *words: str) -> Callable[[Path, Path, bool], dict]:
    """The JSON report of a command."""

    def run(data: Path, found: Path, only_with_images: bool) -> dict:
        out = data.parent / "out.json"
        given = [*words, str(data), "--predictions", str(found), "--out", str(out), "--class-names", "ship"]
        result = CliRunner().invoke(
            group,  # type: ignore[arg-type]
            [*given, *(["--only-with-images"] if only_with_images else [])],
            catch_exceptions=False,
        )
        assert result.exit_code == 0, result.output
        return json.loads(out.read_text())

    return run


def several(data: Path, found: Path, only_with_images: bool) -> dict:
    """`lmm-detector evaluate` of more than one file, which has a table in place of a report."""
    other = found.with_name("other.jsonl")
    other.write_bytes(found.read_bytes())
    words = ["evaluate", "--data", data, "--predictions", found, "--predictions", other, "--out", data.parent / "out"]
    result = CliRunner().invoke(
        lmm, [*map(str, words), *(["--only-with-images"] if only_with_images else [])], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    one, two = json.loads((data.parent / "out" / "checkpoints.json").read_text())
    assert one["map"] == two["map"]
    return one


def function(evaluate: Callable[..., rbox_metrics.Report]) -> Callable[[Path, Path, bool], dict]:
    def run(data: Path, found: Path, only_with_images: bool) -> dict:
        truth = datasets.read("dota", data, None, NAMES)
        return evaluate(truth, found, only_with_images=only_with_images).to_dict()

    return run


WAYS = {
    "rbox-metrics evaluate": command(metrics, "evaluate", "--data"),
    "lmm-detector evaluate": command(lmm, "evaluate", "--data"),
    "lmm-detector evaluate of several": several,
    "rbox-baselines evaluate": command(baselines, "evaluate", "--data"),
    "rbox_metrics.evaluate_file": function(rbox_metrics.evaluate_file),
    "lmm_detector.evaluate_file": function(lmm_detector.evaluate_file),
    "rbox_baselines.evaluate_file": function(rbox_baselines.evaluate_file),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same_figures_by_hand(way: str, data: Path, tmp_path: Path) -> None:
    """All four count: recall 3/4 at precision 1, so 8 of 11 points, and F1 = 2 * 3 / (3 + 4); three are all right."""
    for only_with_images, average, f1, images in ((False, 8 / 11, 6 / 7, 4), (True, 1.0, 1.0, 3)):
        found = WAYS[way](data, tmp_path / "found.jsonl", only_with_images)
        assert (found["map"], found["f1_micro"]) == (pytest.approx(average), pytest.approx(f1))
        if "images" in found:
            assert (found["images"], found["only_with_images"], found["images_left_out"]) == (
                images,
                only_with_images,
                4 - images,
            )


@pytest.mark.parametrize("table", ["sweep", "confusion", "compare"])
def test_tables_say_which_images_count(table: str, data: Path, tmp_path: Path) -> None:
    other = ["--other", str(tmp_path / "found.jsonl"), "--resamples", "2"] if table == "compare" else []
    for only_with_images, images in ((False, 4), (True, 3)):
        found = command(metrics, table, *other, "--data")(data, tmp_path / "found.jsonl", only_with_images)
        assert (found["images"], found["only_with_images"]) == (images, only_with_images)
    # Of the last one, without the image that nobody saw.
    seen = {"sweep": lambda: found["recall_micro"][0], "confusion": lambda: found["counts"][0][0] / 3}
    assert seen.get(table, lambda: found["figures"]["f1_micro"]["a"])() == pytest.approx(1)
