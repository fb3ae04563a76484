"""A small RetinaNet as the platform's parameters have it, and a training that is done once."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rbox_formats import executor
from rbox_testing import small_retinanet, ymir_tasks

SMALL: dict[str, Any] = {
    "export_format": "ark:raw",
    "model_name": small_retinanet.ZOO_NAME,
    "img_size": 64,
    "samples_per_gpu": 2,
    "workers_per_gpu": 0,
    "max_epochs": 2,
    "args_options": "--backbone none",
    "cfg_options": " ".join(
        f"{name}={json.dumps(value, separators=(',', ':'))}"
        for name, value in small_retinanet.SMALL.items()
        if name.startswith("model.")
    ),
}


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture(scope="session")
def trained(mmrotate: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> ymir_tasks.Task:
    """A training of two epochs."""
    from rbox_baselines._ymir._package import PACKAGE

    task = ymir_tasks.make(tmp_path_factory.mktemp("ymir"), "training", **SMALL)
    assert executor.run(PACKAGE, task.env_file) == 0
    return task


@pytest.fixture(scope="session")
def stage(checkpoint: Path) -> list[Path]:
    """The files of a stage: a model that has learnt nothing, with its config inside."""
    return [checkpoint]
