"""Small models of RSPrompter learn the masks of a scene by heart."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from mmengine.config import Config
from rbox_baselines._configs import _load, _trial
from rbox_baselines._stack import _mends

CHANNELS = 64  # an eighth of which carries the shapes of masks


@pytest.fixture(autouse=True)
def _without_noise(mmrotate: ModuleType) -> Iterator[None]:
    with warnings.catch_warnings():
        _mends.silence()
        logging.disable(logging.WARNING)
        yield
        logging.disable(logging.NOTSET)


def small(variant: str) -> Config:
    config = _load.load_model(f"rsprompter-{variant}-rsmamba-base")
    model = config.model
    model.backbone = {
        "type": "RSMamba", "arch": {"layers": 3, "inner": 128, "channels": CHANNELS}, "img_size": 64, "patch_size": 8,
    }  # fmt: skip
    model.neck.feature_aggregator.update(in_channels=[CHANNELS] * 3, select_layers=[0, 1, 2], out_channels=64)
    model.neck.feature_spliter.update(start_level=1, backbone_channel=64, out_channels=64)
    if variant == "query":
        head = model.panoptic_head
        head.update(in_channels=[64] * 5, num_queries=10)
        model.panoptic_fusion_head.stride = 8
        model.train_cfg.num_points = 1024
    else:
        model.rpn_head.update(in_channels=64, feat_channels=64)
        for extractor in (model.roi_head.bbox_roi_extractor, model.roi_head.mask_roi_extractor):
            extractor.out_channels = 64
        model.roi_head.bbox_head.update(in_channels=64, fc_out_channels=128)
        head = model.roi_head.mask_head
        head.update(in_channels=64, stride=8)
    head.out_channels = CHANNELS
    head.sam.update(channels=CHANNELS, heads=4, mlp=128)
    return _trial.small(config, 64)


@pytest.mark.slow
@pytest.mark.variant
@pytest.mark.parametrize("variant", ["anchor", "query"])
def test_masks_of_a_scene_are_learnt(variant: str) -> None:
    from mmrotate.registry import MODELS

    config, drawn = small(variant), _trial.drawn_scene(64, 0)
    torch.manual_seed(0)
    model: Any = MODELS.build(config.model)
    model.init_weights()
    learning = [each for each in model.train().parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-3)
    for _ in range(150):
        given = model.data_preprocessor(_trial.batch(config, *drawn), True)
        loss, _ = model.parse_losses(model(**given, mode="loss"))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0 if variant == "query" else 35.0)
        optimizer.step()
    with torch.no_grad():
        given = model.eval().data_preprocessor(_trial.batch(config, *drawn), False)
        [sample] = model(**given, mode="predict")
    truth = sample.gt_instances.masks.to_tensor(torch.bool, "cpu")
    found = sample.pred_instances.masks
    overlaps = (truth[:, None] & found).sum((2, 3)) / (truth[:, None] | found).sum((2, 3)).clamp(min=1)
    best = overlaps.max(1).values
    # The smallest object has 31 pixels.
    assert best.median() > 0.8, best
