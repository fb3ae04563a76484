"""Deformable attention over feature maps of several sizes.

Zhu et al., "Deformable DETR", ICLR 2021, equation 3: each query reads a few places of each map, and sums what it finds
there by weights of its own. A place is read as PyTorch's `grid_sample` reads it, with zeros around the map.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from rbox_baselines._ops._check import expect, working


def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Return what queries read, (N, Q, M * D).

    Args:
        value: (N, S, M, D): the pixels of all L maps one after the other, in M heads of D channels.
        spatial_shapes: (L, 2) whole numbers, the height and width of each map.
        level_start_index: (L,) unused: where each map begins among the pixels.
        sampling_locations: (N, Q, M, L, P, 2) as (x, y), from 0 at a map's left or upper border to 1 at the other.
        attention_weights: (N, Q, M, L, P).
        im2col_step: Unused: how many images mmcv takes at a time.
    """
    _check(value, spatial_shapes, sampling_locations, attention_weights, "ms_deform_attn_forward")
    found = _attend(working(value), working(sampling_locations), working(attention_weights), spatial_shapes)
    return found.to(value.dtype)


def ms_deform_attn_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Write the gradients to values, places and weights, by autograd of the forward pass."""
    _check(value, spatial_shapes, sampling_locations, attention_weights, "ms_deform_attn_backward")
    leaves = [working(each).requires_grad_() for each in (value, sampling_locations, attention_weights)]
    with torch.enable_grad():
        found = _attend(leaves[0], leaves[1], leaves[2], spatial_shapes)
    gradients = torch.autograd.grad(found, leaves, working(grad_output).reshape(found.shape))
    for target, gradient in zip((grad_value, grad_sampling_loc, grad_attn_weight), gradients, strict=True):
        target.copy_(gradient)


def _check(value: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor, operator: str) -> None:
    expect(value.ndim == 4, operator, "values of shape (N, S, M, D)", tuple(value.shape))
    pixels = int(shapes.prod(dim=1).sum())
    expect(value.shape[1] == pixels, operator, f"the {pixels} pixels of all maps", value.shape[1])
    wanted = (len(value), value.shape[2], len(shapes), 2)
    got = (
        (len(locations), *locations.shape[2:4], locations.shape[-1]) if locations.ndim == 6 else tuple(locations.shape)
    )
    expect(got == wanted, operator, f"places of shape (N, Q, M, L, P, 2) for N, M, L, 2 = {wanted}", got)
    fits = weights.shape == locations.shape[:-1]
    expect(fits, operator, f"weights of shape {tuple(locations.shape[:-1])}", tuple(weights.shape))


def _attend(value: Tensor, locations: Tensor, weights: Tensor, shapes: Tensor) -> Tensor:
    count, _, heads, channels = value.shape
    queries = locations.shape[1]
    sizes = shapes.tolist()
    grids = (2 * locations - 1).transpose(1, 2).flatten(0, 1)  # (N * M, Q, L, P, 2), from -1 to 1
    read = []
    for level, pixels in enumerate(value.split([height * width for height, width in sizes], dim=1)):
        maps = pixels.permute(0, 2, 3, 1).reshape(count * heads, channels, *sizes[level])
        read.append(functional.grid_sample(maps, grids[:, :, level], align_corners=False))
    by_head = weights.transpose(1, 2).reshape(count * heads, 1, queries, -1)
    found = (torch.cat(read, dim=-1) * by_head).sum(dim=-1)  # (N * M, D, Q)
    return found.view(count, heads * channels, queries).transpose(1, 2).contiguous()
