"""A small dataset and an untrained tiny model, made once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lmm_detector import Detector, TrainConfig, _families
from lmm_detector._cli._common import set_up_output
from lmm_detector._spec import DetectorSpec
from lmm_detector._tiny import save_tiny_florence2
from PIL import Image
from rbox_formats import ClassNames, codecs, datasets, images, synthetic

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


@pytest.fixture(scope="session")
def detector(tiny_model: Path, scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Detector:
    """The tiny model after 60 steps on the scenes in `train`: it writes boxes, a few of them right. In a folder."""
    codec = codecs.get("florence2")
    family = _families.load(str(tiny_model))
    samples = [
        _families.Sample(images.load(record.file), codec.encode(record.shapes, record.labels, NAMES, record.size), True)
        for record in datasets.read("dota", scenes, "train", NAMES)
    ]
    optimizer = torch.optim.AdamW(family.model.parameters(), lr=1e-3)
    family.model.train()
    for _ in range(60):
        family.model(**family.on_device(family.collate(samples, codec.prompt))).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    folder = tmp_path_factory.mktemp("detector")
    family.save(folder)
    DetectorSpec(NAMES, codec.to_dict(), codec.prompt, window=96, gap=32).save(folder)
    return Detector.from_pretrained(folder, device="cpu")


@pytest.fixture
def run_config(tiny_model: Path, scenes: Path, tmp_path: Path, class_names: ClassNames) -> TrainConfig:
    """A short run of the tiny model on four scenes."""
    return TrainConfig(
        model_name_or_path=str(tiny_model),
        data_path=[str(scenes)],
        split=["train"],
        class_names=list(class_names),
        out=str(tmp_path / "run"),
        window=96,
        gap=0,
        steps=6,
        batch_size=3,
        device_batch_size=3,
        learning_rate=1e-3,
        warmup=0.1,
        save_every=3,
        log_every=1,
        cpu=True,
    )
