"""CARAFE: a map made larger, each new pixel a weighted sum of the old ones around it.

Wang et al., "CARAFE: Content-Aware ReAssembly of FEatures", ICCV 2019, equation 3. Weights are (N, G * k * k, s * H,
s * W) for G groups of channels, a window of k x k pixels, and a map that gets s times as large; zeros surround the map.
The k * k positions of the window are taken one after the other, so that memory is that of the result.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

from rbox_baselines._ops._check import expect, expect_features, working


def carafe_naive_forward(
    features: Tensor, masks: Tensor, output: Tensor, kernel_size: int, group_size: int, scale_factor: int
) -> None:
    """Write the larger map (N, C, s * H, s * W) into `output`.

    Args:
        features: (N, C, H, W).
        masks: The weights.
        output: Written.
        kernel_size: k, odd.
        group_size: G.
        scale_factor: s.
    """
    _check(features, masks, kernel_size, group_size, scale_factor, "carafe_naive_forward")
    found = torch.zeros(output.shape, dtype=working(features).dtype, device=features.device)
    by_group = _in_groups(working(masks), group_size)
    for position, moved in _windows(working(features), kernel_size):
        found += _larger(moved, scale_factor) * _weights(by_group, position, found.shape)
    output.copy_(found)


def carafe_naive_backward(
    top_grad: Tensor,
    features: Tensor,
    masks: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Write the gradients to the features and to the weights, from that to the larger map."""
    _check(features, masks, kernel_size, group_size, scale_factor, "carafe_naive_backward")
    grad, by_group = working(top_grad), _in_groups(working(masks), group_size)
    count, channels, height, width = features.shape
    reach = (kernel_size - 1) // 2
    padded = grad.new_zeros((count, channels, height + 2 * reach, width + 2 * reach))
    to_masks = torch.zeros_like(by_group)
    grouped = (count, group_size, channels // group_size, *grad.shape[2:])
    for position, moved in _windows(working(features), kernel_size):
        row, column = divmod(position, kernel_size)
        weighted = grad * _weights(by_group, position, grad.shape)
        # What the s * s new pixels of an old one pass back to it.
        passed = functional.avg_pool2d(weighted, scale_factor, divisor_override=1)
        padded[:, :, row : row + height, column : column + width] += passed
        to_masks[:, :, position] = (grad * _larger(moved, scale_factor)).view(grouped).sum(dim=2)
    bottom_grad.copy_(padded[:, :, reach : reach + height, reach : reach + width])
    mask_grad.copy_(to_masks.flatten(1, 2))


def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Compute `carafe_naive_forward`; `rfeatures` keeps the features for the gradients, the rest is scratch to mmcv."""
    rfeatures.copy_(features)
    carafe_naive_forward(features, masks, output, kernel_size, group_size, scale_factor)


def carafe_backward(
    top_grad: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rtop_grad: Tensor,
    rbottom_grad_hs: Tensor,
    rbottom_grad: Tensor,
    rmask_grad: Tensor,
    bottom_grad: Tensor,
    mask_grad: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Compute `carafe_naive_backward` from the features that `carafe_forward` kept."""
    carafe_naive_backward(top_grad, rfeatures, masks, bottom_grad, mask_grad, kernel_size, group_size, scale_factor)


def _check(features: Tensor, masks: Tensor, kernel: int, groups: int, scale: int, operator: str) -> None:
    expect_features(features, operator)
    expect(
        kernel % 2 == 1 and scale >= 1, operator, "an odd kernel_size and a scale_factor of 1 or more", (kernel, scale)
    )
    expect(features.shape[1] % groups == 0, operator, f"channels in {groups} groups", features.shape[1])
    height, width = (side * scale for side in features.shape[2:])
    wanted = (len(features), groups * kernel * kernel, height, width)
    expect(tuple(masks.shape) == wanted, operator, f"masks of shape {wanted}", tuple(masks.shape))


def _windows(features: Tensor, kernel: int) -> Iterator[tuple[int, Tensor]]:
    """Yield each position of the window, and the map shifted so that each pixel holds its neighbour there."""
    reach = (kernel - 1) // 2
    height, width = features.shape[2:]
    padded = functional.pad(features, (reach,) * 4)
    for position in range(kernel * kernel):
        row, column = divmod(position, kernel)
        yield position, padded[:, :, row : row + height, column : column + width]


def _larger(features: Tensor, scale: int) -> Tensor:
    return features.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)


def _in_groups(masks: Tensor, groups: int) -> Tensor:
    """Return masks as (N, G, k * k, s * H, s * W)."""
    return masks.reshape(len(masks), groups, -1, *masks.shape[2:])


def _weights(by_group: Tensor, position: int, shape: tuple[int, ...] | torch.Size) -> Tensor:
    """Return the weights of a position, for each channel: (N, C, s * H, s * W)."""
    return by_group[:, :, position].repeat_interleave(shape[1] // by_group.shape[1], dim=1)
