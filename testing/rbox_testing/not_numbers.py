"""Arrays that are none of plain numbers, each made of one that is: what every public function refuses by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def _structured(values: np.ndarray) -> np.ndarray:
    found = np.zeros(values.shape, dtype=[("value", "f8")])
    found["value"] = values
    return found


#: By what they are.
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
