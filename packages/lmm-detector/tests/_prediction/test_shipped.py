"""The detector that comes with the package, by its name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from lmm_detector import Detector, _model_files
from lmm_detector._prediction._generation import Generation
from lmm_detector.cli.main import main
from rbox_formats import synthetic
from rbox_metrics import evaluate

WEIGHTS = _model_files.SHIPPED["demo"]


@pytest.fixture
def stand_in(detector: Detector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of the one that is shipped, and another to stand in."""
    folder = Path(detector.family.base.name_or_path)
    monkeypatch.setitem(_model_files.SHIPPED, "demo", folder)
    monkeypatch.chdir(tmp_path)
    return folder


def test_it_is_found_by_its_name(stand_in: Path) -> None:
    assert Detector.from_pretrained("demo").fingerprint == Detector.from_pretrained(stand_in).fingerprint


def test_a_models_folder_of_that_name_goes_first(stand_in: Path, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    assert Detector.from_pretrained("demo").fingerprint  # one of runs, or of data
    (tmp_path / "demo" / "config.json").write_text("{}")
    with pytest.raises(_model_files.ModelError, match=r"no detector\.json"):
        Detector.from_pretrained("demo")


@pytest.mark.slow
def test_it_detects_in_scenes_that_it_has_not_seen() -> None:
    detector = Detector.from_pretrained("demo", device="cpu")
    assert sum(path.stat().st_size for path in WEIGHTS.glob("*.safetensors")) <= 6e6
    seeds = range(30_000_000, 30_000_100)  # neither trained on nor scored on for its card
    pixels, records = zip(*(synthetic.scene(seed, synthetic.VARIED) for seed in seeds), strict=True)
    found = list(detector.predict(list(pixels), Generation(batch_size=50, scores="geometric")))
    # As `predict` names images in memory.
    truth = [replace(record, image_id=f"image-{number}") for number, record in enumerate(records)]
    report = evaluate(truth, found, detector.class_names, full=True)
    assert report.at[0].f1_micro >= 0.75  # five standard errors below what its card has
    assert report.placement is not None
    assert np.degrees(np.median(report.placement.angle_error)) < 5
    # What it says last is what it is least sure of: its scores put right ones before wrong ones.
    assert report.at[0].map > report.at[0].map_nc_random


def test_commands_take_it_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    synthetic.write_scenes(tmp_path / "data", "val", range(30_000_000, 30_000_002), synthetic.VARIED)
    data = ("--data", "data", "--split", "val", "--device", "cpu")
    result = CliRunner().invoke(main, ["predict", "--model", "demo", *data, "--out", "p.jsonl"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    names = ("--class-names", ",".join(synthetic.CLASS_NAMES))
    result = CliRunner().invoke(
        main, ["evaluate", "--model", "demo", *data, *names, "--out", "scores"], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    (found,) = (tmp_path / "scores").glob("*/predictions.jsonl")
    assert read_lines(found)[1:] == read_lines(tmp_path / "p.jsonl")[1:]


def read_lines(path: Path) -> list[dict[str, object]]:
    """The records of a file, without what differs from run to run."""
    return [json.loads(line) for line in path.read_text().splitlines()]
