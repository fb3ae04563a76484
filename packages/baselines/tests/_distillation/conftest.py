"""A tiny SAM with random weights, images, and a tiny student."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from rbox_formats import synthetic
from rbox_testing import tiny_sam
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
    return tiny_sam.save(tmp_path_factory.mktemp("sam"), patch_size=16, window_size=2)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Ten scenes of 96 px."""
    root = tmp_path_factory.mktemp("scenes")
    synthetic.write_scenes(root, "train", range(10), replace(synthetic.TINY, size=96))
    return sorted(root.rglob("*.png"))
