"""Detectors on plain encoders, RSMamba's or SAM's: models of MMRotate's zoo and of mmdet's with RSFPN between.

The encoder's features have a stride of 16, and the neck makes the strides that each head's config says: RS4D's own
Rotated RTMDet had a head for strides 8, 16 and 32 on maps of 4, 8 and 16.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rbox_baselines._configs import _mmdet, _zoo
from rbox_baselines._configs._pipelines import learns_masks, resize

if TYPE_CHECKING:
    from mmengine.config import Config
else:
    Config = Any  # mmengine is imported where a config is read

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
        "custom_keys": {name: {"decay_mult": 0.0} for name in ("A_log", ".D", "pos_embed", "rel_pos")},
    },
    "clip_grad": {"max_norm": 35, "norm_type": 2},
}


@dataclass(frozen=True)
class Encoder:
    """An encoder of the table.

    Attributes:
        kind: The backbone's class.
        size: Its size.
        channels: Those of each map that it gives, in order.
        sam: The hub name of the SAM whose decoder goes with it.
        learns: What of SAM's encoder learns.
        image_size: The longer side of images, in pixels.
    """

    kind: str
    size: str
    channels: tuple[int, ...]
    sam: str
    learns: str = "nothing"
    image_size: int = 1024

    @property
    def is_small(self) -> bool:
        """Whether it is RSPrompter's for small images, whose image embedding is its only map."""
        return self.image_size < 1024

    @property
    def is_sam(self) -> bool:
        """Whether it is SAM's own."""
        return self.kind == "SAMEncoder"


@dataclass(frozen=True)
class Head:
    """A detector that an encoder is the backbone of.

    Attributes:
        config: The name of its config in MMRotate's zoo, or among mmdet's instance models.
        what: What it is, for a list.
        strides: How many strides its config has.
        start_level: The first of them: 0 is 4 px, 1 is 8 px.
        change: Changes the config further, for an encoder.
        has_decoder: Whether it has SAM's decoder, which takes the encoder's last map.
    """

    config: str
    what: str
    strides: int = 5
    start_level: int = 0
    change: Callable[[Config, Encoder], None] | None = None
    has_decoder: bool = False


def _smooth_losses(config: Config, _: Encoder) -> None:
    """Give both stages the loss of boxes that RSPrompter and RS4D have: mmdet's is L1."""
    for head in (config.model.rpn_head, config.model.roi_head.bbox_head):
        head.loss_bbox = {"type": "mmdet.SmoothL1Loss", "loss_weight": 1.0}


def _prompt_by_boxes(config: Config, encoder: Encoder) -> None:
    """Give Mask R-CNN masks of SAM's decoder, with RSPrompter's settings."""
    _smooth_losses(config, encoder)
    model = config.model
    model.type = "RSPrompterAnchor"
    model.rpn_head.anchor_generator.scales = [4, 8]
    model.roi_head.type = "RSPrompterRoIHead"
    model.roi_head.mask_head = {
        "type": "RSPrompterMaskHead",
        "sam": _decoder(encoder),
        "with_sincos": encoder.is_sam,  # RS4D leaves the sines out
    }
    model.train_cfg.rcnn.sampler.num = 256


def _prompt_by_queries(config: Config, encoder: Encoder) -> None:
    """Give a config Mask2Former's model with RSPrompter's settings, half as wide as Mask2Former, on five strides."""
    pixels = config.model.data_preprocessor
    config.model = _mmdet.load("mask2former_r50_8xb2-lsj-50e_coco").model
    model, head = config.model, config.model.panoptic_head
    model.type, model.data_preprocessor = "RSPrompterQuery", pixels
    head.pop("strides", None)
    head.update(
        type="RSPrompterQueryHead",
        sam={**_decoder(encoder), "masks": True},
        with_sincos=True,
        in_channels=[256] * 5,
        feat_channels=128,
        out_channels=256,
        positional_encoding={"num_feats": 64, "normalize": True},
    )
    head.pixel_decoder.update(strides=[4, 8, 16, 32, 64], positional_encoding={"num_feats": 64, "normalize": True})
    head.pixel_decoder.encoder.num_layers = 3
    head.transformer_decoder.num_layers = 6
    for layer in (head.pixel_decoder.encoder.layer_cfg, head.transformer_decoder.layer_cfg):
        for part in layer.values():
            part.embed_dims = 128
        layer.ffn_cfg.feedforward_channels = 512
    for name in ("self_attn_cfg", "cross_attn_cfg"):
        head.transformer_decoder.layer_cfg[name].pop("dropout")  # 0, which it is without; mmcv warns of the name
    model.panoptic_fusion_head.type = "RSPrompterFusionHead"


def _decoder(encoder: Encoder) -> dict[str, Any]:
    return {"type": "SAMDecoder", "init_cfg": {"type": "Pretrained", "checkpoint": encoder.sam}}


_MASK_RCNN = "mask-rcnn_r50_fpn_1x_coco"

HEADS = {
    "oriented-rcnn": Head("oriented-rcnn-le90_r50_fpn_1x_dota", "Oriented R-CNN"),
    "rotated-rtmdet": Head("rotated_rtmdet_l-3x-dota", "Rotated RTMDet", strides=3, start_level=1),
    "mask-rcnn": Head(_MASK_RCNN, "Mask R-CNN", change=_smooth_losses),
    "rsprompter-anchor": Head(
        _MASK_RCNN, "RSPrompter, whose boxes prompt SAM's decoder", change=_prompt_by_boxes, has_decoder=True
    ),
    "rsprompter-query": Head(
        _MASK_RCNN, "RSPrompter, whose queries prompt SAM's decoder", change=_prompt_by_queries, has_decoder=True
    ),
}

#: Layers of each size, as the classes have them (`rbox_baselines._parts._rsmamba.SIZES`), which need torch.
LAYERS = {"small": 16, "base": 24, "large": 28, "huge": 32, "uhuge2": 48}

#: Layers and channels of SAM's sizes, as `rbox_baselines._parts._sam.SIZES` has them. The patches are a map, too.
SAM_LAYERS = {"base": (12, 768), "large": (24, 1024), "huge": (32, 1280)}

_SAM = "facebook/sam-vit-{}"

ENCODERS = {
    f"rsmamba-{size}": Encoder("RSMamba", size, (256,) * layers, _SAM.format("base")) for size, layers in LAYERS.items()
} | {
    f"sam-{size}{suffix}": Encoder("SAMEncoder", size, (width,) * (layers + 1), _SAM.format(size), learns)
    for size, (layers, width) in SAM_LAYERS.items()
    for suffix, learns in {"": "nothing", "-lora": "lora"}.items()
}
ENCODERS["sam-base-lora-512"] = Encoder("SAMEncoder", "base", (256,), _SAM.format("base"), "lora", 512)

#: The names of the configs: head and encoder. Mask R-CNN on SAM has RSPrompter's name for it, SAM-seg.
NAMES: dict[str, tuple[Head, Encoder]] = {
    f"{name}-{encoder}".replace("mask-rcnn-sam", "sam-seg"): (HEADS[name], ENCODERS[encoder])
    for name in HEADS
    for encoder in ENCODERS
}


def load(name: str) -> Config:
    """Read one of `NAMES`.

    Raises:
        ConfigError: If mmdet or MMRotate has no config of the head.
    """
    head, encoder = NAMES[name]
    config = (_mmdet.load if head.config in _mmdet.zoo() else _zoo.load_zoo)(head.config)
    if head.change is not None:
        head.change(config, encoder)
    config.model.backbone = _backbone(encoder, head)
    config.model.neck = {
        "type": "RSFPN",
        "feature_aggregator": _aggregator(encoder, head),
        "feature_spliter": {"type": "RSSimpleFPN", "num_outs": head.strides, "start_level": head.start_level},
    }
    config.model.data_preprocessor.update(copy.deepcopy(_PIXELS))
    config.optim_wrapper = copy.deepcopy(_OPTIMISER)
    if learns_masks(config) or encoder.is_small:
        resize(config, encoder.image_size)  # mmdet's is 1,333 x 800
    return config


def _backbone(encoder: Encoder, head: Head) -> dict[str, Any]:
    found: dict[str, Any] = {"type": encoder.kind, "arch": encoder.size}
    if encoder.is_sam:
        found |= {"learns": encoder.learns, "embedding": head.has_decoder or encoder.is_small}
        found["init_cfg"] = {"type": "Pretrained", "checkpoint": encoder.sam}
    if encoder.is_small:
        found |= {"img_size": encoder.image_size, "out_indices": ()}
    return found


def _aggregator(encoder: Encoder, head: Head) -> dict[str, Any]:
    """Return what joins every second map of the encoder, as RSPrompter and RS4D do.

    In RS4D's prompt variant the first of them is one later.
    """
    if encoder.is_small:
        return {"type": "PseudoFeatureAggregator", "in_channels": encoder.channels[-1]}
    first = 2 if head.has_decoder and not encoder.is_sam else 1
    return {
        "type": "RSFeatureAggregator",
        "in_channels": encoder.channels + ((256,) if encoder.is_sam and head.has_decoder else ()),
        "select_layers": tuple(range(first, len(encoder.channels), 2)),
    }
