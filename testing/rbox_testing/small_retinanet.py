"""MMRotate's Rotated RetinaNet, as small as it gets."""

from __future__ import annotations

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
