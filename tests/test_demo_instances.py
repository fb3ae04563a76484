"""`hatch run demo-instances`: in small, and as it is; both are slow tests."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from rbox_formats import predictions

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import demo_instances

MODELS = {
    "mask-rcnn": "Mask R-CNN on RSMamba",
    "prompted-by-boxes": "SAM's decoder, prompted by boxes",
    "rsprompter": "RSPrompter on RSMamba",
    "retinanet": "Rotated RetinaNet, ResNet-18",
}


def run(out: Path, *options: str) -> str:
    arguments = ["--out", str(out), *options]
    result = CliRunner(env={"COLUMNS": "140"}).invoke(demo_instances.main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.slow
@pytest.mark.variant
def test_all_models_stand_in_one_table_and_one_picture(tmp_path: Path) -> None:
    out = tmp_path / "instances"
    printed = run(out, "--scenes", "8", "--held-out", "3", "--epochs", "1")
    for folder, name in MODELS.items():
        mask, box = (json.loads((out / folder / f"report-{kind}.json").read_text()) for kind in ("mask", "rbox"))
        assert mask["images"] == box["images"] == len(predictions.read(out / folder / "predictions.jsonl")) == 3
        [row] = [line for line in printed.splitlines() if name in line]
        shown = [mask["map"], mask["map_50"], box["map_50"], box["sweep"]["best"]["f1_micro"]["value"]]
        assert all(f" {100 * value:.1f} " in row for value in shown)
    with Image.open(out / "sheet.png") as sheet:
        width, height = sheet.size
    assert width > 5 * 288  # truth and four models, each 288 px wide
    assert height > 3 * 288  # three scenes


@pytest.mark.slow
@pytest.mark.variant
@pytest.mark.timeout(3600)  # eleven minutes on two slow cores where nothing else runs
def test_masks_of_all_models_reach_half_of_ap50_on_held_out_scenes(tmp_path: Path) -> None:
    run(tmp_path / "instances")
    for folder in ("mask-rcnn", "rsprompter"):
        report = json.loads((tmp_path / "instances" / folder / "report-mask.json").read_text())
        assert report["map_50"] >= 0.5, folder
