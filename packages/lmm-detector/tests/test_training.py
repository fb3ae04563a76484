"""Training runs: that they learn, and that a killed one goes on as if nothing had been."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lmm_detector import Detector, TrainConfig, train
from lmm_detector._config import to_yaml
from lmm_detector.errors import ConfigError, ModelError, RunError
from rbox_formats.errors import DatasetError
from safetensors.torch import load_file


@pytest.fixture
def config(tiny_model: Path, scenes: Path, tmp_path: Path, class_names: tuple[str, ...]) -> TrainConfig:
    return TrainConfig(
        model=str(tiny_model),
        data=str(scenes),
        split="train",
        class_names=list(class_names),
        out=str(tmp_path / "run"),
        window=96,
        gap=0,
        steps=12,
        batch_size=3,
        learning_rate=1e-3,
        warmup=0.1,
        save_every=4,
        log_every=1,
        device="cpu",
    )


def losses(out: str | Path) -> list[tuple[int, float]]:
    lines = (Path(out) / "losses.jsonl").read_text().splitlines()
    return [(entry["step"], entry["loss"]) for entry in map(json.loads, lines)]


def test_a_run_learns_and_leaves_a_detector(config: TrainConfig, tiny_model: Path) -> None:
    folder = train(config)
    steps, values = zip(*losses(config.out), strict=True)
    assert steps == tuple(range(1, 13))
    assert values[-1] < 0.9 * values[0]
    assert values[0] == pytest.approx(math.log(1340), rel=0.05)  # untrained: the vocabulary's entropy
    detector = Detector.from_pretrained(folder, device="cpu")
    assert detector.class_names == tuple(config.class_names or ())
    assert (detector.spec.window, detector.spec.gap) == (96, 0)
    before, after = (load_file(path / "model.safetensors") for path in (tiny_model, folder))
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert any("vision" in name for name in changed)
    assert any("decoder" in name for name in changed)


def test_a_finished_run_is_not_run_again(config: TrainConfig) -> None:
    folder = train(config)
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert train(config) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_a_killed_run_goes_on_to_the_same_losses_and_weights(config: TrainConfig, tmp_path: Path) -> None:
    """SIGKILL at three instants, one of them in the middle of a checkpoint; exactly the same numbers at the end."""
    config = dataclasses.replace(config, out="run")  # the same words in both folders: they are part of the settings
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(to_yaml(config))
    _command(tmp_path / "whole").check_returncode()

    out = tmp_path / "killed" / "run"
    instants = [
        out / "config.yaml",
        out / "checkpoints" / "checkpoint-4" / "detector.json",
        out / "checkpoints" / "checkpoint-8" / "model.safetensors",
    ]
    for instant in instants:
        assert _killed_at(instant, tmp_path / "killed")
        assert not (out / "model").exists()
    _command(tmp_path / "killed").check_returncode()

    assert losses(out) == losses(tmp_path / "whole" / "run")
    ours, theirs = (load_file(tmp_path / name / "run" / "model" / "model.safetensors") for name in ("killed", "whole"))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def _start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", "from lmm_detector._cli import main; main()", "train", "--config", "config.yaml"]
    environment: dict[str, Any] = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _command(folder: Path) -> subprocess.CompletedProcess[str]:
    process = _start(folder)
    output, _ = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, output)


def _killed_at(instant: Path, folder: Path) -> bool:
    """Whether the run was killed as soon as a file was there."""
    process = _start(folder)
    deadline = time.monotonic() + 120
    while not instant.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, output
    return instant.exists()


def test_another_runs_folder_is_refused(config: TrainConfig, scenes: Path) -> None:
    train(config)
    with pytest.raises(RunError, match=r"config\.yaml: .*learning_rate 0\.001, not 0\.01"):
        train(dataclasses.replace(config, learning_rate=0.01))


def test_a_dataset_that_has_changed_is_noticed(config: TrainConfig, scenes: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy" / "train"
    for path in (scenes / "train").glob("*/*"):
        (copy / path.parent.name).mkdir(parents=True, exist_ok=True)
        (copy / path.parent.name / path.name).write_bytes(path.read_bytes())
    config = dataclasses.replace(config, data=str(tmp_path / "copy"), steps=1)
    (train(config) / "detector.json").unlink()  # as if it had been killed just before
    label = next((copy / "labelTxt").glob("*.txt"))
    label.write_text("1 1 30 1 30 30 1 30 ship 0\n")
    with pytest.raises(RunError, match="the dataset has changed"):
        train(config)


@pytest.mark.parametrize(
    "change, error",
    [
        ({"data": "nowhere"}, DatasetError),
        ({"split": "test"}, DatasetError),
        ({"format": "voc"}, DatasetError),
        ({"model": "nowhere"}, ModelError),
        ({"class_names": ["ship"]}, DatasetError),
        ({"gap": 96}, ValueError),
    ],
)
def test_nothing_is_written_before_everything_is_checked(
    change: dict[str, Any], error: type[Exception], config: TrainConfig
) -> None:
    with pytest.raises(error, match="expected"):
        train(dataclasses.replace(config, **change))
    assert not Path(config.out).exists()


def test_a_loss_that_is_not_a_number_stops_the_run(config: TrainConfig) -> None:
    with pytest.raises(RunError, match=r"expected a finite loss, got nan at step \d+\nLower the learning rate"):
        train(dataclasses.replace(config, learning_rate=1e30, warmup=0.0, schedule="constant"))
    assert not (Path(config.out) / "model").exists()


def test_an_unknown_schedule(config: TrainConfig) -> None:
    with pytest.raises(ConfigError, match=r"expected a schedule among .*, got 'sideways'"):
        dataclasses.replace(config, schedule="sideways")
