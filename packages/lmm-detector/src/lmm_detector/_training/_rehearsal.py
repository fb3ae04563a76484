"""What memory a step takes, measured on one that changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

logger = logging.getLogger("lmm_detector")

_GIB = 2**30


class Device:
    """The GPU's memory, in bytes."""

    @property
    def numbers(self) -> list[int]:
        """The GPUs that draw random numbers."""
        return [torch.cuda.current_device()]

    def begin(self) -> None:
        """Begin to measure."""
        torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int:
        """Return the most that has been taken since then."""
        return torch.cuda.max_memory_allocated()

    def whole(self) -> int:
        """Return what there is."""
        return torch.cuda.mem_get_info()[1]


def longest(texts: Sequence[str], count: int) -> list[int]:
    """Return the numbers of the longest texts, the longest first, of equals the first."""
    found: list[int] = np.argsort([-len(text) for text in texts], kind="stable")[:count].tolist()
    return found


def rehearsed(
    model: Any, loss: Callable[[], torch.Tensor], windows: int, moments: int, half: torch.dtype | None, device: Device
) -> str:
    """Say what memory a step takes, after one that changes nothing; warn if it is more than there is.

    Args:
        model: What is trained, on the device.
        loss: Computes the loss of the windows that take most.
        windows: How many they are.
        moments: What the optimiser holds of each trained number, in bytes.
        half: What is computed in, where it is half precision.
        device: Whose memory.

    Raises:
        RuntimeError: If there is too little.
    """
    with (
        torch.random.fork_rng(device.numbers),
        torch.autocast(model.device.type, half, enabled=half is not None),
    ):
        model.train()
        device.begin()
        loss().backward()
        peak, whole = device.peak(), device.whole()
    model.zero_grad(set_to_none=True)
    held = moments * sum(each.numel() for each in model.parameters() if each.requires_grad)
    needed = peak + held
    if needed > whole:
        logger.warning(
            "a step is likely to need more memory than there is: %.1f of %.1f GiB", needed / _GIB, whole / _GIB
        )
    return (
        f"memory: {needed / _GIB:.1f} of {whole / _GIB:.1f} GiB for a step, {held / _GIB:.1f} of them for the "
        f"optimiser, measured on the {windows} windows with the longest texts"
    )
