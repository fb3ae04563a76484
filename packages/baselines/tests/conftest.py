"""A small dataset, and a small Rotated RetinaNet that has learnt nothing, made once for all tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from rbox_formats import synthetic
from rbox_testing.small_retinanet import SMALL, ZOO_NAME

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
def checkpoint(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model as mmengine saves it, with random weights."""
    import torch
    from mmdet.registry import MODELS
    from rbox_baselines import Data, load_config
    from rbox_baselines._configs._weights import without_pretrained

    config = load_config(ZOO_NAME, data=Data(str(scenes)), class_names=NAMES, image_size=64, options=SMALL)
    torch.manual_seed(0)
    model = MODELS.build(without_pretrained(config).model)
    model.init_weights()
    path = tmp_path_factory.mktemp("checkpoint") / "epoch_0.pth"
    meta = {"cfg": config.pretty_text, "dataset_meta": {"classes": tuple(NAMES)}}
    torch.save({"meta": meta, "state_dict": model.state_dict()}, path)
    return path
