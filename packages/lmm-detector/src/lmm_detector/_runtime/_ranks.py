"""The processes of one run, as torchrun starts them: which there are, what one does for all, what all tell each other.

Without a launcher there is one process, and none of this asks for PyTorch's process groups.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from rbox_formats.errors import quoted, said

from lmm_detector.errors import ModelError

T = TypeVar("T")

# A process waits for the one that has most to do; PyTorch's own limit is 10 minutes on GPUs.
PATIENCE = timedelta(days=7)


def set_up(device: str | None) -> str:
    """Join the other processes, where a launcher has started several and they have not met yet.

    Args:
        device: What the model is to run on. None: the best that there is.

    Returns:
        The device; where None was given, this process's own among the GPUs.
    """
    import torch

    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not torch.distributed.is_initialized():
        from accelerate import PartialState

        state = PartialState(cpu=device == "cpu", timeout=PATIENCE)
        return device or str(state.device)
    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def check_device(device: str | None) -> None:
    """Make sure, before anything is read, that a device is there and has room.

    Args:
        device: As in `set_up`. None under a launcher is not looked at: which it is shows when the processes have met.

    Raises:
        ModelError: If it is not.
    """
    import torch

    if device is None:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            return
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch's own words for one that is not there, or full
        raise ModelError(
            f"expected a device for the model, got {quoted(device)}: {said(error)}",
            remedy="Name another (--device), such as cpu or cuda:0.",
        ) from error


def place() -> tuple[int, int]:
    """Return this process's number, and how many processes there are."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def gathered(mine: T) -> list[T]:
    """Return what each process gives, by their numbers; every process must take part."""
    import torch.distributed as dist

    _, count = place()
    if count == 1:
        return [mine]
    everyones: list[Any] = [None] * count
    dist.all_gather_object(everyones, mine)
    return everyones


def on_main(work: Callable[[], T]) -> T:
    """Do some work in the first process, and return its result, or raise its error, in all of them."""
    import torch.distributed as dist

    rank, count = place()
    if count == 1:
        return work()
    box: list[Any] = [None, None]
    if rank == 0:
        try:
            box[0] = work()
        except Exception as error:  # raised again in every process, so that none waits for the others
            box[1] = error
    dist.broadcast_object_list(box)
    if box[1] is not None:
        raise box[1]
    return box[0]


def leave() -> None:
    """End the processes' group, at the end of a command that has done all its work.

    All leave together: where one is gone while another still closes its connections, that one may be aborted at its
    end, and torchrun takes a run whose work is done for a failed one.
    """
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
