"""ConvNeXt (Liu et al., "A ConvNet for the 2020s", CVPR 2022), the backbone of one config of MMRotate's.

That config takes it from mmcls, which is neither made nor installable beside mmdet 3.1.0 any more. Here it is in the
form that detectors use, registered as MMRotate's `ConvNeXt`. Names and shapes of the weights are those of mmcls and
mmpretrain, whose checkpoints it loads.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from mmcv.cnn.bricks import DropPath
from mmengine.model import BaseModule
from mmrotate.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional

from rbox_baselines._parts._norms import ChannelNorm

#: Blocks and channels of each of the four stages (section 2.2 of the paper).
SIZES = {
    "tiny": ((3, 3, 9, 3), (96, 192, 384, 768)),
    "small": ((3, 3, 27, 3), (96, 192, 384, 768)),
    "base": ((3, 3, 27, 3), (128, 256, 512, 1024)),
    "large": ((3, 3, 27, 3), (192, 384, 768, 1536)),
}


class _Block(nn.Module):
    """7 x 7 convolution of each channel, then two layers across channels, added to what came in (figure 4)."""

    def __init__(self, channels: int, drop: float, scale: float) -> None:
        super().__init__()
        self.depthwise_conv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = ChannelNorm(channels)
        self.pointwise_conv1 = nn.Linear(channels, 4 * channels)
        self.pointwise_conv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(torch.full((channels,), scale))
        self.drop_path = DropPath(drop)

    def forward(self, features: Tensor) -> Tensor:
        inner = self.norm(self.depthwise_conv(features)).permute(0, 2, 3, 1)
        inner = self.pointwise_conv2(functional.gelu(self.pointwise_conv1(inner))) * self.gamma
        return features + self.drop_path(inner.permute(0, 3, 1, 2))


@MODELS.register_module()
class ConvNeXt(BaseModule):
    """The backbone ConvNeXt.

    Args:
        arch: A name in `SIZES`.
        out_indices: The stages whose features are given, from 0; each has a norm of its own.
        drop_path_rate: Probability that the last block is left out in training; it grows from 0 at the first.
        layer_scale_init_value: With what a block's output is multiplied at first.
        gap_before_final_norm: Whether features are averaged over the image, which no detector does: only False.
        init_cfg: How mmengine initialises the weights.
    """

    def __init__(
        self,
        arch: str = "tiny",
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path_rate: float = 0.0,
        layer_scale_init_value: float = 1e-6,
        gap_before_final_norm: bool = False,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        if gap_before_final_norm:
            raise ValueError(
                "expected gap_before_final_norm=False, got True: a detector needs features in their places"
            )
        depths, channels = SIZES[arch]
        drops = iter(torch.linspace(0, drop_path_rate, sum(depths)).tolist())
        stem = nn.Sequential(nn.Conv2d(3, channels[0], 4, 4), ChannelNorm(channels[0]))
        halvings = [
            nn.Sequential(ChannelNorm(before), nn.Conv2d(before, after, 2, 2))
            for before, after in itertools.pairwise(channels)
        ]
        self.downsample_layers = nn.ModuleList([stem, *halvings])
        self.stages = nn.ModuleList(
            nn.Sequential(*(_Block(count, next(drops), layer_scale_init_value) for _ in range(depth)))
            for depth, count in zip(depths, channels, strict=True)
        )
        self.out_indices = tuple(out_indices)
        for index in self.out_indices:
            self.add_module(f"norm{index}", ChannelNorm(channels[index]))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return features (N, C, H / 4, W / 4), (N, 2C, H / 8, W / 8), ... of images (N, 3, H, W)."""
        features, given = images, []
        for index, (halving, stage) in enumerate(zip(self.downsample_layers, self.stages, strict=True)):
            features = stage(halving(features))
            if index in self.out_indices:
                given.append(self.get_submodule(f"norm{index}")(features).contiguous())
        return tuple(given)
