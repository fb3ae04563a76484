"""The detectors on RSMamba and SAM: strides, what learns, that they predict, and that a checkpoint may name them."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from mmengine.config import Config
from rbox_baselines import Data, load_config
from rbox_baselines._configs import _check, _encoders, _load, _trial
from rbox_baselines._configs._stored import load_stored
from rbox_baselines._configs._trial import STEPS, trial
from rbox_baselines._stack import _mends
from rbox_baselines.cli.main import main
from rbox_formats import predictions
from rbox_formats.synthetic import TINY, write_scenes
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
FEW = [NAMES[2], "rsprompter-anchor-sam-base-lora", "rsprompter-query-sam-base"]


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


@pytest.mark.parametrize("name", sampled(_encoders.NAMES, FEW))
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


@pytest.mark.parametrize("name", sampled(NAMES[2:], FEW[1:]))
def test_what_learns_has_gradients_and_nothing_else_has(name: str) -> None:
    """Several devices need that: a weight that learns and has no gradient makes them wait for each other."""
    gradients(name, frozen="sam" in name and "lora" not in name and "rsmamba" not in name)


@pytest.mark.slow
@pytest.mark.parametrize("name", sampled(NAMES, ["rsprompter-query-sam-base"]))
def test_the_base_size_learns_and_predicts(name: str) -> None:
    assert trial(_load.load_model(name), size=256).reason is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rsprompter-anchor-sam-base-lora", "rsprompter-query-sam-base"])
def test_half_precision(name: str) -> None:
    """Which presets of RSPrompter have."""
    gradients(name, frozen="lora" not in name, half=True)


@pytest.mark.parametrize("name", sampled(NAMES, FEW[1:]))
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


MASKED: dict[str, Any] = {
    **RSMAMBA,
    "model.roi_head.bbox_head.fc_out_channels": 32,
    "model.roi_head.mask_head.num_convs": 1,
    "model.roi_head.mask_head.conv_out_channels": 16,
    "model.test_cfg.rcnn.score_thr": 0.0,
    "model.test_cfg.rcnn.max_per_img": 10,
    "train_cfg.max_epochs": 1,
    **{f"{kind}_dataloader.num_workers": 0 for kind in ("train", "val", "test")},
    **{f"{kind}_dataloader.persistent_workers": False for kind in ("train", "val", "test")},
}


@pytest.mark.slow
def test_from_training_to_masks_on_a_map(tmp_path: Path) -> None:
    """The score of the last epoch is that of `evaluate`; the outlines on the map are those of the masks, simplified."""
    masked = tmp_path / "masked"
    config = replace(TINY, size=64, masks=True)
    write_scenes(masked, "train", range(4), config, format="coco")
    write_scenes(masked, "val", range(4, 7), config, format="coco")
    run, out, report = tmp_path / "run", tmp_path / "found.jsonl", tmp_path / "report.json"
    data = ["--data", masked, "--format", "coco"]
    options = [
        word
        for name, value in MASKED.items()
        for word in ("--cfg-options", f"{name}={json.dumps(value)}")
    ]  # fmt: skip
    size = ["--image-size", 64, "--backbone", "none"]

    def invoke(*words: object) -> str:
        result = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return str(result.output)

    invoke("train", "mask-rcnn-rsmamba-base", *data, "--out", run, *options, *size)
    [log] = run.rglob("scalars.json")
    scores = [each for line in log.read_text().splitlines() if "rbox/map" in (each := json.loads(line))][-1]
    assert scores["rbox/map"] == scores["coco/segm_mAP"]

    common = ["--split", "val", "--predictions", out, "--score-threshold", 0, "--window", 0]
    model = ["--model", run / "epoch_1.pth"]
    invoke("evaluate", *data, *common, *model, "--protocol", "coco", "--geometry", "mask", "--out", report)
    assert json.loads(report.read_text())["map"] == pytest.approx(scores["rbox/map"], abs=1e-12)
    invoke("evaluate", *data, *common[:4])  # of the boxes around the masks

    found = list(predictions.read(out))
    assert sum(map(len, found)) > 0
    for record in found:
        assert record.masks is not None
        np.testing.assert_allclose(record.boxes, record.masks.to_rboxes())
    lines = []
    for tolerance in (0, 2):
        path = tmp_path / f"{tolerance}.geojson"
        images = masked / "images" / "val"
        predicted = ["--out", tmp_path / "map.jsonl", "--geojson", path, "--geojson-tolerance", tolerance]
        invoke("predict", images, *model, *predicted, "--pictures", tmp_path / "pictures", "--score-threshold", 0)
        lines.append(len(json.dumps(json.loads(path.read_text())["features"])))
    assert lines[1] < lines[0]
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 4  # with the sheet of all
