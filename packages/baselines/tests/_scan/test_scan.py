"""Every way of the selective scan against its formula, one token after another, in float64."""

from __future__ import annotations

import os
import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from rbox_baselines import selective_scan
from rbox_baselines.errors import BaselinesError, StackError
from rbox_metrics import _jit
from torch import Tensor
from torch.nn import functional

#: Batch, tokens, channels, states: less than a block of channels and tokens, whole ones, one more.
SHAPES = [(1, 1, 1, 1), (2, 63, 3, 5), (1, 64, 64, 16), (2, 150, 70, 4), (1, 129, 130, 2)]


def inputs(batch: int, tokens: int, channels: int, states: int) -> list[Tensor]:
    """u, delta, A, B, C and D in float64: steps and rates of the size that Mamba begins with, and some far off."""
    generator = torch.Generator().manual_seed(tokens)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    delta = functional.softplus(2 * normal(batch, tokens, channels) - 3)
    rates = -torch.arange(1, states + 1) * torch.exp(normal(channels, states))
    few = (batch, tokens, states)
    return [normal(batch, tokens, channels), delta, rates, normal(*few), normal(*few), normal(channels)]


def scanned(given: list[Tensor], backend: str, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """The outputs, and the gradients of all arguments, for fixed gradients of the outputs."""
    leaves = [each.detach().to(dtype).requires_grad_() for each in given]
    outputs = selective_scan(*leaves, backend=backend)
    weights = torch.cos(torch.arange(outputs.numel(), dtype=torch.float64)).reshape(outputs.shape)
    outputs.backward(weights.to(dtype))
    return [outputs.detach(), *(leaf.grad for leaf in leaves)]


def assert_near(found: list[Tensor], expected: list[Tensor], bound: float) -> None:
    """Each within the bound, relative to the largest of its kind: sums of many tokens cancel."""
    for name, one, other in zip(("y", "u", "delta", "A", "B", "C", "D"), found, expected, strict=True):
        error = (one.double() - other.double()).abs().max()
        assert error <= bound * other.abs().max(), (name, float(error))


@pytest.mark.parametrize("backend", ["numba", "torch"])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_to_1e_5(backend: str, shape: tuple[int, ...]) -> None:
    given = [each.float().double() for each in inputs(*shape)]
    assert_near(scanned(given, backend), scanned(given, "reference", torch.float64), 1e-5)


def test_a_part_of_1024_tokens_hands_its_state_to_the_next() -> None:
    given = [each.float().double() for each in inputs(1, 1060, 3, 2)]
    expected = scanned(given, "reference", torch.float64)
    for backend in ("numba", "torch"):
        assert_near(scanned(given, backend), expected, 1e-5)
    assert_near(scanned(given, "torch", torch.float64), expected, 1e-12)


def test_the_formula_by_numpy() -> None:
    """The reference itself, by a sum over all earlier tokens instead of a recurrence."""
    given = inputs(1, 20, 3, 4)
    u, delta, A, B, C, D = (each.numpy() for each in given)
    times = np.cumsum(delta[0], axis=0)  # (tokens, channels)
    y = np.zeros((20, 3))
    for t in range(20):
        for s in range(t + 1):
            left = np.exp((times[t] - times[s])[:, None] * A)  # (channels, states)
            y[t] += (C[0, t] * left * B[0, s]).sum(1) * delta[0, s] * u[0, s]
    np.testing.assert_allclose(selective_scan(*given)[0].numpy(), y + D * u[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(selective_scan(*given, backend="reference")[0].numpy(), y + D * u[0], rtol=0, atol=1e-12)


def test_gradients_by_differences() -> None:
    given = [each.requires_grad_() for each in inputs(1, 34, 2, 2)]
    assert torch.autograd.gradcheck(lambda *each: selective_scan(*each, backend="torch"), given, fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rounds_what_is_read_and_returned(dtype: torch.dtype) -> None:
    """Each number is that of float32 on the rounded inputs, rounded: within 2^-8 of itself, 2^-11 in float16."""
    given = [each.to(dtype).double() for each in inputs(2, 100, 70, 4)]
    found = scanned(given, "auto", dtype)
    leaves = [each.float().requires_grad_() for each in given]
    outputs = selective_scan(*leaves)
    weights = torch.cos(torch.arange(outputs.numel(), dtype=torch.float64)).reshape(outputs.shape).to(dtype).float()
    outputs.backward(weights)
    for one, other in zip(found, [outputs.detach(), *(leaf.grad for leaf in leaves)], strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one.float(), other, rtol=torch.finfo(dtype).eps / 2, atol=1e-7)


def test_no_autocast_inside() -> None:
    given = [each.float() for each in inputs(1, 30, 4, 2)]
    with torch.autocast("cpu", torch.bfloat16):
        found = [selective_scan(*given, backend=backend) for backend in ("numba", "torch")]
    for each in found:
        torch.testing.assert_close(each, selective_scan(*given, backend="reference"), rtol=1e-5, atol=1e-5)


def test_what_is_long_forgotten_and_what_is_not_a_number() -> None:
    u = torch.tensor([1.0, 2.0, 3.0])[None, :, None]
    ones = torch.ones_like(u)
    # exp(-1000) is 0 in float32, and next to 0 here.
    assert selective_scan(u, ones, torch.tensor([[-1000.0]]), ones, ones)[0, :, 0].tolist() == [1, 2, 3]
    u[0, 1] = float("nan")
    assert selective_scan(u, ones, -torch.ones(1, 1), ones, ones)[0, :, 0].isnan().tolist() == [False, True, True]
    steps = torch.tensor([1.0, float("nan"), 1.0])[None, :, None]
    assert selective_scan(ones, steps, -torch.ones(1, 1), ones, ones)[0, :, 0].isnan().tolist() == [False, True, True]


def test_strided_and_empty() -> None:
    given = inputs(2, 30, 6, 4)
    turned = [each.float().transpose(0, -1).contiguous().transpose(0, -1) for each in given]
    assert_near(scanned(turned, "numba"), scanned(given, "reference", torch.float64), 1e-5)
    for shape in ((0, 4, 3, 2), (2, 0, 3, 2), (2, 4, 0, 2), (2, 4, 3, 0)):
        found = scanned(inputs(*shape), "auto")
        assert found[0].shape == shape[:3]
        assert [each.shape for each in found[1:]] == [each.shape for each in inputs(*shape)]


def test_the_same_by_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    given = inputs(3, 70, 130, 4)
    alone = scanned(given, "numba")
    monkeypatch.setattr(_jit, "_threads", lambda: 4)
    for one, other in zip(alone, scanned(given, "numba"), strict=True):
        assert torch.equal(one, other)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_in_the_child_of_a_process_that_has_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_jit, "_threads", lambda: 4)
    given = inputs(3, 70, 130, 4)
    expected = scanned(given, "numba")[0]
    child = os.fork()
    if not child:
        with torch.no_grad():
            same = torch.equal(selective_scan(*(each.float() for each in given)), expected)
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_what_does_not_fit_is_named() -> None:
    u, delta, A, B, C, D = inputs(1, 4, 3, 2)
    with pytest.raises(BaselinesError, match=r"expected u \(batch, tokens, channels\)"):
        selective_scan(u[0], delta, A, B, C)
    with pytest.raises(BaselinesError, match=r"expected B of shape \(1, 4, 2\), as u and A have it, got \(1, 3, 2\)"):
        selective_scan(u, delta, A, B[:, 1:], C)
    with pytest.raises(BaselinesError, match=r"expected D of shape \(3,\)"):
        selective_scan(u, delta, A, B, C, D[1:])
    with pytest.raises(BaselinesError, match=r"expected A of floats, got torch\.int64"):
        selective_scan(u, delta, A.long(), B, C)
    with pytest.raises(BaselinesError, match="got float64: use 'torch'"):
        selective_scan(u, delta, A, B, C, backend="numba")
    with pytest.raises(BaselinesError, match="expected backend to be one of auto, numba"):
        selective_scan(u, delta, A, B, C, backend="cuda")
    with pytest.raises(BaselinesError, match="expected B on cpu, as u is, got it on meta"):
        selective_scan(u, delta, A, B.to("meta"), C)
    if "mamba_ssm" not in sys.modules:
        with pytest.raises(StackError, match="expected mamba_ssm for backend='mamba_ssm', found none"):
            selective_scan(*(each.float() for each in (u, delta, A, B, C)), backend="mamba_ssm")


def test_mamba_ssm_has_tokens_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module in its stead, with its documented shapes: u (B D L), delta (B D L), A (D N), B (B N L), C (B N L)."""

    def selective_scan_fn(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        state, outputs = 0, []
        for t in range(u.shape[2]):
            kept = torch.einsum("bd,dn->bdn", delta[:, :, t], A).exp()
            state = kept * state + torch.einsum("bd,bn,bd->bdn", delta[:, :, t], B[:, :, t], u[:, :, t])
            outputs.append(torch.einsum("bdn,bn->bd", state, C[:, :, t]))
        return torch.stack(outputs, 2)

    names = ("mamba_ssm", "mamba_ssm.ops", "mamba_ssm.ops.selective_scan_interface")
    for name in names:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules[names[-1]].selective_scan_fn = selective_scan_fn
    monkeypatch.delitem(sys.modules, "rbox_baselines._scan._mamba", raising=False)
    from rbox_baselines._scan import _mamba

    given = [each.float() for each in inputs(2, 30, 5, 3)[:5]]
    expected = selective_scan(*given, backend="reference")
    torch.testing.assert_close(_mamba.scan(*given), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(BaselinesError, match="expected tensors on a GPU for backend='mamba_ssm'"):
        selective_scan(*given, backend="mamba_ssm")
    monkeypatch.delitem(sys.modules, "rbox_baselines._scan._mamba")
