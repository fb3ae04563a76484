"""Sizes that can be set before a model is trained: of its images, and of its texts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lmm_detector.errors import ModelError

if TYPE_CHECKING:
    import torch


def require_multiple(side: int, of: int) -> None:
    """Make sure that a side is a multiple, from one on, of a number of pixels.

    Raises:
        ModelError: If it is not; it names the nearest ones.
    """
    if side > 0 and side % of == 0:
        return
    low = max(1, side // of) * of
    raise ModelError(
        f"expected an image size in multiples of {of} px, which the model is made of, got {side}",
        remedy=f"Take {low} or {low + of}.",
    )


def require_side(side: int, known: int, remedy: str) -> None:
    """Make sure that a side is the one that a model's positions were learnt for.

    Raises:
        ModelError: If it is not.
    """
    if side != known:
        raise ModelError(f"expected images of {known} px, which this model is made for, got {side}", remedy=remedy)


def set_square(image_processor: Any, side: int) -> None:
    """Make an image processor resize to a square."""
    size = {"height": side, "width": side}
    image_processor.size = _like(image_processor.size, size)
    if getattr(image_processor, "crop_size", None) is not None:
        image_processor.crop_size = _like(image_processor.crop_size, size)


def set_pixels(image_processor: Any, least: int, most: int) -> None:
    """Make an image processor of Qwen-VL scale images with fewer or more pixels than that."""
    image_processor.size = _like(image_processor.size, {"shortest_edge": least, "longest_edge": most})


def set_longest_edge(image_processor: Any, side: int) -> None:
    """Make an image processor of Idefics3 bring the longer side of images to that many pixels."""
    image_processor.size = _like(image_processor.size, {"longest_edge": side})


def _like(old: Any, size: dict[str, int]) -> Any:
    """Return a size in the type that the image processor holds."""
    return type(old)(**size)


def interpolate(table: Any, rows: int) -> None:
    """Stretch a table of embeddings (an `nn.Embedding`) along its positions, its ends staying its ends.

    Linearly, as LMMRotate stretches Florence-2's rows and columns (`lmmrotate/trainer.py` of VisionXLab/mllm-mmrotate
    at 9475a93, `resize_positional_embeddings`).
    """
    from torch.nn.functional import interpolate

    old = table.weight.detach()
    # In float32: the CPU interpolates no half precision in old versions of torch.
    new = interpolate(old.float().t()[None], size=rows, mode="linear", align_corners=True)[0].t()
    _replace(table, new.to(old.dtype))


def resize_positions(table: Any, count: int, offset: int) -> None:
    """Give a table of learned text positions (an `nn.Embedding`) more of them, or fewer.

    The old rows stay unchanged. New ones repeat them from the first position on, as LED was made from BART (Beltagy
    et al., arXiv 2004.05150, sections 5 and 7): distances within a text, which attention uses, keep their meaning
    except at the seams. LMMRotate draws them from a normal distribution instead, in which neighbours have nothing in
    common, and leaves the old rows out of training; here all rows train. Repeated rows are the same wherever they are
    made, so that adapters find their base again.

    Args:
        table: The table. Its first `offset` rows belong to no position.
        count: How many positions it is to have.
        offset: How many rows come before the first position; 2 in BART.
    """
    import torch

    old = table.weight.detach()
    positions = old[offset:]
    repeats = math.ceil(count / len(positions))
    _replace(table, torch.cat([old[:offset], positions.repeat(repeats, 1)[:count]]))


def _replace(table: Any, rows: torch.Tensor) -> None:
    """Put other rows into a table; whether they are trained stays."""
    from torch.nn import Parameter

    table.weight = Parameter(rows.clone().contiguous(), requires_grad=table.weight.requires_grad)
    table.num_embeddings = len(rows)


def in_a_square(places: torch.Tensor) -> torch.Tensor:
    """Arrange places row by row (B, n * n, width) in a square (B, n, n, width)."""
    side = math.isqrt(places.shape[1])
    return places.unflatten(1, (side, side))
