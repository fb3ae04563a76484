"""A small dataset, and a small Rotated RetinaNet that has learnt nothing, made once for all tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from rbox_formats import synthetic
from rbox_testing import small_retinanet

NAMES = synthetic.CLASS_NAMES


@pytest.fixture(scope="session")
def mmrotate() -> ModuleType:
    """mmrotate, on the operators of this package, known to mmengine's registries."""
    from rbox_baselines._configs import _load

    _load.set_up()
    import mmrotate

    return mmrotate


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six scenes in `train`, three in `val`, of 64 px, in DOTA's format."""
    root = tmp_path_factory.mktemp("scenes")
    config = replace(synthetic.TINY, size=64)
    synthetic.write_scenes(root, "train", range(6), config)
    synthetic.write_scenes(root, "val", range(10, 13), config)
    return root


@pytest.fixture(scope="session")
def checkpoint(mmrotate: ModuleType, scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model as mmengine saves it, with random weights."""
    return small_retinanet.save(tmp_path_factory.mktemp("checkpoint") / "epoch_0.pth", scenes, NAMES)
