"""The processes of a distillation, as torchrun starts them: each learns from its share of every batch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

# The others wait for the first while it evaluates.
_PATIENCE = timedelta(days=7)


@contextmanager
def joined(device: str | None) -> Iterator[str | None]:
    """Meet the other processes, where torchrun has started several; they part at the end of the block.

    Args:
        device: What was asked for; "cuda" is the process's own GPU. None: the best that there is.

    Yields:
        The device; where none was asked for, this process's own among the GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield device
        return
    if device in (None, "cuda") and torch.cuda.is_available():
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    if device is not None and device.startswith("cuda:"):
        torch.cuda.set_device(device)
    dist.init_process_group("gloo" if device in (None, "cpu") else "nccl", timeout=_PATIENCE)
    try:
        yield device
        dist.barrier()  # what the first process writes is there
    finally:
        dist.destroy_process_group()


def place() -> tuple[int, int]:
    """Return this process's number, and how many processes there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def add(tensors: Sequence[Tensor]) -> None:
    """Replace tensors by their sums over all processes."""
    if place()[1] == 1:
        return
    flat = torch.cat([each.reshape(-1) for each in tensors])
    dist.all_reduce(flat)
    for each, total in zip(tensors, flat.split([each.numel() for each in tensors]), strict=True):
        each.copy_(total.view_as(each))
