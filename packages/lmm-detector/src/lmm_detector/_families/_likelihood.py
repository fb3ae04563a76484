"""Probabilities of given tokens, without holding those of all others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_LOGITS_AT_A_TIME = 2**25  # 128 MiB in float32


def log_probabilities(
    hidden: torch.Tensor, tokens: torch.Tensor, head: Callable[[torch.Tensor], torch.Tensor], vocabulary: int
) -> torch.Tensor:
    """Return the log-probability of one token at each place.

    24 answers of 2,048 tokens have 2.5 billion logits over Florence-2's vocabulary, 9 GiB in float32; here as many
    places as have 2^25 of them are computed at a time, and of each one number is kept.

    Args:
        hidden: (N, width), what the output head gets.
        tokens: (N,) ids.
        head: From (n, width) to the logits (n, V).
        vocabulary: V.

    Returns:
        (N,) float32.
    """
    import torch

    size = max(1, _LOGITS_AT_A_TIME // vocabulary)
    found = []
    for part, wanted in zip(hidden.split(size), tokens.split(size), strict=True):
        logits = head(part).float()
        found.append(logits.gather(1, wanted[:, None])[:, 0] - logits.logsumexp(dim=1))
    return torch.cat(found) if found else hidden.new_zeros(0, dtype=torch.float32)
