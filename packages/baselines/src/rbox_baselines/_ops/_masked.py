"""A convolution that is computed at some pixels only: its columns, and its outputs back in their places."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from rbox_baselines._ops._check import expect


def masked_im2col_forward(
    im: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    col: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """Write the windows about some pixels into `col`, (C * kernel_h * kernel_w, K); zeros surround the image.

    Args:
        im: (1, C, H, W).
        mask_h_idx: (K,) rows of outputs, whose stride is 1.
        mask_w_idx: (K,) columns of outputs.
        col: Written.
        kernel_h: Height of a window.
        kernel_w: Width of a window.
        pad_h: Rows of zeros above and below the image.
        pad_w: Columns of zeros at its left and right.
    """
    expect(im.ndim == 4 and len(im) == 1, "masked_im2col_forward", "one image (1, C, H, W)", tuple(im.shape))
    # Windows that reach beyond the far borders read zeros there, too.
    padded = functional.pad(im.detach()[0], (pad_w, pad_w + kernel_w - 1, pad_h, pad_h + kernel_h - 1))
    rows, columns = mask_h_idx.long(), mask_w_idx.long()
    taken = [padded[:, rows + i, columns + j] for i in range(kernel_h) for j in range(kernel_w)]
    for position, values in enumerate(taken):  # by channel, then by position
        col[position :: len(taken)] = values.to(col.dtype)


def masked_col2im_forward(
    col: Tensor, mask_h_idx: Tensor, mask_w_idx: Tensor, im: Tensor, height: int, width: int, channels: int
) -> None:
    """Write outputs (C, K) into their pixels of `im`, (1, C, height, width); other pixels are not changed.

    Args:
        col: The outputs.
        mask_h_idx: (K,) rows of the outputs.
        mask_w_idx: (K,) columns of the outputs.
        im: (1, C, height, width), written to.
        height: Height of `im`.
        width: Width of `im`.
        channels: Channels of `im`.
    """
    wanted = (channels, height, width)
    fits = tuple(im.shape[1:]) == wanted
    expect(fits, "masked_col2im_forward", f"an image of shape {(1, *wanted)}", tuple(im.shape))
    rows, columns = mask_h_idx.long(), mask_w_idx.long()
    inside = (rows < height) & (columns < width)  # a mask as large as the input has places that the output has not
    im[0, :, rows[inside], columns[inside]] = col.detach()[:, inside].to(im.dtype)
