"""The selective scan on a GPU: a program for each image and block of channels, which takes 32 tokens at a time.

Within these a scan over pairs (what a state is multiplied with, what is added to it) gives all states at once, in
registers. The forward kernel keeps the state before each 32 tokens, and no others; the backward kernel computes states
again, and scans from the last token to the first. What sums over channels is summed for each block by itself, and
then over the blocks, in one order: no additions race.
"""

from __future__ import annotations

from typing import Any, no_type_check

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

# Whether kernels run on the CPU: triton asks for TRITON_INTERPRET when it decorates them, below.
INTERPRETED: bool = bool(triton.knobs.runtime.interpret)

#: Tokens at a time, and channels of a program; powers of two.
TOKENS = 32
CHANNELS = 8


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        u, delta, A, B, C = (each.contiguous() for each in (u, delta, A, B, C))
        batch, tokens, channels = u.shape
        states = A.shape[1]
        y = torch.empty_like(u)
        starts = u.new_empty(batch, triton.cdiv(tokens, TOKENS), channels, states)
        grid = (batch, triton.cdiv(channels, CHANNELS))
        sizes = (tokens, channels, states)
        forward_kernel[grid](u, delta, A, B, C, y, starts, *sizes, TOKENS, CHANNELS, triton.next_power_of_2(states))
        ctx.save_for_backward(u, delta, A, B, C, starts)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        u, delta, A, B, C, starts = ctx.saved_tensors
        batch, tokens, channels = u.shape
        states = A.shape[1]
        blocks = triton.cdiv(channels, CHANNELS)
        of_u, of_delta = torch.empty_like(u), torch.empty_like(u)
        of_a = u.new_empty(batch, channels, states)
        of_b, of_c = (u.new_empty(batch, blocks, tokens, states) for _ in range(2))
        backward_kernel[(batch, blocks)](
            *(u, delta, A, B, C, starts, gradients[0].contiguous(), of_u, of_delta, of_a, of_b, of_c),
            *(tokens, channels, states, blocks),
            *(TOKENS, CHANNELS, triton.next_power_of_2(states)),
        )
        return of_u, of_delta, of_a.sum(0), of_b.sum(1), of_c.sum(1)


def scan(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Return y (batch, tokens, channels); arguments as those of `selective_scan`, float32, on a GPU."""
    return _Scan.apply(u, delta, A, B, C)


@triton.jit
@no_type_check
def _combine(a1, b1, a2, b2):
    return a1 * a2, a2 * b1 + b2


@triton.jit
@no_type_check
def forward_kernel(
    u, delta, A, B, C, y, starts, tokens, channels, states, K: tl.constexpr, E: tl.constexpr, N: tl.constexpr
):
    """Fill y and the states before each K tokens. Tiles are (K, E, N): tokens, channels, states."""
    image, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    k, e, n = tl.arange(0, K), block * E + tl.arange(0, E), tl.arange(0, N)
    has_e, has_n = e < channels, n < states
    rates = tl.load(A + e[:, None] * states + n[None, :], mask=has_e[:, None] & has_n[None, :], other=0.0)
    h = tl.zeros((E, N), tl.float32)
    chunks = tl.cdiv(tokens, K)
    for chunk in range(chunks):
        start = (image * chunks + chunk) * channels
        tl.store(starts + (start + e[:, None]) * states + n[None, :], h, mask=has_e[:, None] & has_n[None, :])
        t = chunk * K + k
        there = t < tokens
        wide = (image * tokens + t)[:, None] * channels + e[None, :]
        wide_mask = there[:, None] & has_e[None, :]
        few = (image * tokens + t)[:, None] * states + n[None, :]
        few_mask = there[:, None] & has_n[None, :]
        # Beyond the last token steps are 0: the state stays.
        step = tl.load(delta + wide, mask=wide_mask, other=0.0)
        flow = step * tl.load(u + wide, mask=wide_mask, other=0.0)
        b = tl.load(B + few, mask=few_mask, other=0.0)
        c = tl.load(C + few, mask=few_mask, other=0.0)
        decay = tl.exp(step[:, :, None] * rates[None, :, :])
        product, state = tl.associative_scan((decay, flow[:, :, None] * b[:, None, :]), 0, _combine)
        state += product * h[None, :, :]
        tl.store(y + wide, tl.sum(state * c[:, None, :], 2), mask=wide_mask)
        h = tl.sum(tl.where(k[:, None, None] == K - 1, state, 0.0), 0)


@triton.jit
@no_type_check
def backward_kernel(
    u,
    delta,
    A,
    B,
    C,
    starts,
    of_y,
    of_u,
    of_delta,
    of_a,
    of_b,
    of_c,
    tokens,
    channels,
    states,
    blocks,
    K: tl.constexpr,
    E: tl.constexpr,
    N: tl.constexpr,
):
    """Fill the gradients, from the last K tokens to the first; tiles as in `forward_kernel`."""
    image, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    k, e, n = tl.arange(0, K), block * E + tl.arange(0, E), tl.arange(0, N)
    has_e, has_n = e < channels, n < states
    square = has_e[:, None] & has_n[None, :]
    rates = tl.load(A + e[:, None] * states + n[None, :], mask=square, other=0.0)
    later = tl.zeros((E, N), tl.float32)  # the gradient of the state after these tokens
    of_rates = tl.zeros((E, N), tl.float32)
    chunks = tl.cdiv(tokens, K)
    for back in range(chunks):
        chunk = chunks - 1 - back
        start = (image * chunks + chunk) * channels
        h = tl.load(starts + (start + e[:, None]) * states + n[None, :], mask=square, other=0.0)
        t = chunk * K + k
        there = t < tokens
        wide = (image * tokens + t)[:, None] * channels + e[None, :]
        wide_mask = there[:, None] & has_e[None, :]
        few = (image * tokens + t)[:, None] * states + n[None, :]
        few_mask = there[:, None] & has_n[None, :]
        step = tl.load(delta + wide, mask=wide_mask, other=0.0)
        value = tl.load(u + wide, mask=wide_mask, other=0.0)
        outer = tl.load(of_y + wide, mask=wide_mask, other=0.0)
        b = tl.load(B + few, mask=few_mask, other=0.0)
        c = tl.load(C + few, mask=few_mask, other=0.0)
        decay = tl.exp(step[:, :, None] * rates[None, :, :])
        inflow = (step * value)[:, :, None] * b[:, None, :]
        product, state = tl.associative_scan((decay, inflow), 0, _combine)
        state += product * h[None, :, :]
        next_step = tl.load(delta + wide + channels, mask=(t + 1 < tokens)[:, None] & has_e[None, :], other=0.0)
        next_decay = tl.exp(next_step[:, :, None] * rates[None, :, :])
        product, inner = tl.associative_scan((next_decay, outer[:, :, None] * c[:, None, :]), 0, _combine, reverse=True)
        inner += product * later[None, :, :]
        # What the decay is multiplied with is the state before: state - inflow is both.
        of_exponent = inner * (state - inflow)
        through_b = tl.sum(inner * b[:, None, :], 2)
        tl.store(of_u + wide, through_b * step, mask=wide_mask)
        tl.store(of_delta + wide, through_b * value + tl.sum(of_exponent * rates[None, :, :], 2), mask=wide_mask)
        of_rates += tl.sum(of_exponent * step[:, :, None], 0)
        partial = ((image * blocks + block) * tokens + t)[:, None] * states + n[None, :]
        tl.store(of_b + partial, tl.sum(inner * (step * value)[:, :, None], 1), mask=few_mask)
        tl.store(of_c + partial, tl.sum(state * outer[:, :, None], 1), mask=few_mask)
        later = tl.sum(tl.where(k[:, None, None] == 0, inner, 0.0), 0)
    tl.store(of_a + (image * channels + e[:, None]) * states + n[None, :], of_rates, mask=square)
