"""Gradient checkpointing: activations of a block are computed again in the backward pass rather than kept."""

from __future__ import annotations

from typing import Any


def checkpoint_layers(model: Any) -> None:
    """Turn on transformers' own, which its layers of text and of most vision models have.

    Args:
        model: A transformers model, without adapters around it.
    """
    # Its name until transformers 5.2x, where it is deprecated, and since.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable()
    # Made for re-entrant checkpoints, which lose gradients where inputs have none; ours are not, and embeddings that
    # are frozen would get gradients that nobody reads.
    model.disable_input_require_grads()


def checkpoint_block(block: Any) -> None:
    """Make a module, which transformers has no checkpoints for, compute its activations again; its state is unchanged.

    Args:
        block: Any module; nothing happens to it the second time.
    """
    from torch.utils.checkpoint import checkpoint

    if "forward" in vars(block):
        return
    forward = block.forward

    def recomputed(*inputs: Any, **options: Any) -> Any:
        if not block.training:
            return forward(*inputs, **options)
        return checkpoint(forward, *inputs, use_reentrant=False, **options)

    block.forward = recomputed
