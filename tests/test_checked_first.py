"""What a command needs is looked for before it reads or computes anything: here there is nothing to read."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from lmm_detector.cli.main import main as lmm_detector
from rbox_baselines.cli.main import main as rbox_baselines
from rbox_formats.cli.main import main as rbox_formats
from rbox_metrics.cli.main import main as rbox_metrics
from rbox_testing.commands import WRITING

COMMANDS: dict[str, click.Group] = {
    "lmm-detector": lmm_detector,
    "rbox-baselines": rbox_baselines,
    "rbox-formats": rbox_formats,
    "rbox-metrics": rbox_metrics,
}
PLACES = [(name, output) for name, writing in WRITING.items() for output in writing.outputs if "/" not in output]


def run(words: list[str]) -> Result:
    return CliRunner().invoke(COMMANDS[words[0]], words[1:])


@pytest.fixture(autouse=True)
def _nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name, output", PLACES, ids=[f"{name}-{output}" for name, output in PLACES])
def test_where_it_writes(name: str, output: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run([f"file/{word}" if word == output else word for word in WRITING[name].words])
    assert result.exit_code == 1, result.output
    assert "expected a folder that can be written to" in result.output
    assert str(tmp_path / "file") in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


ONE_FILE = [
    "metrics evaluate-out.json",
    "metrics merge-out.jsonl",
    "lmm predict-out.jsonl",
    "baselines predict-out.jsonl",
]


@pytest.mark.parametrize("place", ONE_FILE)
def test_a_folder_where_a_file_goes(place: str, tmp_path: Path) -> None:
    name, output = place.split("-")
    (tmp_path / output).mkdir()
    result = run(list(WRITING[name].words))
    assert result.exit_code == 1, result.output
    assert output in result.output
    assert "expected a file" in result.output
    assert "got a folder" in result.output


DRAWING = [name for name, writing in WRITING.items() if {"--plots", "plot", "curves"} & set(writing.words)]


@pytest.mark.parametrize("name", DRAWING)
def test_matplotlib(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run(list(WRITING[name].words))
    assert result.exit_code == 1, result.output
    assert "pip install 'rbox-metrics[plot]'" in result.output


def test_every_command_that_draws_is_asked() -> None:
    assert {"metrics evaluate", "metrics plot", "lmm evaluate", "baselines evaluate", "baselines results"} < set(
        DRAWING
    )


DEVICES = {
    "lmm predict": "lmm-detector predict --model in/none --data in/none --out out.jsonl",
    "lmm evaluate": "lmm-detector evaluate --model in/none --data in/none --out out",
    "baselines predict": "rbox-baselines predict --model in/none --data in/none --out out.jsonl",
    "baselines evaluate": "rbox-baselines evaluate --model in/none --data in/none --predictions out.jsonl",
    "baselines info": "rbox-baselines info rotated-retinanet-rbox-le90_r50_fpn_1x_dota --model in/none",
}


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
@pytest.mark.parametrize("name", DEVICES)
def test_the_device(name: str, device: str, tmp_path: Path) -> None:
    result = run([*DEVICES[name].split(), "--device", device])
    assert result.exit_code == 1, result.output
    assert "expected a device" in result.output
    assert device in result.output
    assert not list(tmp_path.iterdir())
