"""A small dataset and an untrained tiny model, made once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from lmm_detector._cli._common import set_up_output
from lmm_detector._tiny import save_tiny_florence2
from PIL import Image
from rbox_formats import ClassNames, codecs, datasets, synthetic

NAMES = synthetic.CLASS_NAMES


@pytest.fixture(autouse=True, scope="session")
def quiet() -> None:
    set_up_output()


@pytest.fixture(scope="session")
def class_names() -> ClassNames:
    return NAMES


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_florence2(tmp_path_factory.mktemp("tiny"), NAMES, codecs.get("florence2"))


def write_scenes(root: Path, split: str, seeds: range, size: int = 96) -> Path:
    config = synthetic.SceneConfig(size=size, max_objects=3, min_scale=0.21, max_scale=0.47)
    (root / split / "images").mkdir(parents=True)
    records = []
    for seed in seeds:
        pixels, record = synthetic.scene(seed, config)
        Image.fromarray(pixels).save(root / split / "images" / f"{record.image_id}.png")
        records.append(record)
    datasets.write("dota", records, root, split, NAMES)
    return root


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scenes of 96 px in `train`, and three of 160 px, which take four windows each, in `val`."""
    root = tmp_path_factory.mktemp("scenes")
    write_scenes(root, "train", range(4))
    return write_scenes(root, "val", range(4, 7), size=160)
