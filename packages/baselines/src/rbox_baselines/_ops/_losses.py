"""Focal losses, and the distance of point sets.

Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 5. mmcv has all of them on the GPU only.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from rbox_baselines._ops._check import expect, working

# Distances from one point set to the other that are looked at in one go.
_DISTANCES_AT_A_TIME = 2**24


def sigmoid_focal_loss_forward(
    input: Tensor,  # mmcv's name
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the loss of each class of each row.

    mmcv holds the logarithm above that of the least float; here it is exact, so that logits beyond 87 still count.

    Args:
        input: (N, C) logits.
        target: (N,) classes; another number is that of no class: background.
        weight: (C,) by the class of the row, 1 for the background (mmcv reads past the end); or empty.
        output: (N, C).
        gamma: How much less what is easy counts.
        alpha: The share of positives.
    """
    own, log_p, log_n = _log_chances(input, target, "sigmoid_focal_loss_forward")
    positive = -alpha * (gamma * log_n).exp() * log_p
    negative = -(1 - alpha) * (gamma * log_p).exp() * log_n
    output.copy_(torch.where(own, positive, negative) * _row_weights(weight, target, input.shape[1], log_p.dtype))


def sigmoid_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the derivative of each number of `sigmoid_focal_loss_forward` by its own logit."""
    own, log_p, log_n = _log_chances(input, target, "sigmoid_focal_loss_backward")
    p, n = log_p.exp(), log_n.exp()
    positive = -alpha * (gamma * log_n).exp() * (n - gamma * p * log_p)
    negative = (1 - alpha) * (gamma * log_p).exp() * (p - gamma * n * log_n)
    grad_input.copy_(torch.where(own, positive, negative) * _row_weights(weight, target, input.shape[1], p.dtype))


def _log_chances(logits: Tensor, target: Tensor, operator: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return whether the class is the row's own, and the logarithms of its chance and of any other's: (N, C) each."""
    _check_targets(logits, target, operator)
    logits = working(logits)
    own = target[:, None] == torch.arange(logits.shape[1], device=logits.device)
    return own, functional.logsigmoid(logits), functional.logsigmoid(-logits)


def softmax_focal_loss_forward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    output: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the loss (N,) of rows of chances (N, C), the softmax of logits; 0 where the class is below 0."""
    own, p = _own_chance(input, target, "softmax_focal_loss_forward")
    loss = -alpha * (1 - p).pow(gamma) * p.log()
    output.copy_(torch.where(own, loss, 0.0) * _row_weights(weight, target, input.shape[1], p.dtype)[:, 0])


def softmax_focal_loss_backward(
    input: Tensor,
    target: Tensor,
    weight: Tensor,
    buff: Tensor,
    grad_input: Tensor,
    gamma: float,
    alpha: float,
) -> None:
    """Write the gradient (N, C) to the logits whose softmax `input` is; `buff` (N,) is scratch to mmcv."""
    own, p = _own_chance(input, target, "softmax_focal_loss_backward")
    rest = (1 - p).clamp(min=torch.finfo(p.dtype).tiny)
    # p times the derivative of the loss by p.
    slope = alpha * (gamma * rest.pow(gamma - 1) * p * p.log() - (1 - p).pow(gamma))
    slope = torch.where(own, slope, 0.0) * _row_weights(weight, target, input.shape[1], p.dtype)[:, 0]
    one_hot = target[:, None] == torch.arange(input.shape[1], device=input.device)
    grad_input.copy_(slope[:, None] * (one_hot.to(p.dtype) - working(input)))


def _own_chance(chances: Tensor, target: Tensor, operator: str) -> tuple[Tensor, Tensor]:
    """Return whether each row has a class, and the chance of that class, always above 0: (N,) each."""
    _check_targets(chances, target, operator)
    values = working(chances)
    own = (target >= 0) & (target < chances.shape[1])
    if chances.shape[1] == 0:
        return own, values.new_ones(len(values))
    picked = values.gather(1, torch.where(own, target, 0)[:, None]).squeeze(1)
    return own, picked.clamp(min=torch.finfo(torch.float32).tiny)


def _row_weights(weight: Tensor, target: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Return each row's weight (N, 1), or (1, 1) of ones where there are no weights."""
    if weight.numel() == 0:
        return torch.ones((1, 1), dtype=dtype, device=target.device)
    known = (target >= 0) & (target < classes)
    return torch.where(known, weight.detach().to(dtype)[torch.where(known, target, 0)], 1.0)[:, None]


def _check_targets(values: Tensor, target: Tensor, operator: str) -> None:
    fits = values.ndim == 2 and target.shape == values.shape[:1] and target.dtype == torch.long
    expected = "(N, C) numbers and (N,) classes of int64"
    expect(fits, operator, expected, f"{tuple(values.shape)} and {tuple(target.shape)} of {target.dtype}")


def chamfer_distance_forward(
    xyz1: Tensor, xyz2: Tensor, dist1: Tensor, dist2: Tensor, idx1: Tensor, idx2: Tensor
) -> None:
    """Write for each point the squared distance to the nearest of the other set, and the index of that.

    Args:
        xyz1: (B, N, 2) points.
        xyz2: (B, M, 2).
        dist1: (B, N).
        dist2: (B, M).
        idx1: (B, N) whole numbers.
        idx2: (B, M).
    """
    for points in (xyz1, xyz2):
        fits = points.ndim == 3 and points.shape[2] == 2 and points.shape[1] > 0
        expect(fits, "chamfer_distance_forward", "points of shape (B, N, 2), N above 0", tuple(points.shape))
    first, second = working(xyz1), working(xyz2)
    step = max(1, _DISTANCES_AT_A_TIME // (first.shape[1] * second.shape[1]))
    for start in range(0, len(first), step):
        part = slice(start, start + step)
        squares = (first[part, :, None] - second[part, None]).square().sum(dim=-1)
        for dim, distance, index in ((2, dist1, idx1), (1, dist2, idx2)):
            found = squares.min(dim=dim)
            distance[part] = found.values.to(distance.dtype)
            index[part] = found.indices.to(index.dtype)


def chamfer_distance_backward(
    xyz1: Tensor,
    xyz2: Tensor,
    idx1: Tensor,
    idx2: Tensor,
    grad_dist1: Tensor,
    grad_dist2: Tensor,
    grad_xyz1: Tensor,
    grad_xyz2: Tensor,
) -> None:
    """Add the gradients to the points to `grad_xyz1` (B, N, 2) and `grad_xyz2` (B, M, 2)."""
    sides = ((xyz1, xyz2, idx1, grad_dist1, grad_xyz1, grad_xyz2), (xyz2, xyz1, idx2, grad_dist2, grad_xyz2, grad_xyz1))
    for points, others, index, grad, to_points, to_others in sides:
        nearest = index.long()[..., None].expand(*index.shape, 2)
        pull = 2 * grad[..., None] * (points - others.gather(1, nearest)).detach()
        to_points += pull.to(to_points.dtype)
        to_others.scatter_add_(1, nearest, -pull.to(to_others.dtype))
