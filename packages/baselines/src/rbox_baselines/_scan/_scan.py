"""The selective scan as one function, and which of its ways computes it where."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from rbox_baselines.errors import BaselinesError, StackError

ScanBackend = Literal["auto", "numba", "torch", "triton", "mamba_ssm", "reference"]

BACKENDS: tuple[ScanBackend, ...] = get_args(ScanBackend)


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    *,
    backend: ScanBackend = "auto",
) -> Tensor:
    """Return the outputs of Mamba's selective scan (Gu and Dao, 2023), with gradients of every argument.

    For each channel e and each of its states n, from h[-1] = 0:

        h[t] = exp(delta[t, e] A[e, n]) h[t - 1] + delta[t, e] B[t, n] u[t, e]
        y[t, e] = sum over n of C[t, n] h[t], plus D[e] u[t, e]

    Args:
        u: (batch, tokens, channels) floats, the inputs.
        delta: (batch, tokens, channels), the steps; in Mamba the softplus of a linear layer.
        A: (channels, states), negative: how fast a state is forgotten.
        B: (batch, tokens, states), what goes into the states.
        C: (batch, tokens, states), what comes out of them.
        D: (channels,), what passes by the states. None: nothing.
        backend: "numba" computes float32 on the threads of the CPU; "triton" and "mamba_ssm" on an NVIDIA GPU, the
            second by the package of that name; "torch" in plain PyTorch, anywhere, also in float64; "reference" one
            token after another, slowly. "auto": numba on the CPU; on a GPU mamba_ssm or triton, the first that is
            installed; torch for what these do not compute.

    Returns:
        (batch, tokens, channels), of the dtype of `u`. In bfloat16 and float16 the states are float32, and what is read
        and returned is rounded. Gradients are not differentiable themselves.

    Raises:
        BaselinesError: If shapes, dtypes or devices do not fit together, or with the backend.
        StackError: If the backend is not installed.

    >>> import torch
    >>> one = torch.ones(1, 3, 1)
    >>> selective_scan(one, one, torch.full((1, 1), -1.0), one, one)[0, :, 0]
    tensor([1.0000, 1.3679, 1.5032])
    """
    _check(u, delta, A, B, C, D)
    if backend not in BACKENDS:
        raise BaselinesError(f"expected backend to be one of {', '.join(BACKENDS)}, got {backend!r}")
    name = _choice(u, A) if backend == "auto" else backend
    compute = _ways(name, u)
    wide = torch.float64 if u.dtype == torch.float64 else torch.float32
    with torch.autocast(u.device.type, enabled=False):
        given = [each.to(wide) for each in (u, delta, A, B, C)]  # each once, so that its gradient is rounded once
        # Of nothing: zeros, which are differentiable as well.
        empty = 0 in (*u.shape, A.shape[1])
        y = sum((0 * each.sum() for each in given), 0 * given[0]) if empty else compute(*given)
        if D is not None:
            y = y + given[0] * D.to(wide)
        return y.to(u.dtype)


def _choice(u: Tensor, A: Tensor) -> str:
    """Return the fastest way for a tensor."""
    if u.dtype == torch.float64:
        return "torch"
    if u.device.type == "cpu":
        return "numba"
    if u.device.type == "cuda":
        if find_spec("mamba_ssm") is not None and A.shape[1] <= 256:
            return "mamba_ssm"
        if find_spec("triton") is not None:
            return "triton"
    return "torch"


def _ways(name: str, u: Tensor) -> Callable[..., Tensor]:
    """Return the function of a backend.

    Raises:
        BaselinesError: If it does not compute such tensors.
        StackError: If it is not installed.
    """
    if name == "reference":
        from rbox_baselines._scan import _reference

        return _reference.scan
    if name == "torch":
        from rbox_baselines._scan import _two_level

        return _two_level.Scan.apply
    if u.dtype == torch.float64:
        raise BaselinesError(f"expected float32, bfloat16 or float16 for backend={name!r}, got float64: use 'torch'")
    if name == "numba":
        if u.device.type != "cpu":
            raise BaselinesError(f"expected tensors on the CPU for backend='numba', got one on {u.device}")
        from rbox_baselines._scan import _numba

        return _numba.Scan.apply
    try:
        module: Any = import_module({"triton": "rbox_baselines._scan._triton"}.get(name, "rbox_baselines._scan._mamba"))
    except ModuleNotFoundError as error:
        remedy = {"triton": "pip install triton", "mamba_ssm": "pip install mamba-ssm, which compiles for CUDA"}[name]
        raise StackError(f"expected {error.name} for backend={name!r}, found none", remedy=remedy) from error
    if u.device.type != "cuda" and not module.INTERPRETED:
        raise BaselinesError(f"expected tensors on a GPU for backend={name!r}, got one on {u.device}")
    return module.scan


def _check(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None) -> None:
    """Check shapes, dtypes and devices.

    Raises:
        BaselinesError: If one does not fit.
    """
    if u.ndim != 3 or A.ndim != 2:
        raise BaselinesError(
            f"expected u (batch, tokens, channels) and A (channels, states), got {tuple(u.shape)} and {tuple(A.shape)}"
        )
    (batch, tokens, channels), states = u.shape, A.shape[1]
    expected = {"delta": (delta, (batch, tokens, channels)), "A": (A, (channels, states))}
    expected |= {name: (each, (batch, tokens, states)) for name, each in (("B", B), ("C", C))}
    expected |= {} if D is None else {"D": (D, (channels,))}
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise BaselinesError(f"expected {name} of shape {shape}, as u and A have it, got {tuple(tensor.shape)}")
        if tensor.device != u.device:
            raise BaselinesError(f"expected {name} on {u.device}, as u is, got it on {tensor.device}")
    for name, tensor in (("u", u), *((name, each) for name, (each, _) in expected.items())):
        if not tensor.is_floating_point():
            raise BaselinesError(f"expected {name} of floats, got {tensor.dtype}")
