"""The mixer of Mamba (Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from rbox_baselines._scan import ScanBackend, selective_scan

#: The steps with which channels begin: from and to, evenly in their logarithms, and never less than the last.
_FIRST_STEPS = (1e-3, 1e-1, 1e-4)


class MambaMixer(nn.Module):
    """A causal convolution of each channel and a selective scan, gated: tokens learn from those before them.

    Names and shapes of the weights are those of transformers' `MambaMixer`, and of mamba_ssm's `Mamba`. They are drawn
    here as in the paper, and not by `init_weights`: weights that are loaded stay.

    Args:
        channels: Of the tokens.
        inner: Channels of the scan.
        states: States of each channel.
        taps: Tokens that the convolution looks at: a token's own, and those before it.
        rank: Channels from which the steps are made. None: a sixteenth of `channels`, rounded up.
        backend: What computes the scan, as for `selective_scan`.
    """

    def __init__(
        self,
        channels: int,
        inner: int,
        states: int = 16,
        taps: int = 4,
        rank: int | None = None,
        backend: ScanBackend = "auto",
    ) -> None:
        super().__init__()
        rank = math.ceil(channels / 16) if rank is None else rank
        self.backend: ScanBackend = backend
        self._parts = [rank, states, states]
        self.in_proj = nn.Linear(channels, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, taps, groups=inner, padding=taps - 1)
        self.x_proj = nn.Linear(inner, rank + 2 * states, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.A_log = nn.Parameter(torch.arange(1, states + 1).float().log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, channels, bias=False)
        nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
        low, high, least = _FIRST_STEPS
        steps = torch.exp(torch.empty(inner).uniform_(math.log(low), math.log(high))).clamp(min=least)
        with torch.no_grad():
            self.dt_proj.bias.copy_(steps + torch.log(-torch.expm1(-steps)))  # softplus of it is the step

    def forward(self, tokens: Tensor) -> Tensor:
        """Return (N, tokens, channels) of (N, tokens, channels)."""
        values, gate = self.in_proj(tokens).chunk(2, dim=-1)
        values = functional.silu(self.conv1d(values.transpose(1, 2))[..., : tokens.shape[1]]).transpose(1, 2)
        steps, into, out = self.x_proj(values).split(self._parts, dim=-1)
        steps = functional.softplus(self.dt_proj(steps))
        rates = -torch.exp(self.A_log.float())
        scanned = selective_scan(values, steps, rates, into, out, self.D, backend=self.backend)
        return self.out_proj(scanned * functional.silu(gate))
