"""Arrays laid out otherwise, which every public function takes, and those of no plain numbers, which none does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def between(array: np.ndarray) -> np.ndarray:
    """Return every other row and column of a larger array."""
    large = np.full([2 * side for side in array.shape], 77, dtype=array.dtype)
    view = large[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def read_only(array: np.ndarray) -> np.ndarray:
    """Return a copy that cannot be written to."""
    array = array.copy()
    array.flags.writeable = False
    return array


def _structured(values: np.ndarray) -> np.ndarray:
    found = np.zeros(values.shape, dtype=[("value", "f8")])
    found["value"] = values
    return found


#: Each made of plain numbers, by what it is.
NOT_NUMBERS: dict[str, Callable[[np.ndarray], Any]] = {
    "objects": lambda x: x.astype(object),
    "texts": lambda x: x.astype(str),
    "bytes": lambda x: x.astype("S8"),
    "dates": lambda x: x.astype("int64").astype("datetime64[s]"),
    "durations": lambda x: x.astype("int64").astype("timedelta64[s]"),
    "structures": _structured,
    "text": lambda _: "boxes",
    "complex": lambda x: x.astype(complex),
    "complex tensor": lambda x: torch.tensor(x, dtype=torch.complex64),
    "sparse tensor": lambda x: torch.tensor(x).to_sparse(),
    "meta tensor": lambda x: torch.tensor(x, device="meta"),
}
