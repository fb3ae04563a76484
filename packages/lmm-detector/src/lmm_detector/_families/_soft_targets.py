"""Soft targets: a coordinate that is a little off is a little wrong, rather than as wrong as any other token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Axis:
    """The tokens of a coordinate's values, which have an order.

    Attributes:
        tokens: Their ids, from the least value to the largest.
        deviation: The standard deviation of a target's distribution, in values; above 0.
        is_circle: Whether the first value follows on the last, as an angle's does.
    """

    tokens: Sequence[int]
    deviation: float
    is_circle: bool = False

    def shares(self, values: torch.Tensor) -> torch.Tensor:
        """Return each target's distribution over all values of the axis.

        A discrete normal distribution; at the ends of an axis that is no circle over what is there.

        Args:
            values: (N,) int64, the true ones.

        Returns:
            (N, len(tokens)) float32 on the same device; each row sums to 1.
        """
        import torch

        count = len(self.tokens)
        away = (torch.arange(count, device=values.device) - values[:, None]).abs()
        if self.is_circle:
            away = torch.minimum(away, count - away)
        return torch.softmax(-((away / self.deviation) ** 2) / 2, dim=1)


@dataclass(frozen=True)
class SoftTargets:
    """Cross entropy whose targets are spread over neighbouring values, where a token stands for a coordinate.

    Attributes:
        axes: The coordinates' tokens; no token is in two of them. Any other token is its own target alone.
    """

    axes: Sequence[Axis]

    def cross_entropy(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the sum of cross entropies.

        Args:
            logits: (N, V) float32; V may be more than there are tokens.
            targets: (N,) int64 below V.

        Returns:
            () float32.
        """
        import torch
        from torch.nn.functional import cross_entropy

        plain = torch.ones_like(targets, dtype=torch.bool)
        total = logits.new_zeros(())
        for axis in self.axes:
            tokens = torch.tensor(axis.tokens, device=logits.device)
            value = torch.full(logits.shape[1:], -1, device=logits.device)
            value[tokens] = torch.arange(len(tokens), device=logits.device)
            values = value[targets]
            chosen = values >= 0
            plain &= ~chosen
            rows = logits[chosen]
            # The shares sum to 1, so that the normalisation over the vocabulary counts once.
            expected = (rows[:, tokens] * axis.shares(values[chosen])).sum(dim=1)
            total = total + (rows.logsumexp(dim=1) - expected).sum()
        return total + cross_entropy(logits[plain], targets[plain], reduction="sum")
