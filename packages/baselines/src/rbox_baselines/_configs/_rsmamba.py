"""Detectors on RSMamba: models of MMRotate's zoo and of mmdet's, with another backbone, neck and optimiser.

The backbone's features have a stride of 16, and the neck makes the strides that each head's config says: RS4D's own
Rotated RTMDet had a head for strides 8, 16 and 32 on maps of 4, 8 and 16.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rbox_baselines._configs import _mmdet, _zoo
from rbox_baselines._configs._pipelines import learns_masks, resize

if TYPE_CHECKING:
    from mmengine.config import Config

#: Layers of each size, as the classes have them (`rbox_baselines._parts._rsmamba.SIZES`), which need torch.
LAYERS = {"small": 16, "base": 24, "large": 28, "huge": 32, "uhuge2": 48}

#: Mean and standard deviation of SAM's images, red first: RSMamba is distilled with them.
_PIXELS = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375], "bgr_to_rgb": True}

#: RS4D's settings, except that what is a rate, a position, a norm or a bias is not drawn to zero (as in Mamba).
_OPTIMISER: dict[str, Any] = {
    "type": "OptimWrapper",
    "optimizer": {"type": "AdamW", "lr": 1e-4, "betas": (0.9, 0.999), "weight_decay": 0.05},
    "paramwise_cfg": {
        "norm_decay_mult": 0.0,
        "bias_decay_mult": 0.0,
        "bypass_duplicate": True,  # the head of RTMDet has the same convolutions at each stride
        "custom_keys": {name: {"decay_mult": 0.0} for name in ("A_log", ".D", "pos_embed")},
    },
    "clip_grad": {"max_norm": 35, "norm_type": 2},
}


@dataclass(frozen=True)
class Head:
    """A detector that RSMamba is the backbone of.

    Attributes:
        config: The name of its config in MMRotate's zoo, or among mmdet's instance models.
        what: What it is, for a list.
        strides: How many strides its config has.
        start_level: The first of them: 0 is 4 px, 1 is 8 px.
    """

    config: str
    what: str
    strides: int = 5
    start_level: int = 0


HEADS = {
    "oriented-rcnn": Head("oriented-rcnn-le90_r50_fpn_1x_dota", "Oriented R-CNN"),
    "rotated-rtmdet": Head("rotated_rtmdet_l-3x-dota", "Rotated RTMDet", strides=3, start_level=1),
    "mask-rcnn": Head("mask-rcnn_r50_fpn_1x_coco", "Mask R-CNN"),
}

#: The names of the configs: head and size.
NAMES: dict[str, tuple[Head, str]] = {
    f"{name}-rsmamba-{size}": (head, size) for name, head in HEADS.items() for size in LAYERS
}


def load(name: str) -> Config:
    """Read one of `NAMES`.

    Raises:
        ConfigError: If mmdet or MMRotate has no config of the head.
    """
    head, size = NAMES[name]
    config = (_mmdet.load if head.config in _mmdet.zoo() else _zoo.load_zoo)(head.config)
    layers = LAYERS[size]
    config.model.backbone = {"type": "RSMamba", "arch": size}
    config.model.neck = {
        "type": "RSFPN",
        # Every second layer, as RS4D joins them.
        "feature_aggregator": {
            "type": "RSFeatureAggregator",
            "in_channels": f"rsmamba_{size}",
            "select_layers": tuple(range(1, layers, 2)),
        },
        "feature_spliter": {"type": "RSSimpleFPN", "num_outs": head.strides, "start_level": head.start_level},
    }
    config.model.data_preprocessor.update(copy.deepcopy(_PIXELS))
    config.optim_wrapper = copy.deepcopy(_OPTIMISER)
    if learns_masks(config):
        resize(config, 1024)  # mmdet's is 1,333 x 800
    return config
