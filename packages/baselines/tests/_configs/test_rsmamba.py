"""The detectors on RSMamba and SAM: strides, what learns, that they predict, and that a checkpoint may name them."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from mmengine.config import Config
from rbox_baselines import Data, load_config, train
from rbox_baselines._configs import _check, _load, _rsmamba, _trial
from rbox_baselines._configs._stored import load_stored
from rbox_baselines._configs._trial import STEPS, trial
from rbox_baselines._stack import _mends
from rbox_baselines.errors import ConfigError
from rbox_formats.synthetic import TINY, scene
from rbox_testing.samples import sampled

#: Two layers instead of 12 and more.
RSMAMBA: dict[str, Any] = {
    "model.backbone": {
        "_delete_": True,
        "type": "RSMamba",
        "arch": {"layers": 2, "inner": 32, "channels": 16},
        "img_size": 64,
    },
    "model.neck.feature_aggregator.in_channels": [16, 16],
    "model.neck.feature_aggregator.select_layers": [1],
    "model.neck.feature_aggregator.hidden_channels": 8,
}
SAM: dict[str, Any] = {
    "model.backbone.arch": {
        "_delete_": True,
        "layers": 2, "channels": 32, "heads": 2, "global_layers": (1,), "mlp": 64, "window": 2,
        "embedding_channels": 16,
    },
    "model.backbone.img_size": 64,
    "model.neck.feature_aggregator.select_layers": [1, 2],
    "model.neck.feature_aggregator.hidden_channels": 8,
}  # fmt: skip
DECODER = {"channels": 16, "heads": 2, "mlp": 32}
NAMES = [
    "oriented-rcnn-rsmamba-base",
    "rotated-rtmdet-rsmamba-base",
    "mask-rcnn-rsmamba-base",
    "sam-seg-base",
    "rsprompter-anchor-sam-base-lora",
    "rsprompter-anchor-sam-base-lora-512",
    "rsprompter-anchor-rsmamba-base",
    "rsprompter-query-sam-base",
]
FEW = [*NAMES[:3], "rsprompter-anchor-sam-base-lora", "rsprompter-query-sam-base"]


@pytest.fixture(autouse=True)
def _without_noise(mmrotate: ModuleType) -> Iterator[None]:
    with warnings.catch_warnings():
        _mends.silence()
        yield


def small(name: str) -> Config:
    return shrunk(_load.load_model(name))


def shrunk(config: Config) -> Config:
    is_sam = config.model.backbone.type == "SAMEncoder"
    if config.model.neck.feature_aggregator.type == "PseudoFeatureAggregator":
        config.merge_from_dict(copy.deepcopy({name: SAM[name] for name in SAM if "backbone" in name}))
        config.model.neck.feature_aggregator.update(in_channels=16, hidden_channels=8)
        is_sam = False
    else:
        config.merge_from_dict(copy.deepcopy(SAM if is_sam else RSMAMBA))
    if is_sam:
        maps = [32, 32, 32] + [16] * config.model.backbone.embedding
        config.model.neck.feature_aggregator.in_channels = maps
    head = config.model.get("panoptic_head") or config.model.get("roi_head", {}).get("mask_head", {})
    if "sam" in head:
        head.sam.update(DECODER)
        head.out_channels = 16
    if "panoptic_head" in config.model:
        head.num_queries = 10
        config.model.train_cfg.num_points = 256
    return config


@pytest.mark.parametrize("name", sampled(_rsmamba.NAMES, FEW))
def test_maps_have_the_strides_that_the_heads_say(name: str) -> None:
    """RS4D's Rotated RTMDet had a head for strides of 8, 16 and 32 on maps of 4, 8 and 16."""
    from mmrotate.registry import MODELS

    config = _load.load_model(name)
    _check.check_types(config)
    with torch.device("meta"):
        neck = MODELS.build(config.model.neck)
        backbone = MODELS.build(config.model.backbone)
    neck = neck.to_empty(device="cpu")
    channels = getattr(neck.feature_aggregator, "in_channels", (256,))
    given = len(backbone.out_indices) + getattr(backbone, "embedding", False)
    assert given == len(channels)
    if given > 1:
        assert len(neck.feature_aggregator.select_layers) in (given // 2, given // 2 - 1)
    sizes = [each.shape[-1] for each in neck([torch.zeros(1, each, 8, 8) for each in channels])]
    if "panoptic_head" in config.model:
        assert [128 // size for size in sizes] == config.model.panoptic_head.pixel_decoder.strides
        return
    head = config.model.get("rpn_head") or config.model.bbox_head
    assert [128 // size for size in sizes] == list(head.anchor_generator.strides)
    if "roi_head" in config.model:
        for extractor in ("bbox_roi_extractor", "mask_roi_extractor"):
            if extractor in config.model.roi_head:
                assert config.model.roi_head[extractor].featmap_strides == head.anchor_generator.strides[:4]


@pytest.mark.parametrize("name", sampled(NAMES, FEW))
def test_a_small_one_learns_and_predicts(name: str) -> None:
    outcome = trial(small(name), size=128 if name.startswith("oriented") else 64)
    assert outcome.reason is None
    assert outcome.passed == STEPS
    assert all(value > 0 for value in outcome.losses.values()), outcome.losses
    assert ("loss_mask" in outcome.losses) == (not name.startswith(("oriented", "rotated")))


def gradients(name: str, frozen: bool, half: bool = False) -> None:
    from mmrotate.registry import MODELS

    config = small(name)
    torch.manual_seed(0)
    model = MODELS.build(_trial.small(config, 64).model)
    model.init_weights()
    learning = {name for name, each in model.train().named_parameters() if each.requires_grad}
    given = model.data_preprocessor(_trial.batch(config, *_trial.drawn_scene(64, 0)), True)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        losses, _ = model.parse_losses(model(**given, mode="loss"))
    losses.backward()
    found = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    assert set(found) == learning
    assert all(each.isfinite().all() for each in found.values())
    assert any(name.startswith("backbone") for name in learning) != frozen


@pytest.mark.parametrize("name", sampled(NAMES[2:], FEW[3:]))
def test_what_learns_has_gradients_and_nothing_else_has(name: str) -> None:
    """Several devices need that: a weight that learns and has no gradient makes them wait for each other."""
    gradients(name, frozen="sam" in name and "lora" not in name and "rsmamba" not in name)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_base_size_learns_and_predicts(name: str) -> None:
    assert trial(_load.load_model(name), size=256).reason is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rsprompter-anchor-sam-base-lora", "rsprompter-query-sam-base"])
def test_half_precision(name: str) -> None:
    """Which presets of RSPrompter have."""
    gradients(name, frozen="lora" not in name, half=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_may_name_them(name: str) -> None:
    config = _load.load_model(name)
    assert load_stored(config.pretty_text).model.to_dict() == config.model.to_dict()


def test_a_preset_has_its_data_and_schedule(scenes: Path) -> None:
    config = load_config("oriented-rcnn-rsmamba-srsdd", data=Data(str(scenes)), class_names=("car", "ship"))
    assert config.model.backbone.type == "RSMamba"
    assert config.model.roi_head.bbox_head.num_classes == 2
    assert config.train_cfg.max_epochs == 72
    assert config.train_dataloader.dataset.type == "RBoxDataset"
    assert config.val_evaluator.type == "RBoxMetric"


def test_rates_positions_norms_and_biases_do_not_decay() -> None:
    from mmengine.optim import build_optim_wrapper
    from mmrotate.registry import MODELS

    config = small("rotated-rtmdet-rsmamba-base")
    model = MODELS.build({"type": "mmdet.RTMDet", **{key: config.model[key] for key in ("backbone", "neck", "bbox_head",
                          "train_cfg", "test_cfg")}})  # fmt: skip
    groups = build_optim_wrapper(model, config.optim_wrapper).optimizer.param_groups
    decays = {id(each): group["weight_decay"] for group in groups for each in group["params"]}
    for name, each in model.backbone.named_parameters():
        plain = name.rpartition(".")[2] in ("A_log", "D", "pos_embed", "bias") or "norm" in name or "ln1" in name
        assert decays[id(each)] == (0 if plain else 0.05), name


def test_masks_come_from_coco_files_alone(scenes: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a config that learns from boxes for --data, got one .* masks"):
        load_config("mask-rcnn-rsmamba-base", data=Data(str(scenes)))


def coco(folder: Path, seeds: range) -> None:
    """Scenes of 64 px whose masks are the outlines of their boxes."""
    from PIL import Image

    images, annotations = [], []
    folder.mkdir()
    for seed in seeds:
        pixels, record = scene(seed, TINY)
        Image.fromarray(pixels).save(folder / f"{seed}.png")
        height, width = pixels.shape[:2]
        images.append({"id": seed, "file_name": f"{seed}.png", "width": width, "height": height})
        for quad in record.corners:
            (left, top), (right, bottom) = quad.min(0).tolist(), quad.max(0).tolist()
            box = [left, top, right - left, bottom - top]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": seed, "category_id": 1, "iscrowd": 0, "bbox": box,
                 "area": box[2] * box[3], "segmentation": [quad.reshape(-1).tolist()]}
            )  # fmt: skip
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "object"}]}
    (folder / "coco.json").write_text(json.dumps(content))


@pytest.mark.slow
def test_mask_rcnn_is_trained_on_coco_files_and_scored_by_mask_ap(tmp_path: Path) -> None:
    coco(tmp_path / "train", range(4))
    coco(tmp_path / "val", range(4, 6))
    options = copy.deepcopy(RSMAMBA)
    for kind, folder in (("train", "train"), ("val", "val"), ("test", "val")):
        options |= {
            f"{kind}_dataloader.dataset.data_root": str(tmp_path / folder),
            f"{kind}_dataloader.dataset.ann_file": "coco.json",
            f"{kind}_dataloader.dataset.data_prefix.img": "",
            f"{kind}_dataloader.dataset.metainfo": {"classes": ("object",)},
            f"{kind}_dataloader.num_workers": 0,
            f"{kind}_dataloader.persistent_workers": False,
        }
    options |= {f"{kind}_evaluator.ann_file": str(tmp_path / "val" / "coco.json") for kind in ("val", "test")}
    options |= {f"model.roi_head.{head}.num_classes": 1 for head in ("bbox_head", "mask_head")}
    options |= {"train_cfg.max_epochs": 1}
    last = train("mask-rcnn-rsmamba-base", tmp_path / "run", image_size=64, options=options, backbone="none")
    assert last.is_file()
    [log] = (tmp_path / "run").rglob("scalars.json")
    scores = [json.loads(line) for line in log.read_text().splitlines()]
    assert any("coco/segm_mAP" in each for each in scores)
