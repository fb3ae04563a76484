"""Normalisation over the channels of a feature map."""

from __future__ import annotations

from torch import Tensor, nn


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, C, H, W), normalised at each place."""
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
