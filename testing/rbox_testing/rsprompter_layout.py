"""Files of weights with the names that RSPrompter and RS4D give them, as small as they get.

The names are those of their modules at KyanChen/RSPrompter f4e73c3 and QinzheYang/RS4D 461aee4: SAM's parts are
transformers', each inside a module of theirs with the same name; LoRA is peft's wrapper; heads are mmdet's.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

#: Channels of the tiny SAM: hidden, and of the image embedding.
HIDDEN, CHANNELS = 32, 16
LAYERS = 2
CLASSES = 3
JOINED = 8  # channels in the aggregator


def weights(variant: str, encoder: str = "sam") -> dict[str, Tensor]:
    """Return a state dict with random values.

    Args:
        variant: "sam-seg", "anchor" or "query".
        encoder: "sam"; "sam-lora", peft's wrapper around it; "sam-lora-512", the same around mmpretrain's ViT-SAM,
            whose last map is all that the neck has; or "rsmamba".
    """
    torch.manual_seed(0)
    maps = [16] * LAYERS if encoder == "rsmamba" else [HIDDEN] * (LAYERS + 1)
    joined = maps[1:]
    found: dict[str, Tensor] = {}
    neck = _pseudo_neck() if encoder.endswith("512") else _neck(joined)
    for prefix, module in [*_backbone(encoder), *neck, *_heads(variant, encoder)]:
        found |= {f"{prefix}{name}": value.clone() for name, value in module.state_dict().items()}
    if encoder.endswith("512"):
        found = {_as_in_mmpretrain(name): each for name, each in found.items()}
    return {name: _drawn(name, each) for name, each in found.items()}


def _as_in_mmpretrain(name: str) -> str:
    """Return the name that ViT-SAM of mmpretrain has for a weight of transformers' encoder."""
    if not name.startswith("backbone."):
        return name
    for theirs, ours in (
        (".layer_norm1.", ".ln1."),
        (".layer_norm2.", ".ln2."),
        (".mlp.lin1.", ".ffn.layers.0.0."),
        (".mlp.lin2.", ".ffn.layers.1."),
        (".neck.conv1.", ".channel_reduction.0."),
        (".neck.ln1.", ".channel_reduction.1."),
        (".neck.conv2.", ".channel_reduction.2."),
        (".neck.ln2.", ".channel_reduction.3."),
    ):
        name = name.replace(theirs, ours)
    return name


def _drawn(name: str, like: Tensor) -> Tensor:
    if not like.is_floating_point():
        return like
    return torch.rand_like(like) + 0.5 if name.endswith("running_var") else torch.randn_like(like) * 0.1


def _vision_config() -> Any:
    from transformers import SamVisionConfig

    return SamVisionConfig(
        hidden_size=HIDDEN,
        output_channels=CHANNELS,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        image_size=64,
        window_size=2,
        global_attn_indexes=[1],
        mlp_dim=64,
        num_pos_feats=CHANNELS // 2,
    )


def _backbone(encoder: str) -> Iterator[tuple[str, nn.Module]]:
    from transformers.models.sam.modeling_sam import SamVisionEncoder

    if encoder == "rsmamba":
        yield "backbone.", _Mamba()
        return
    sam = SamVisionEncoder(_vision_config())
    if encoder.startswith("sam-lora"):
        from peft import LoraConfig, get_peft_model

        lora = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules=["qkv"], bias="none")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers by an old name
            sam = get_peft_model(sam, lora)  # type: ignore[assignment]
    yield "backbone.vision_encoder.", sam


class _Mamba(nn.Module):
    """RS4D's backbone: transformers' mixers, and what is around them."""

    def __init__(self) -> None:
        from transformers import MambaConfig
        from transformers.models.mamba.modeling_mamba import MambaMixer

        super().__init__()
        config = MambaConfig(hidden_size=16, expand=2, num_hidden_layers=LAYERS, time_step_rank=1)
        self.pos_embed = nn.Parameter(torch.zeros(1, 16, 16))
        self.patch_embed = nn.ModuleDict({"projection": nn.Conv2d(3, 16, 16, 16, bias=False)})
        self.layers = nn.ModuleList(MambaMixer(config, index) for index in range(LAYERS))
        self.pre_norm, self.ln1 = nn.LayerNorm(16), nn.LayerNorm(16)


def _neck(channels: list[int]) -> Iterator[tuple[str, nn.Module]]:
    def block(before: int, after: int, size: int) -> list[nn.Module]:
        return [nn.Conv2d(before, after, size), nn.BatchNorm2d(after), nn.ReLU()]

    aggregator = "neck.feature_aggregator."
    for index, width in enumerate(channels):
        yield f"{aggregator}downconvs.{index}.", nn.Sequential(*block(width, JOINED, 1), *block(JOINED, JOINED, 3))
        yield f"{aggregator}hidden_convs.{index}.", nn.Sequential(*block(JOINED, JOINED, 3))
    yield (
        f"{aggregator}fusion_conv.",
        nn.Sequential(*block(JOINED, 256, 1), *block(256, 256, 3), nn.Conv2d(256, 256, 3)),
    )
    yield from _pyramid()


def _pseudo_neck() -> Iterator[tuple[str, nn.Module]]:
    layers: list[nn.Module] = []
    for before, after, size in ((CHANNELS, 512, 1), (512, 512, 3), (512, 256, 3)):
        layers += [nn.Conv2d(before, after, size, bias=False), nn.LayerNorm(after)]
    yield "neck.feature_aggregator.channel_fusion.", nn.Sequential(*layers)
    yield from _pyramid()


def _pyramid() -> Iterator[tuple[str, nn.Module]]:
    pyramid = "neck.feature_spliter."
    first = [nn.ConvTranspose2d(256, 128, 2, 2), nn.LayerNorm(128), nn.GELU(), nn.ConvTranspose2d(128, 64, 2, 2)]
    yield f"{pyramid}fpn1.", nn.Sequential(*first)
    yield f"{pyramid}fpn2.", nn.Sequential(nn.ConvTranspose2d(256, 128, 2, 2))
    for index, width in enumerate((64, 128, 256, 256)):
        for name, before, size in (("lateral_convs", width, 1), ("fpn_convs", 256, 3)):
            yield f"{pyramid}{name}.{index}.conv.", nn.Conv2d(before, 256, size, bias=False)
            yield f"{pyramid}{name}.{index}.norm_layer.", nn.LayerNorm(256)


def _heads(variant: str, encoder: str) -> Iterator[tuple[str, nn.Module]]:
    from mmdet.models.layers import Mask2FormerTransformerDecoder
    from mmdet.registry import MODELS
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope("mmdet"):
        if variant == "query":
            from rbox_baselines._configs import _encoders

            head = _encoders.load("rsprompter-query-sam-base").model.panoptic_head
            pixels = {**head.pixel_decoder, "in_channels": [256] * 5, "feat_channels": 128, "out_channels": CHANNELS}
            yield "panoptic_head.pixel_decoder.", MODELS.build(pixels)
            yield "panoptic_head.transformer_decoder.", Mask2FormerTransformerDecoder(**head.transformer_decoder)
        else:
            anchors = {"type": "AnchorGenerator", "ratios": [0.5, 1, 2], "strides": [4, 8, 16, 32, 64]}
            anchors["scales"] = [4, 8] if variant == "anchor" else [8]
            rpn = {"type": "RPNHead", "in_channels": 256, "feat_channels": 256, "anchor_generator": anchors}
            yield "rpn_head.", MODELS.build(rpn)
            boxes = {"type": "Shared2FCBBoxHead", "in_channels": 256, "fc_out_channels": 32, "num_classes": CLASSES}
            yield "roi_head.bbox_head.", MODELS.build(boxes)
    if variant == "sam-seg":
        convs = {str(index): nn.ModuleDict({"conv": nn.Conv2d(256, 256, 3)}) for index in range(4)}
        yield "roi_head.mask_head.convs.", nn.ModuleDict(convs)
        yield "roi_head.mask_head.upsample.", nn.ConvTranspose2d(256, 256, 2, 2)
        yield "roi_head.mask_head.conv_logits.", nn.Conv2d(256, CLASSES, 1)
    else:
        yield from _prompts(variant, sines=encoder != "rsmamba")


def _prompts(variant: str, sines: bool) -> Iterator[tuple[str, nn.Module]]:
    from transformers import SamMaskDecoderConfig, SamPromptEncoderConfig
    from transformers.models.sam.modeling_sam import SamMaskDecoder, SamMaskEmbedding, SamPositionalEmbedding

    yield "shared_image_embedding.shared_image_embedding.", SamPositionalEmbedding(_vision_config())
    decoder = SamMaskDecoder(SamMaskDecoderConfig(hidden_size=CHANNELS, num_attention_heads=2, mlp_dim=32))
    tokens = 5 * CHANNELS * (1 + sines)
    if variant == "anchor":
        yield "roi_head.mask_head.mask_decoder.mask_decoder.", decoder
        yield "roi_head.mask_head.no_mask_embed.", nn.Embedding(1, CHANNELS)
        first = [nn.Conv2d(256, 256, 3), nn.BatchNorm2d(256), nn.ReLU(), nn.Flatten(), nn.Linear(12544, 256)]
        rest = [nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, tokens)]
        yield "roi_head.mask_head.point_emb.", nn.Sequential(*first, *rest)
        return
    yield "panoptic_head.mask_decoder.mask_decoder.", decoder
    yield "panoptic_head.sam_mask_embed.", SamMaskEmbedding(SamPromptEncoderConfig(hidden_size=CHANNELS))
    for name, widths in (("point_emb", [128, 64, 64, tokens]), ("mask_embed", [128, 128, 128, CHANNELS]),
                         ("cls_embed", [128, 128, CLASSES + 1])):  # fmt: skip
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        yield f"panoptic_head.{name}.", nn.Sequential(*layers[:-1])
    for name, count in (("query_embed", 10), ("query_feat", 10), ("level_embed", 3)):
        yield f"panoptic_head.{name}.", nn.Embedding(count, 128)
