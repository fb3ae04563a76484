"""The selective scan in plain PyTorch, for any device and for float64: two short loops instead of one long one.

A part of the sequence is cut into blocks. First all blocks at once advance token by token, each from a state of zero.
Then the states are carried from block to block, and each block's states are corrected by what was carried into it:
32 + 32 steps for 1,024 tokens. Only the inputs and the state before each part are kept; gradients compute the states
once more, part by part from the last. So memory for states is that of one part, however long the sequence is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

#: Tokens of a block, and blocks of a part.
_BLOCK = 32
_BLOCKS = 32


class Scan(torch.autograd.Function):
    """y of u, delta, A, B and C, as those of `selective_scan`."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        """Return y, and keep the inputs and the state before each part."""
        state = u.new_zeros(u.shape[0], u.shape[2], A.shape[1])
        starts, outputs = [], []
        for part in _parts(u.shape[1]):
            starts.append(state)
            _, states = _states(u[:, part], delta[:, part], A, B[:, part], state)
            outputs.append(torch.einsum("gten,gtn->gte", states, C[:, part]))
            state = states[:, -1]
        ctx.save_for_backward(u, delta, A, B, C, *starts)
        return torch.cat(outputs, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of u, delta, A, B and C."""
        u, delta, A, B, C, *starts = ctx.saved_tensors
        [of_y] = gradients
        of_u, of_delta, of_b, of_c = (torch.empty_like(each) for each in (u, delta, B, C))
        of_a = torch.zeros_like(A)
        later = torch.zeros_like(starts[0])  # the gradient that reaches a part's last state through later tokens
        for part, start in zip(reversed(_parts(u.shape[1])), reversed(starts), strict=True):
            decay, states = _states(u[:, part], delta[:, part], A, B[:, part], start)
            # The gradient of each state is a scan as well: from the last token to the first.
            inner = torch.einsum("gte,gtn->gten", of_y[:, part], C[:, part])
            inner[:, -1] += later
            shifted = torch.cat([decay[:, 1:], torch.zeros_like(decay[:, :1])], dim=1)
            inner = _linear_scan(shifted.flip(1), inner.flip(1), torch.zeros_like(later)).flip(1)
            later = decay[:, 0] * inner[:, 0]
            of_c[:, part] = torch.einsum("gten,gte->gtn", states, of_y[:, part])
            before = torch.cat([start[:, None], states[:, :-1]], dim=1)
            of_exponent = before.mul_(decay).mul_(inner)
            of_a += torch.einsum("gten,gte->en", of_exponent, delta[:, part])
            of_b[:, part] = torch.einsum("gten,gte->gtn", inner, delta[:, part] * u[:, part])
            through_b = torch.einsum("gten,gtn->gte", inner, B[:, part])
            of_u[:, part] = through_b * delta[:, part]
            of_delta[:, part] = through_b * u[:, part] + torch.einsum("gten,en->gte", of_exponent, A)
        return of_u, of_delta, of_a, of_b, of_c


def _parts(tokens: int) -> list[slice]:
    size = _BLOCK * _BLOCKS
    return [slice(start, min(start + size, tokens)) for start in range(0, tokens, size)]


def _states(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
    """Return what each state is multiplied with, and all states: (batch, tokens, channels, states) both."""
    decay = torch.exp(delta[..., None] * A)
    return decay, _linear_scan(decay, (delta * u)[..., None] * B[:, :, None], start)


def _linear_scan(a: Tensor, b: Tensor, start: Tensor) -> Tensor:
    """Return h of h[t] = a[t] h[t - 1] + b[t], along dimension 1, from h[-1] = start."""
    tokens = a.shape[1]
    blocks = -(-tokens // _BLOCK)
    missing = blocks * _BLOCK - tokens
    if missing:
        a, b = (torch.cat([each, each.new_zeros(each.shape[0], missing, *each.shape[2:])], dim=1) for each in (a, b))
    a, b = (each.unflatten(1, (blocks, _BLOCK)) for each in (a, b))
    states, products = torch.empty_like(b), torch.empty_like(a)
    state, product = torch.zeros_like(b[:, :, 0]), torch.ones_like(a[:, :, 0])
    for k in range(_BLOCK):
        state = torch.addcmul(b[:, :, k], a[:, :, k], state)
        product = product * a[:, :, k]
        states[:, :, k], products[:, :, k] = state, product
    carried = torch.empty_like(state)  # into each block
    for k in range(blocks):
        carried[:, k] = start
        start = torch.addcmul(state[:, k], product[:, k], start)
    states.addcmul_(products, carried[:, :, None])
    return states.flatten(1, 2)[:, :tokens]
