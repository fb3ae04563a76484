"""A tiny SAM with random weights, images, and a tiny student."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from rbox_formats import synthetic
from transformers import SamConfig, SamModel, SamVisionConfig
from transformers.utils import logging as their_logging

#: The channels of the student are those of the teacher's last map, as RSMamba's are SAM's.
STUDENT: dict[str, Any] = {
    "model.backbone": {
        "_delete_": True,
        "type": "RSMamba",
        "arch": {"layers": 2, "inner": 32, "channels": 16},
        "img_size": 64,
    }
}


@pytest.fixture(autouse=True)
def _quiet(mmrotate: ModuleType) -> Iterator[None]:
    """transformers lists what it does not take of a file."""
    before = their_logging.get_verbosity()
    their_logging.set_verbosity_error()
    logging.getLogger("mmengine").setLevel(logging.WARNING)
    yield
    their_logging.set_verbosity(before)


@pytest.fixture(scope="session")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole SamModel as transformers saves it: two layers, 16 channels, images of 64 px."""
    folder = tmp_path_factory.mktemp("sam")
    vision = SamVisionConfig(
        hidden_size=32,
        output_channels=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=64,
        patch_size=16,
        window_size=2,
        global_attn_indexes=[1],
        mlp_dim=64,
        initializer_range=0.2,  # by default next to 0, and the maps would not depend on the image
    )
    torch.manual_seed(0)
    SamModel(SamConfig(vision_config=vision.to_dict())).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Ten scenes of 96 px."""
    root = tmp_path_factory.mktemp("scenes")
    synthetic.write_scenes(root, "train", range(10), replace(synthetic.TINY, size=96))
    return sorted(root.rglob("*.png"))
