"""`hatch run demo-baseline`: in small, and, as a slow test, as it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from rbox_formats import predictions

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import demo_baseline

MODELS = {"retinanet": "Rotated RetinaNet, ResNet-18", "florence2": "Florence-2, small"}


def run(out: Path, *options: str) -> str:
    arguments = ["--out", str(out), *options]
    result = CliRunner(env={"COLUMNS": "120"}).invoke(demo_baseline.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.slow
def test_both_models_stand_in_one_table_and_one_picture(tmp_path: Path) -> None:
    out = tmp_path / "baseline"
    printed = run(out, "--scenes", "8", "--held-out", "3", "--epochs", "1")
    for folder, name in MODELS.items():
        report = json.loads((out / folder / "report.json").read_text())
        assert report["images"] == len(predictions.read(out / folder / "predictions.jsonl")) == 3
        [row] = [line for line in printed.splitlines() if name in line]
        best = report["sweep"]["best"]
        shown = [report["map_50"], best["map_nc"]["value"], best["f1_micro"]["value"]]
        assert all(f" {100 * value:.1f} " in row for value in shown)
    with Image.open(out / "sheet.png") as sheet:
        width, height = sheet.size
    assert width > 3 * 288  # truth and two models, each 288 px wide
    assert height > 3 * 288  # three scenes


@pytest.mark.slow
@pytest.mark.timeout(1800)  # seven minutes where nothing else runs
def test_it_reaches_half_of_map_on_held_out_scenes(tmp_path: Path) -> None:
    run(tmp_path / "baseline")
    report = json.loads((tmp_path / "baseline" / "retinanet" / "report.json").read_text())
    assert report["map_50"] >= 0.5
    multimodal = json.loads((tmp_path / "baseline" / "florence2" / "report.json").read_text())
    assert multimodal["f1_micro"] >= 0.9
