"""The training loss: of each taught token the negative log-probability, computed from the model's logits by us.

transformers' classes average over the windows that they get at once, and only some of them take the number of tokens
of the whole step: the loss of the others depends on how a step is divided.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lmm_detector._families._types import IGNORED_LABEL

if TYPE_CHECKING:
    import torch

    from lmm_detector._families._soft_targets import SoftTargets

_LOGITS_AT_A_TIME = 2**25  # 128 MiB in float32


def summed_loss(
    model: Any, inputs: Mapping[str, Any], targets: torch.Tensor, soft: SoftTargets | None = None
) -> torch.Tensor:
    """Return the sum of the negative log-probabilities of all targets.

    Logits are computed where something is taught, and nowhere else.

    Args:
        model: A transformers model, or what is around one: adapters, several processes.
        inputs: What it takes, without labels.
        targets: (B, T) int64, at each place the token that the model is to find there; `IGNORED_LABEL`: none.
        soft: What spreads the targets of coordinates over their neighbours. None: nothing does.

    Returns:
        () float32, with its gradient.
    """
    taught = targets != IGNORED_LABEL
    logits = model(**inputs, logits_to_keep=taught, use_cache=False).logits
    return cross_entropy(logits, targets[taught], soft)


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor, soft: SoftTargets | None = None) -> torch.Tensor:
    """Return the sum of cross entropies in float32; only a few rows are held at a time, in the backward pass too.

    Args:
        logits: (N, V) of any precision.
        targets: (N,) int64 below V.
        soft: As in `summed_loss`.

    Returns:
        () float32.
    """
    import torch
    from torch.nn.functional import cross_entropy
    from torch.utils.checkpoint import checkpoint

    def of_rows(rows: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        if soft is not None:
            return soft.cross_entropy(rows.float(), wanted)
        return cross_entropy(rows.float(), wanted, reduction="sum")

    size = max(1, _LOGITS_AT_A_TIME // logits.shape[1])
    if len(logits) <= size:
        return of_rows(logits, targets)
    parts = [
        checkpoint(of_rows, *part, use_reentrant=False, preserve_rng_state=False)
        for part in zip(logits.split(size), targets.split(size), strict=True)
    ]
    return torch.stack(parts).sum()
