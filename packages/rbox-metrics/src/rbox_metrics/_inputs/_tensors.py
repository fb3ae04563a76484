"""Torch tensors as inputs: recognised without importing torch, and returned as tensors."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np


def first_tensor(*values: Any) -> Any:
    """Return the first of the values that is a torch tensor, or None."""
    torch = sys.modules.get("torch")
    # If torch is not imported, no value can be a tensor.
    return None if torch is None else next((value for value in values if isinstance(value, torch.Tensor)), None)


def like(result: np.ndarray, *inputs: Any) -> Any:
    """Return an array as a tensor on the device of the first tensor among the inputs; the array if none is a tensor."""
    tensor = first_tensor(*inputs)
    return result if tensor is None else sys.modules["torch"].from_numpy(result).to(tensor.device)
