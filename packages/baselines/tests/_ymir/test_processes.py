"""The command in processes of its own: killed in the middle, and run by a user who may write to /out alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from rbox_baselines._ymir._package import PACKAGE
from rbox_formats import executor
from rbox_testing import ymir_tasks
from rbox_testing.ymir_tasks import Task

from .conftest import SMALL

pytestmark = pytest.mark.slow

NOBODY = 65534


def started(task: Task, before: Sequence[str] = (), **settings: Any) -> subprocess.Popen[bytes]:
    command = [*before, sys.executable, "-m", "rbox_baselines", "ymir", "--env", str(task.env_file)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, **settings)


def test_a_killed_training_leaves_stages_that_can_be_used(tmp_path: Path) -> None:
    task = ymir_tasks.make(tmp_path / "train", "training", **{**SMALL, "max_epochs": 200, "max_keep_checkpoints": -1})
    result = task.out / "models" / "result.yaml"
    process = started(task)
    try:
        while not result.is_file() or len(yaml.safe_load(result.read_text())["model_stages"]) < 2:
            assert process.poll() is None, process.stderr and process.stderr.read().decode()
            time.sleep(0.05)
    finally:
        process.kill()
        process.communicate()
    name, share, state, code = task.monitor()
    assert (name, state, code) == ("t1", 2, 0)
    assert 0 <= share < 1
    found = ymir_tasks.check_training(task)
    for place, (stage, entry) in enumerate(found["model_stages"].items()):
        other = ymir_tasks.make(tmp_path / str(place), "infer", val=1, conf_threshold=0.0)
        ymir_tasks.give_model(other, *(task.out / "models" / stage / file for file in entry["files"]))
        assert executor.run(PACKAGE, other.env_file) == 0
        ymir_tasks.check_infer(other)


@pytest.mark.variant
def test_a_stopped_training_is_resumed(tmp_path: Path) -> None:
    values = {**SMALL, "max_epochs": 2, "args_options": "--backbone none --resume"}
    task = ymir_tasks.make(tmp_path, "training", **values)
    assert executor.run(PACKAGE, task.env_file) == 0
    config = tmp_path / "in" / "config.yaml"
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), "max_epochs": 3}))
    assert executor.run(PACKAGE, task.env_file) == 0
    assert list(ymir_tasks.check_training(task)["model_stages"])[-1] == "epoch_3"


def as_nobody() -> list[str]:
    """How a process of another user is started, which may read this Python wherever it is, and write nothing."""
    setpriv = shutil.which("setpriv")
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or setpriv is None:
        pytest.skip("to start a process of another user takes root and setpriv")
    reads = [f"--{kind}-caps=+dac_read_search" for kind in ("inh", "ambient")]
    return [setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *reads]


def open_to_all(path: Path) -> None:
    """Let others pass through the folders above a folder of pytest's."""
    for folder in path.parents:
        if folder.owner() == "root" and "pytest" in str(folder):
            folder.chmod(0o755)


@pytest.mark.variant
@pytest.mark.parametrize("tasks", [("training",), ("mining", "infer")])
def test_another_user_with_a_folder_that_is_only_read(
    tasks: tuple[str, ...], stage: list[Path], tmp_path: Path
) -> None:
    before = as_nobody()
    task = ymir_tasks.make(tmp_path, *tasks, **{**SMALL, "max_epochs": 1})
    ymir_tasks.give_model(task, *stage)
    open_to_all(tmp_path / "x")
    for path in (tmp_path / "in", *(tmp_path / "in").rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    os.chown(task.out, NOBODY, NOBODY)
    names = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")
    environment = {name: os.environ[name] for name in names if name in os.environ}
    process = started(task, before, env={**environment, "HOME": "/nonexistent"}, cwd="/")
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    assert task.monitor() == ("t1", 1.0, 2, 0)
    if "training" in tasks:
        ymir_tasks.check_training(task)
    else:
        ymir_tasks.check_mining(task)
        ymir_tasks.check_infer(task)
