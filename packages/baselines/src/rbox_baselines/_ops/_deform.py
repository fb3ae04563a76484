"""Deformable convolution: plain (DCN) and modulated (DCNv2).

Dai et al., "Deformable Convolutional Networks", ICCV 2017, equation 2; Zhu et al., "Deformable ConvNets v2", CVPR 2019,
equation 1. Every kernel position of every output pixel reads one sample of the input, moved by its offset; the samples
as columns, times the weights, are the output. An image is taken at a time, as its columns take nine times its room.
Offsets are (N, 2 * G * kh * kw, H', W') for G groups of input channels, of each position first y and then x, in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from rbox_baselines._ops._check import expect, expect_features, working
from rbox_baselines._ops._sampling import as_rows, padded_taps, sum_bags


@dataclass(frozen=True)
class Shape:
    """The geometry of a convolution: each value as (down, across), except the two numbers of groups.

    Attributes:
        kernel: Positions.
        stride: Pixels from one output to the next.
        padding: Zeros around the input.
        dilation: Pixels from one position to the next.
        groups: Number of groups of input and output channels that belong together.
        offset_groups: Number of groups of input channels that share offsets.
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    offset_groups: int

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the output's height and width, for an input of that size."""
        down, across = (
            (size + 2 * self.padding[d] - self.dilation[d] * (self.kernel[d] - 1) - 1) // self.stride[d] + 1
            for d, size in enumerate((height, width))
        )
        return down, across


def _columns(image: Tensor, offset: Tensor, mask: Tensor | None, shape: Shape) -> Tensor:
    """Sample one image (C, H, W): return (P, G, K, C / G) for P output pixels and K positions of the kernel."""
    channels, height, width = image.shape
    down, across = offset.shape[-2:]
    kernel_h, kernel_w = shape.kernel
    groups, positions = shape.offset_groups, kernel_h * kernel_w
    # (P, G, K) places of the samples.
    moved = offset.reshape(groups, positions, 2, down * across).permute(3, 0, 1, 2)
    pixel, position = (torch.arange(count, device=image.device) for count in (down * across, positions))
    start_y = (pixel // across * shape.stride[0] - shape.padding[0])[:, None]
    start_x = (pixel % across * shape.stride[1] - shape.padding[1])[:, None]
    regular_y = start_y + position // kernel_w * shape.dilation[0]
    regular_x = start_x + position % kernel_w * shape.dilation[1]
    pixels, weights = padded_taps(regular_y[:, None] + moved[..., 0], regular_x[:, None] + moved[..., 1], height, width)
    if mask is not None:
        weights = weights * mask.reshape(groups, positions, down * across).permute(2, 0, 1)[..., None]
    # Each group's channels of a pixel are a row of their own.
    rows = as_rows(image[None]).reshape(height * width * groups, channels // groups)
    group = torch.arange(groups, device=image.device, dtype=pixels.dtype)[:, None, None]
    index = pixels * groups + group
    columns = sum_bags(rows, index.reshape(-1, 4), weights.reshape(-1, 4))
    return columns.view(down * across, groups, positions, channels // groups)


def _by_channel(columns: Tensor, groups: int) -> Tensor:
    """Return columns as (groups, P, C / groups * K), in the order of the weights."""
    pixels = columns.shape[0]
    return columns.permute(0, 1, 3, 2).reshape(pixels, groups, -1).transpose(0, 1)


def _weights(weight: Tensor, groups: int) -> Tensor:
    """Return weights (O, C / groups, kh, kw) as (groups, C / groups * K, O / groups)."""
    return weight.reshape(groups, weight.shape[0] // groups, -1).transpose(1, 2)


def _flat_weights(weight: Tensor, offset_groups: int) -> Tensor:
    """Return weights (O, C, kh, kw) as (C * K, O), in the order of the columns: by group, position, channel."""
    outputs, channels = weight.shape[:2]
    split = weight.reshape(outputs, offset_groups, channels // offset_groups, -1)
    return split.permute(1, 3, 2, 0).reshape(-1, outputs)


def _convolve(columns: Tensor, weight: Tensor, shape: Shape) -> Tensor:
    """Multiply columns by weights: (P, O)."""
    if shape.groups == 1:
        return columns.view(len(columns), -1) @ _flat_weights(weight, shape.offset_groups)
    found = torch.bmm(_by_channel(columns, shape.groups), _weights(weight, shape.groups))
    return found.transpose(0, 1).reshape(len(columns), -1)


def _forward(
    features: Tensor, weight: Tensor, bias: Tensor | None, offset: Tensor, mask: Tensor | None, shape: Shape
) -> Tensor:
    down, across = offset.shape[2:]
    images = []
    for k, image in enumerate(features):
        columns = _columns(image, offset[k], None if mask is None else mask[k], shape)
        found = _convolve(columns, weight, shape)
        images.append((found if bias is None else found + bias).t().reshape(-1, down, across))
    return torch.stack(images) if images else features.new_zeros((0, len(weight), down, across))


def _backward(
    features: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    grad: Tensor,
    shape: Shape,
    wanted: tuple[str, ...],
) -> dict[str, Tensor]:
    """Return the gradients that are wanted, by autograd of each image's columns: of input, offset, mask, weight."""
    totals = {"input": torch.zeros_like(features), "offset": torch.zeros_like(offset)}
    totals |= {"weight": torch.zeros_like(weight), "mask": torch.zeros_like(offset if mask is None else mask)}
    for k in range(len(features)):
        with torch.enable_grad():
            leaves = {"input": features[k], "offset": offset[k], "weight": weight}
            if mask is not None:
                leaves["mask"] = mask[k]
            leaves = {name: leaf.detach().requires_grad_(name in wanted) for name, leaf in leaves.items()}
            columns = _columns(leaves["input"], leaves["offset"], leaves.get("mask"), shape)
            found = _convolve(columns, leaves["weight"], shape)
        names = [name for name in wanted if name in leaves]
        gradients = torch.autograd.grad(found, [leaves[name] for name in names], grad[k].flatten(1).t())
        for name, gradient in zip(names, gradients, strict=True):
            if name == "weight":
                totals[name] += gradient
            else:
                totals[name][k] = gradient
    return totals


def _checked(
    operator: str, features: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, shape: Shape
) -> tuple[Tensor, ...]:
    """Return features, weights, offsets (and mask), detached; raise OperatorError if their shapes do not fit."""
    expect_features(features, operator)
    fits = features.shape[1] == weight.shape[1] * shape.groups and features.shape[1] % shape.offset_groups == 0
    expected = "as many channels as the weights have, in whole groups"
    got = f"{features.shape[1]}, weights {tuple(weight.shape)}, groups {shape.groups} and {shape.offset_groups}"
    expect(fits and len(weight) % shape.groups == 0, operator, expected, got)
    size = shape.output_size(*features.shape[2:])
    expect(min(size) > 0, operator, "an input of the kernel's reach or more", f"{tuple(features.shape)} for {shape}")
    positions = shape.offset_groups * shape.kernel[0] * shape.kernel[1]
    wanted = (len(features), 2 * positions, *size)
    if mask is None:
        expect(tuple(offset.shape) == wanted, operator, f"offsets of shape {wanted}", tuple(offset.shape))
        return tuple(working(value) for value in (features, weight, offset))
    offset = _read_flat(offset, wanted, operator, "offsets")
    mask = _read_flat(mask, (len(features), positions, *size), operator, "a mask")
    return tuple(working(value) for value in (features, weight, offset, mask))


def _read_flat(values: Tensor, wanted: tuple[int, ...], operator: str, name: str) -> Tensor:
    """Return offsets or a mask (N, ...) as mmcv's kernels read them: of each image the first numbers in memory.

    mmdet's DyHead passes the offsets of a larger level with a smaller one on purpose, and mmcv lets it.
    """
    if tuple(values.shape) == wanted:
        return values
    count = prod(wanted[1:])
    fits = len(values) == wanted[0] and values[0].numel() >= count if len(values) else False
    expect(fits, operator, f"{name} of shape {wanted}, or more numbers for each image", tuple(values.shape))
    return values.flatten(1)[:, :count].reshape(wanted)


def _write_flat(target: Tensor, found: Tensor) -> None:
    """Write gradients to what `_read_flat` read; those to what it did not read are 0."""
    if target.shape == found.shape:
        target.copy_(found)
        return
    flat = found.new_zeros(len(target), target[0].numel())
    flat[:, : found[0].numel()] = found.flatten(1)
    target.copy_(flat.reshape(target.shape))


def deform_conv_forward(
    input: Tensor,  # mmcv's name
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Write the convolution (N, O, H', W') into `output`; `columns`, `ones` and `im2col_step` are scratch to mmcv."""
    shape = Shape((kH, kW), (dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group)
    features, weight, offset = _checked("deform_conv_forward", input, weight, offset, None, shape)
    output.copy_(_forward(features, weight, None, offset, None, shape))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradInput: Tensor,
    gradOffset: Tensor,
    weight: Tensor,
    columns: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Write the gradients to input and offsets, from that to the output."""
    shape = Shape((kH, kW), (dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group)
    features, weight, offset = _checked("deform_conv_backward_input", input, weight, offset, None, shape)
    found = _backward(features, weight, offset, None, working(gradOutput), shape, ("input", "offset"))
    gradInput.copy_(found["input"])
    gradOffset.copy_(found["offset"])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradWeight: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Add the gradient to the weights, times `scale`, to `gradWeight`."""
    shape = Shape((kH, kW), (dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group)
    features, weight, offset = _checked("deform_conv_backward_parameters", input, gradWeight, offset, None, shape)
    found = _backward(features, weight, offset, None, working(gradOutput), shape, ("weight",))
    gradWeight += (found["weight"] * scale).to(gradWeight.dtype)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Compute `deform_conv_forward` with each sample times its number in the mask (N, G * kh * kw, H', W')."""
    walk = ((kernel_h, kernel_w), (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w))
    shape = Shape(*walk, group, deformable_group)
    features, weight, offset, mask = _checked("modulated_deform_conv_forward", input, weight, offset, mask, shape)
    output.copy_(_forward(features, weight, working(bias) if with_bias else None, offset, mask, shape))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Write the gradients to input, weights, bias, offsets and mask."""
    walk = ((kernel_h, kernel_w), (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w))
    shape = Shape(*walk, group, deformable_group)
    features, weight, offset, mask = _checked("modulated_deform_conv_backward", input, weight, offset, mask, shape)
    grad = working(grad_output)
    found = _backward(features, weight, offset, mask, grad, shape, ("input", "offset", "weight", "mask"))
    grad_input.copy_(found["input"])
    grad_weight.copy_(found["weight"])
    _write_flat(grad_offset, found["offset"])
    _write_flat(grad_mask, found["mask"])
    if with_bias:
        grad_bias.copy_(grad.sum(dim=(0, 2, 3)))
