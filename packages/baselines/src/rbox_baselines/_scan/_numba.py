"""The selective scan on the CPU: kernels over blocks of channels, which advance together from token to token.

Channels are neighbours in memory, so one instruction computes eight or sixteen of them. The forward kernel keeps the
states before every 64th token, and no others. The backward kernel takes the blocks of 64 tokens from the last to the
first, computes the states of one of them again, and runs through it backwards. The gradients of B and C are sums over
channels: each block of channels has a sum of its own, and these are added in one order. So results do not depend on the
number of threads.
"""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
import torch
from rbox_metrics.compiling import in_parts, inlined, jit
from torch import Tensor
from torch.autograd.function import once_differentiable

#: Channels of a block, a power of two from 8: their states are in the fastest cache.
_CHANNELS = 64

#: Tokens between the states that are kept.
_TOKENS = 64


class Scan(torch.autograd.Function):
    """y of u, delta, A, B and C, as those of `selective_scan`: float32, on the CPU."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        """Return y, and keep the inputs and the states before every 64th token."""
        given = [each.detach().contiguous() for each in (u, delta, A.T, B, C)]
        batch, tokens, channels = u.shape
        states = A.shape[1]
        blocks = -(-channels // _CHANNELS)
        y = torch.empty(batch, tokens, channels)
        starts = np.empty((batch * blocks, -(-tokens // _TOKENS), states, _CHANNELS), np.float32)
        state = np.empty((batch * blocks, states + 1, _CHANNELS), np.float32)
        work = batch * tokens * channels * states
        in_parts(_forward, batch * blocks, work, *_arrays(given), y.numpy(), starts, state)
        ctx.save_for_backward(*given, torch.from_numpy(starts))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        """Return the gradients of u, delta, A, B and C."""
        u, delta, transposed, B, C, starts = ctx.saved_tensors
        of_y = gradients[0].contiguous()
        batch, tokens, channels = u.shape
        units, _, states, _ = starts.shape
        of_u, of_delta = torch.empty_like(u), torch.empty_like(delta)
        # A sum of its own for each block of channels, and for each image.
        of_b, of_c = (torch.empty(batch, units // batch, tokens, states) for _ in range(2))
        of_a = torch.zeros(units, states, _CHANNELS)
        inner = np.empty((units, 2, _TOKENS + 1, states, _CHANNELS), np.float32)
        rows = np.zeros((units, states + 4, _CHANNELS), np.float32)
        results = _arrays([of_u, of_delta, of_a, of_b.flatten(0, 1), of_c.flatten(0, 1)])
        work = 3 * batch * tokens * channels * states
        given = _arrays([u, delta, transposed, B, C, starts, of_y])
        in_parts(_backward, units, work, *given, *results, inner, rows)
        of_a = of_a.unflatten(0, (batch, -1)).sum(0).transpose(1, 2).flatten(0, 1)[:channels]
        return of_u, of_delta, of_a, of_b.sum(1), of_c.sum(1)


def _arrays(tensors: list[Tensor]) -> list[np.ndarray]:
    return [each.numpy() for each in tensors]


_TO_BITS = np.float32(1.4426950408889634)
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(-2.12194440e-4)
_HALF = np.float32(0.5)
_ONE = np.float32(1)
_ZERO = np.float32(0)
_LEAST = np.float32(-87)
_MOST = np.float32(88)
_C5 = np.float32(1.9875691500e-4)
_C4 = np.float32(1.3981999507e-3)
_C3 = np.float32(8.3334519073e-3)
_C2 = np.float32(4.1665795894e-2)
_C1 = np.float32(1.6666665459e-1)
_C0 = np.float32(5.0000001201e-1)


@inlined
@no_type_check
def _exp(x):
    """Return e to the x, to 1e-7 of it, as Cephes' expf does; a loop of it becomes instructions for many numbers.

    x is taken as -87 below that, and as 88 above that, where float32 ends.
    """
    # Written so that NaN stays NaN.
    x = _LEAST if x < _LEAST else x
    x = _MOST if x > _MOST else x
    whole = np.floor(x * _TO_BITS + _HALF)
    r = x - whole * _LN2_HIGH - whole * _LN2_LOW
    p = ((((_C5 * r + _C4) * r + _C3) * r + _C2) * r + _C1) * r + _C0
    p = p * (r * r) + r + _ONE
    return p * np.int32((np.int32(whole) + np.int32(127)) << np.int32(23)).view(np.float32)


@jit
@no_type_check
def _forward(begin, end, u, delta, A, B, C, y, starts, state):
    """Fill y (batch, tokens, channels) and the kept states, for units (image, block of channels) from begin to end.

    A is (states, channels). `state` has rows of a block: one for each state, and one more.
    """
    tokens, channels = u.shape[1], u.shape[2]
    states = A.shape[0]
    blocks = (channels + _CHANNELS - 1) // _CHANNELS
    for unit in range(begin, end):
        image, first = unit // blocks, unit % blocks * _CHANNELS
        width = min(_CHANNELS, channels - first)
        h = state[unit]
        inflow = h[states]
        for n in range(states):
            for e in range(width):
                h[n, e] = _ZERO
        for t in range(tokens):
            if t % _TOKENS == 0:
                for n in range(states):
                    for e in range(width):
                        starts[unit, t // _TOKENS, n, e] = h[n, e]
            step, out = delta[image, t, first : first + width], y[image, t, first : first + width]
            for e in range(width):
                inflow[e] = step[e] * u[image, t, first + e]
                out[e] = _ZERO
            for n in range(states):
                b, c = B[image, t, n], C[image, t, n]
                row, rates = h[n], A[n, first : first + width]
                for e in range(width):
                    value = _exp(step[e] * rates[e]) * row[e] + inflow[e] * b
                    row[e] = value
                    out[e] += value * c


@inlined
@no_type_check
def _total(values):
    """Return the sum of a block's numbers, by halves, which float additions in one order would not allow."""
    half = _CHANNELS // 2
    while half >= 1:
        for e in range(half):
            values[e] += values[e + half]
        half //= 2
    return values[0]


@jit
@no_type_check
def _backward(begin, end, u, delta, A, B, C, starts, of_y, of_u, of_delta, of_a, of_b, of_c, inner, rows):
    """Fill the gradients for units (image, block of channels) from begin to end.

    of_a is (units, states, block); of_b and of_c are (units, tokens, states), sums over the unit's channels. `inner`
    holds the states of 64 tokens, and what each is multiplied with; `rows` zeros, and gradients of the states.
    """
    tokens, channels = u.shape[1], u.shape[2]
    states = A.shape[0]
    blocks = (channels + _CHANNELS - 1) // _CHANNELS
    for unit in range(begin, end):
        image, first = unit // blocks, unit % blocks * _CHANNELS
        width = min(_CHANNELS, channels - first)
        h, decay = inner[unit, 0], inner[unit, 1]
        inflow, through_b = rows[unit, states], rows[unit, states + 1]
        for_b, for_c = rows[unit, states + 2], rows[unit, states + 3]
        for chunk in range((tokens + _TOKENS - 1) // _TOKENS - 1, -1, -1):
            start = chunk * _TOKENS
            length = min(_TOKENS, tokens - start)
            for n in range(states):
                for e in range(width):
                    h[0, n, e] = starts[unit, chunk, n, e]
            for k in range(length):
                step = delta[image, start + k, first : first + width]
                for e in range(width):
                    inflow[e] = step[e] * u[image, start + k, first + e]
                for n in range(states):
                    b = B[image, start + k, n]
                    before, after, factors, rates = h[k, n], h[k + 1, n], decay[k, n], A[n, first : first + width]
                    for e in range(width):
                        factor = _exp(step[e] * rates[e])
                        factors[e] = factor
                        after[e] = factor * before[e] + inflow[e] * b
            for k in range(length - 1, -1, -1):
                t = start + k
                step, flow = delta[image, t, first : first + width], u[image, t, first : first + width]
                outer = of_y[image, t, first : first + width]
                of_step, of_flow = of_delta[image, t, first : first + width], of_u[image, t, first : first + width]
                for e in range(width):
                    inflow[e] = step[e] * flow[e]
                    through_b[e] = _ZERO
                    of_step[e] = _ZERO
                for n in range(states):
                    b, c = B[image, t, n], C[image, t, n]
                    before, after, factors, rates = h[k, n], h[k + 1, n], decay[k, n], A[n, first : first + width]
                    carried, of_rates = rows[unit, n], of_a[unit, n]
                    for e in range(_CHANNELS):
                        for_b[e] = _ZERO
                        for_c[e] = _ZERO
                    for e in range(width):
                        of_state = carried[e] + outer[e] * c
                        back = of_state * factors[e]
                        carried[e] = back
                        of_exponent = back * before[e]
                        through_b[e] += of_state * b
                        of_step[e] += of_exponent * rates[e]
                        of_rates[e] += of_exponent * step[e]
                        for_b[e] = of_state * inflow[e]
                        for_c[e] = outer[e] * after[e]
                    of_b[unit, t, n] = _total(for_b)
                    of_c[unit, t, n] = _total(for_c)
                for e in range(width):
                    of_flow[e] = through_b[e] * step[e]
                    of_step[e] += through_b[e] * flow[e]
