"""RSFPN, the neck of RSPrompter (Chen et al., IEEE TGRS 2024) and of RS4D: layers joined, then cut into strides.

A plain backbone gives a map of each layer, all of one stride. The aggregator joins those of chosen layers, and the
simple pyramid (Li et al., "Exploring Plain Vision Transformer Backbones for Object Detection", ECCV 2022) makes maps of
several strides of the one that results. The classes whose names have "Pa" add a second pass, in the other direction.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional

from rbox_baselines._parts._both import registered
from rbox_baselines._parts._norms import ChannelNorm
from rbox_baselines.errors import ConfigError

#: Maps that a backbone gives and their channels, by the names of RSPrompter's and RS4D's configs: SAM's vision encoders
#: (the patches first, then each layer), and RSMamba.
WIDTHS: dict[str, tuple[int, int]] = {
    "base": (13, 768),
    "large": (25, 1024),
    "huge": (33, 1280),
    "rsmamba_small": (16, 256),
    "rsmamba_base": (24, 256),
    "rsmamba_large": (28, 256),
    "rsmamba_huge": (32, 256),
    "rsmamba_uhuge2": (48, 256),
}


@registered
class RSFPN(BaseModule):
    """The neck RSFPN.

    Args:
        feature_aggregator: Joins the maps of the backbone. None: only one comes, and is taken.
        feature_spliter: Makes maps of several strides; the name is that of RSPrompter's configs. None: one map.
        init_cfg: How mmengine initialises the weights.
    """

    def __init__(self, feature_aggregator: Any = None, feature_spliter: Any = None, init_cfg: Any = None) -> None:
        super().__init__(init_cfg)
        self.feature_aggregator = None if feature_aggregator is None else MODELS.build(feature_aggregator)
        self.feature_spliter = None if feature_spliter is None else MODELS.build(feature_spliter)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the maps of the heads, from the smallest stride, of the backbone's maps (N, C, H, W)."""
        joined = maps[-1] if self.feature_aggregator is None else self.feature_aggregator(maps)
        return (joined,) if self.feature_spliter is None else self.feature_spliter(joined)


@registered
class RSFeatureAggregator(BaseModule):
    """Joins the maps of chosen layers, the first of them first, into one.

    Args:
        in_channels: A name in `WIDTHS`, or the channels of each map that comes.
        hidden_channels: Channels in which maps are joined.
        out_channels: Channels of the result.
        select_layers: The maps that are joined, from 0.
        init_cfg: How mmengine initialises the weights.

    Raises:
        ConfigError: If an argument is none of those.
    """

    def __init__(
        self,
        in_channels: str | Sequence[int],
        hidden_channels: int = 32,
        out_channels: int = 256,
        select_layers: Sequence[int] = range(1, 24, 2),
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        if isinstance(in_channels, str):
            if in_channels not in WIDTHS:
                raise ConfigError(f"expected in_channels to be one of {', '.join(WIDTHS)}, got {in_channels!r}")
            count, width = WIDTHS[in_channels]
            in_channels = [width] * count
        self.in_channels, self.select_layers = tuple(in_channels), tuple(select_layers)
        if not self.select_layers or not all(0 <= layer < len(self.in_channels) for layer in self.select_layers):
            last = len(self.in_channels) - 1
            raise ConfigError(f"expected select_layers from 0 to {last}, one or more, got {self.select_layers}")
        self.downconvs = nn.ModuleList(
            nn.Sequential(*_block(self.in_channels[layer], hidden_channels, 1), *_block(hidden_channels))
            for layer in self.select_layers
        )
        self.hidden_convs = nn.ModuleList(nn.Sequential(*_block(hidden_channels)) for _ in self.select_layers)
        self.fusion_conv = nn.Sequential(
            *_block(hidden_channels, out_channels, 1),
            *_block(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, padding=1),
        )

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return one map (N, out channels, H, W) of the backbone's maps (N, C, H, W)."""
        if len(maps) != len(self.in_channels):
            raise ConfigError(
                f"expected {len(self.in_channels)} maps for the aggregator, got {len(maps)}",
                remedy="Its in_channels must have a number for each of the backbone's out_indices.",
            )
        features = [convs(maps[layer]) for convs, layer in zip(self.downconvs, self.select_layers, strict=True)]
        return self.fusion_conv(self._join(features))

    def _join(self, features: list[Tensor]) -> Tensor:
        """Return the sum that runs from the first map to the last: each is added, then what a convolution finds."""
        joined: Tensor | None = None
        for feature, convs in zip(features, self.hidden_convs, strict=True):
            both = feature if joined is None else joined + feature
            joined = both + convs(both)
        assert joined is not None
        return joined


@registered
class RSFeaturePaAggregator(RSFeatureAggregator):
    """Joins as `RSFeatureAggregator` does, and then runs back from the last map to the first, with other convolutions.

    Args:
        in_channels: A name in `WIDTHS`, or the channels of each map that comes.
        hidden_channels: Channels in which maps are joined.
        **settings: The others of `RSFeatureAggregator`.
    """

    def __init__(self, in_channels: str | Sequence[int], hidden_channels: int = 32, **settings: Any) -> None:
        super().__init__(in_channels, hidden_channels, **settings)
        self.reverse_convs = nn.ModuleList(nn.Sequential(*_block(hidden_channels)) for _ in self.select_layers)

    def _join(self, features: list[Tensor]) -> Tensor:
        joined = super()._join(features)
        for index in range(len(features) - 1, 0, -1):
            joined = joined + self.reverse_convs[index](joined)
            joined = joined + self.reverse_convs[index - 1](features[index - 1])
        return joined


@registered
class PseudoFeatureAggregator(BaseModule):
    """Takes the last map alone, and convolves it: RSPrompter's way with SAM on images of 512 px, where LoRA learns.

    Args:
        in_channels: Channels of the last map.
        hidden_channels: Channels between.
        out_channels: Channels of the result.
        init_cfg: How mmengine initialises the weights.
    """

    def __init__(
        self, in_channels: int = 256, hidden_channels: int = 512, out_channels: int = 256, init_cfg: Any = None
    ) -> None:
        super().__init__(init_cfg)
        widths = (
            (in_channels, hidden_channels, 1),
            (hidden_channels, hidden_channels, 3),
            (hidden_channels, out_channels, 3),
        )
        layers: list[nn.Module] = []
        for before, after, size in widths:
            layers += [nn.Conv2d(before, after, size, padding=size // 2, bias=False), ChannelNorm(after)]
        self.channel_fusion = nn.Sequential(*layers)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Return one map (N, out channels, H, W) of the backbone's maps (N, C, H, W)."""
        return self.channel_fusion(maps[-1])


@registered
class RSSimpleFPN(BaseModule):
    """Makes maps of several strides, each twice the one before, of one map of stride 16.

    Args:
        backbone_channel: Channels of the map that comes, a multiple of 4.
        out_channels: Channels of each result.
        num_outs: How many strides there are.
        start_level: The first stride: 0 is a quarter of that of the map, 1 a half. For a map of stride 16: 4 and 8.
        init_cfg: How mmengine initialises the weights.

    Raises:
        ConfigError: If `start_level` is neither 0 nor 1.
    """

    def __init__(
        self,
        backbone_channel: int = 256,
        out_channels: int = 256,
        num_outs: int = 5,
        start_level: int = 0,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        if start_level not in (0, 1):
            raise ConfigError(f"expected start_level to be 0 or 1, got {start_level}")
        half, quarter = backbone_channel // 2, backbone_channel // 4
        makers = {
            "fpn1": nn.Sequential(
                nn.ConvTranspose2d(backbone_channel, half, 2, 2),
                ChannelNorm(half),
                nn.GELU(),
                nn.ConvTranspose2d(half, quarter, 2, 2),
            ),
            "fpn2": nn.Sequential(nn.ConvTranspose2d(backbone_channel, half, 2, 2)),
            "fpn3": nn.Identity(),
            "fpn4": nn.MaxPool2d(2, 2),
        }
        widths = (quarter, half, backbone_channel, backbone_channel)
        self._names = tuple(makers)[start_level : start_level + num_outs]
        for name in self._names:
            self.add_module(name, makers[name])
        self._more = num_outs - len(self._names)
        chosen = widths[start_level : start_level + num_outs]
        self.lateral_convs = nn.ModuleList(_normed(width, out_channels, 1) for width in chosen)
        self.fpn_convs = nn.ModuleList(_normed(out_channels, out_channels, 3) for _ in chosen)

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """Return maps (N, out channels, H * k, W * k) from the smallest stride, of one map (N, C, H, W)."""
        given = []
        for name, lateral, conv in zip(self._names, self.lateral_convs, self.fpn_convs, strict=True):
            given.append(conv(lateral(self.get_submodule(name)(features))))
        self._pass_down(given)
        for _ in range(self._more):
            given.append(functional.max_pool2d(given[-1], 1, stride=2))
        return tuple(given)

    def _pass_down(self, maps: list[Tensor]) -> None:
        """Change maps with what those of smaller strides have: here not at all."""


@registered
class RSSimplePaFPN(RSSimpleFPN):
    """Makes maps as `RSSimpleFPN` does, and adds to each the one before, made smaller, and convolves it once more."""

    def _pass_down(self, maps: list[Tensor]) -> None:
        for before, after in itertools.pairwise(range(len(maps))):
            smaller = functional.interpolate(maps[before], maps[after].shape[2:], mode="bilinear", align_corners=False)
            maps[after] = self.fpn_convs[after](maps[after] + smaller)


def _block(before: int, after: int | None = None, size: int = 3) -> list[nn.Module]:
    after = before if after is None else after
    return [nn.Conv2d(before, after, size, padding=size // 2), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]


def _normed(before: int, after: int, size: int) -> nn.Sequential:
    """Return a convolution with a norm over channels, with the names that mmcv's ConvModule gives them."""
    conv = nn.Conv2d(before, after, size, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(OrderedDict(conv=conv, norm_layer=ChannelNorm(after)))
