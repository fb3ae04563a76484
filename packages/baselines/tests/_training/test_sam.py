"""A model with parts of SAM is trained: from SAM's weights, of which those that are frozen stay."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from rbox_baselines import train
from rbox_baselines._checkpoints import read_checkpoint
from rbox_baselines.errors import ConfigError
from rbox_formats import datasets, synthetic
from rbox_testing import tiny_sam
from safetensors.torch import load_file

NAMES = synthetic.CLASS_NAMES
ENCODER = {
    "_delete_": True, "layers": 2, "channels": 32, "heads": 2, "global_layers": [1], "mlp": 64, "window": 2,
    "embedding_channels": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sam.save(tmp_path_factory.mktemp("sam"), patch_size=16, window_size=2, with_decoder=True)


@pytest.fixture(scope="module")
def coco(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scenes' quads as masks, in COCO's format."""
    root = tmp_path_factory.mktemp("coco")
    for split in ("train", "val"):
        found = datasets.read("dota", scenes, split, NAMES)
        datasets.write("coco", found, root, split, class_names=NAMES)
        images = root / "images" / split
        images.mkdir(parents=True, exist_ok=True)
        for path in (scenes / split / "images").iterdir():
            (images / path.name).symlink_to(path)
    return root


def options(coco: Path, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "model.backbone.img_size": 64,
        "model.neck.feature_aggregator.hidden_channels": 8,
        "model.roi_head.bbox_head.num_classes": len(NAMES),
        "model.roi_head.bbox_head.fc_out_channels": 32,
        "model.roi_head.mask_head.out_channels": 16,
        **{
            f"model.roi_head.mask_head.sam.{name}": each for name, each in (("channels", 16), ("heads", 2), ("mlp", 32))
        },
        "model.test_cfg.rcnn.max_per_img": 5,
        "model.train_cfg.rpn_proposal.max_per_img": 50,
        "train_cfg.max_epochs": 1,
        **more,
    }
    for kind, split in (("train", "train"), ("val", "val"), ("test", "val")):
        found |= {
            f"{kind}_dataloader.dataset.data_root": str(coco),
            f"{kind}_dataloader.dataset.ann_file": f"annotations/instances_{split}.json",
            f"{kind}_dataloader.dataset.data_prefix.img": f"images/{split}",
            f"{kind}_dataloader.dataset.metainfo": {"classes": tuple(NAMES)},
            f"{kind}_dataloader.num_workers": 0,
            f"{kind}_dataloader.persistent_workers": False,
        }
        if kind != "train":
            found[f"{kind}_evaluator.ann_file"] = str(coco / "annotations" / f"instances_{split}.json")
    return found


@pytest.mark.slow
def test_training_begins_with_sam_and_keeps_what_is_frozen(
    mmrotate: ModuleType, coco: Path, folder: Path, tmp_path: Path
) -> None:
    more = {
        "model.backbone.arch": ENCODER,
        "model.neck.feature_aggregator.in_channels": [32, 32, 32, 16],
        "model.neck.feature_aggregator.select_layers": [1, 2],
    }
    last = train(
        "rsprompter-anchor-sam-base", tmp_path / "run", sam=folder, image_size=64, options=options(coco, **more)
    )
    found, sam = read_checkpoint(last)["state_dict"], load_file(folder / "model.safetensors")
    encoder = {name: each for name, each in sam.items() if name.startswith("vision_encoder.")}
    assert all(torch.equal(found[f"backbone.{name}"], each) for name, each in encoder.items())
    decoder = {name: each for name, each in sam.items() if name.startswith("mask_decoder.")}
    apart = [(found[f"roi_head.mask_head.sam.{name}"] - each).abs().max() for name, each in decoder.items()]
    assert 0 < max(apart) < 5e-3  # some steps of 1e-4, and not other weights
    assert any((each.abs().max() > 0.1) for each in decoder.values())
    prefix = "roi_head.mask_head.sam.shared_image_embedding."
    assert torch.equal(found[f"{prefix}positional_embedding"], sam["shared_image_embedding.positional_embedding"])


@pytest.mark.slow
def test_a_distilled_backbone_leaves_sams_decoder_as_it_is(
    mmrotate: ModuleType, coco: Path, folder: Path, tmp_path: Path
) -> None:
    from mmdet.registry import MODELS

    student = {"type": "RSMamba", "arch": {"layers": 2, "inner": 32, "channels": 16}, "img_size": 64}
    torch.manual_seed(3)
    weights = MODELS.build(student).state_dict()
    torch.save({"state_dict": weights}, tmp_path / "distilled.pth")
    more = {
        "model.backbone": {"_delete_": True, **student, "frozen_stages": 2},
        "model.neck.feature_aggregator.in_channels": [16, 16],
        "model.neck.feature_aggregator.select_layers": [1],
    }
    settings = options(coco, **more)
    del settings["model.backbone.img_size"]
    last = train(
        "rsprompter-anchor-rsmamba-base",
        tmp_path / "run",
        sam=folder,
        backbone=tmp_path / "distilled.pth",
        image_size=64,
        options=settings,
    )
    found, sam = read_checkpoint(last)["state_dict"], load_file(folder / "model.safetensors")
    assert all(torch.equal(found[f"backbone.{name}"], each) for name, each in weights.items())
    name = "mask_decoder.mask_tokens.weight"
    assert (found[f"roi_head.mask_head.sam.{name}"] - sam[name]).abs().max() < 5e-3


def test_models_without_sam_take_none(mmrotate: ModuleType, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a model with parts of SAM, .* got mmdet.MaskRCNN without"):
        train("mask-rcnn-rsmamba-base", tmp_path / "run", sam=folder)
