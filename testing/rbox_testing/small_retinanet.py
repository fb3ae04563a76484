"""MMRotate's Rotated RetinaNet, as small as it gets."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

ZOO_NAME = "rotated-retinanet-rbox-le90_r50_fpn_1x_dota"
SMALL: dict[str, Any] = {
    "model.backbone.depth": 18,
    "model.backbone.frozen_stages": -1,
    "model.backbone.base_channels": 8,
    "model.neck.in_channels": [8, 16, 32, 64],
    "model.neck.out_channels": 16,
    "model.bbox_head.in_channels": 16,
    "model.bbox_head.feat_channels": 16,
    "model.bbox_head.stacked_convs": 1,
    "train_dataloader.num_workers": 0,
    "train_dataloader.persistent_workers": False,
    "val_dataloader.num_workers": 0,
    "val_dataloader.persistent_workers": False,
}


def save(path: Path, scenes: Path, class_names: tuple[str, ...]) -> Path:
    """Write the model as mmengine saves it, with random weights.

    Args:
        path: The checkpoint.
        scenes: A dataset in DOTA's format of 64 px scenes.
        class_names: What it could be taught.
    """
    import torch
    from rbox_baselines import Data, load_config
    from rbox_baselines._configs import _load
    from rbox_baselines._configs._weights import without_pretrained

    _load.set_up()
    from mmdet.registry import MODELS

    config = load_config(ZOO_NAME, data=Data(str(scenes)), class_names=class_names, image_size=64, options=SMALL)
    torch.manual_seed(0)
    model = MODELS.build(without_pretrained(config).model)
    logging.disable()  # a line for each weight
    model.init_weights()
    logging.disable(logging.NOTSET)
    meta = {"cfg": config.pretty_text, "dataset_meta": {"classes": tuple(class_names)}}
    torch.save({"meta": meta, "state_dict": model.state_dict()}, path)
    return path
