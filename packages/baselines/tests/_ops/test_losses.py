"""Focal losses and the distance of point sets, which mmcv has on the GPU only: against the papers' formulas."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from rbox_baselines._ops import _losses
from rbox_baselines.errors import OperatorError
from torch import Tensor

CHOICES = [(2.0, 0.25), (0.0, 0.5), (0.5, 0.75), (3.0, 1.0)]


def logits() -> Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)


def sigmoid_by_loops(x: Tensor, target: Tensor, gamma: float, alpha: float, weight: Tensor | None) -> Tensor:
    """Equation 5, one number after the other."""
    rows = []
    for row, own in zip(x, target.tolist(), strict=True):
        for column, logit in enumerate(row):
            p = 1 / (1 + torch.exp(-logit))
            chance, share = (p, alpha) if column == own else (1 - p, 1 - alpha)
            factor = 1.0 if weight is None or not 0 <= own < x.shape[1] else weight[own]
            rows.append(-share * (1 - chance) ** gamma * torch.log(chance) * factor)
    return torch.stack(rows).view_as(x)


def softmax_by_loops(x: Tensor, target: Tensor, gamma: float, alpha: float, weight: Tensor | None) -> Tensor:
    rows = []
    for row, own in zip(x, target.tolist(), strict=True):
        p = torch.exp(row[own]) / torch.exp(row).sum()
        loss = -alpha * (1 - p) ** gamma * torch.log(p) * (1.0 if weight is None else weight[own])
        rows.append(loss if own >= 0 else loss * 0)
    return torch.stack(rows)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("gamma", "alpha"), CHOICES)
def test_sigmoid_focal_loss(ops: ModuleType, gamma: float, alpha: float, weighted: bool) -> None:
    x, target = logits(), torch.tensor([0, 3, 4, 1, -1, 2])
    weight = torch.tensor([0.5, 2, 1, 3], dtype=torch.float64) if weighted else None
    found = ops.sigmoid_focal_loss(x, target, gamma, alpha, weight, "none")
    expected = sigmoid_by_loops(x, target, gamma, alpha, weight)
    torch.testing.assert_close(found, expected)
    ramp = torch.linspace(-1, 2, x.numel(), dtype=torch.float64).view_as(x)
    mine, theirs = (torch.autograd.grad((out * ramp).sum(), x)[0] for out in (found, expected))
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("gamma", "alpha"), CHOICES)
def test_softmax_focal_loss(ops: ModuleType, gamma: float, alpha: float, weighted: bool) -> None:
    x, target = logits(), torch.tensor([0, 3, -1, 1, 1, 2])
    weight = torch.tensor([0.5, 2, 1, 3], dtype=torch.float64) if weighted else None
    found = ops.softmax_focal_loss(x, target, gamma, alpha, weight, "none")
    expected = softmax_by_loops(x, target, gamma, alpha, weight)
    torch.testing.assert_close(found, expected)
    # mmcv cannot take the gradient of "none".
    out = ops.softmax_focal_loss(x, target, gamma, alpha, weight, "sum")
    mine, theirs = (torch.autograd.grad(each, x)[0] for each in (out, expected.sum()))
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_logits_far_out_stay_finite(ops: ModuleType, dtype: torch.dtype) -> None:
    x = torch.tensor([[-200.0, 200], [200, -200]], dtype=dtype, requires_grad=True)
    for name in ("sigmoid_focal_loss", "softmax_focal_loss"):
        out = getattr(ops, name)(x, torch.tensor([0, 0]), 2.0, 0.25, None, "sum")
        (gradient,) = torch.autograd.grad(out, x)
        assert torch.isfinite(out)
        assert torch.isfinite(gradient).all()
    # The loss of a certain error grows by its share of each unit of the logit.
    out = ops.sigmoid_focal_loss(x, torch.tensor([0, 0]), 2.0, 0.25, None, "none")
    assert out[0].tolist() == [50, 150]
    assert out[1].max() < 1e-30


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_of_no_rows_or_classes(ops: ModuleType, shape: tuple[int, int]) -> None:
    x = torch.zeros(shape, requires_grad=True)
    out = ops.sigmoid_focal_loss(x, torch.zeros(shape[0], dtype=torch.long), 2.0, 0.25, None, "sum")
    assert out.item() == 0
    assert torch.autograd.grad(out, x)[0].shape == shape


def test_classes_that_do_not_fit_are_named() -> None:
    wrong = torch.zeros(2, dtype=torch.int32)
    with pytest.raises(OperatorError, match=r"expected \(N, C\) numbers and \(N,\) classes of int64, .* torch.int32"):
        _losses.sigmoid_focal_loss_forward(torch.zeros(2, 3), wrong, torch.empty(0), torch.zeros(2, 3), 2.0, 0.25)


@pytest.mark.parametrize("at_a_time", [1, 2**24])
def test_chamfer_distance(ops: ModuleType, at_a_time: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_losses, "_DISTANCES_AT_A_TIME", at_a_time)
    draw = torch.Generator().manual_seed(0)
    first, second = torch.rand(3, 5, 2, generator=draw), torch.rand(3, 4, 2, generator=draw)
    first.requires_grad_(), second.requires_grad_()
    found = ops.chamfer_distance(first, second)
    table = (first[:, :, None] - second[:, None]).square().sum(dim=-1)
    for dim, distance, index in ((2, found[0], found[2]), (1, found[1], found[3])):
        torch.testing.assert_close(distance, table.amin(dim=dim))
        assert torch.equal(index.long(), table.argmin(dim=dim))
    weights = torch.rand(3, 5, generator=draw), torch.rand(3, 4, generator=draw)
    losses = (
        (found[0] * weights[0]).sum() + (found[1] * weights[1]).sum(),
        (table.amin(dim=2) * weights[0]).sum() + (table.amin(dim=1) * weights[1]).sum(),
    )
    for mine, theirs in zip(*(torch.autograd.grad(loss, [first, second]) for loss in losses), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_chamfer_distance_of_an_empty_set_is_refused(ops: ModuleType) -> None:
    assert [len(part) for part in ops.chamfer_distance(torch.zeros(0, 4, 2), torch.zeros(0, 4, 2))] == [0, 0, 0, 0]
    with pytest.raises(OperatorError, match=r"expected points of shape \(B, N, 2\), N above 0, got \(1, 0, 2\)"):
        ops.chamfer_distance(torch.zeros(1, 4, 2), torch.zeros(1, 0, 2))
