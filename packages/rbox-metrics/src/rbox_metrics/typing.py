"""Names of choices, and of shapes and types of arrays.

As in rbox_formats, only type checkers load jaxtyping, and tests, which set `RBOX_CHECK_SHAPES`. Functions check
themselves what users pass in, and name the wrong element.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal

__all__ = [
    "Backend",
    "Binning",
    "Bounds",
    "BoxesM",
    "BoxesN",
    "BoxesT",
    "CountsLL",
    "FlagsN",
    "FlagsT",
    "FloatsC",
    "FloatsEdges",
    "FloatsG",
    "FloatsK",
    "FloatsKindsC",
    "FloatsM",
    "FloatsN",
    "FloatsR",
    "FloatsS",
    "FloatsSC",
    "FloatsT",
    "Geometry",
    "IntsC",
    "IntsG",
    "IntsK",
    "IntsKindsC",
    "IntsM",
    "IntsN",
    "IntsSC",
    "IntsT",
    "Mode",
    "OutcomesN",
    "OutcomesSN",
    "ProtocolName",
    "QuadsM",
    "QuadsN",
    "QuadsT",
    "SharesLL",
    "WindowsM",
]

ProtocolName = Literal["voc07", "voc", "dota", "coco", "fair1m"]
Geometry = Literal["rbox", "quad", "mask", "boundary"]
Backend = Literal["auto", "reference", "numba", "triton"]
Mode = Literal["iou", "iof"]
Binning = Literal["width", "mass"]

if TYPE_CHECKING or "RBOX_CHECK_SHAPES" in os.environ:
    import numpy as np
    from jaxtyping import Bool, Float, Int, Int8

    # n detections or just boxes, t truths, c classes, g groups, k pairs, s settings such as thresholds, r recalls,
    # m windows or other boxes.
    BoxesN = Float[np.ndarray, "n 5"]
    QuadsN = Float[np.ndarray, "n 4 2"]
    IntsN = Int[np.ndarray, "n"]
    FloatsN = Float[np.ndarray, "n"]
    FlagsN = Bool[np.ndarray, "n"]
    OutcomesN = Int8[np.ndarray, "n"]
    FloatsM = Float[np.ndarray, "m"]
    IntsM = Int[np.ndarray, "m"]
    BoxesM = Float[np.ndarray, "m 5"]
    QuadsM = Float[np.ndarray, "m 4 2"]
    BoxesT = Float[np.ndarray, "t 5"]
    IntsT = Int[np.ndarray, "t"]
    FlagsT = Bool[np.ndarray, "t"]
    IntsC = Int[np.ndarray, "c"]
    FloatsC = Float[np.ndarray, "c"]
    IntsG = Int[np.ndarray, "g"]
    WindowsM = Float[np.ndarray, "m 4"]
    Bounds = Int[np.ndarray, "_"]  # where runs begin, and where the last ends
    FloatsK = Float[np.ndarray, "k"]
    IntsK = Int[np.ndarray, "k"]
    FloatsG = Float[np.ndarray, "g"]
    FloatsEdges = Float[np.ndarray, "g+1"]
    FloatsS = Float[np.ndarray, "s"]
    FloatsT = Float[np.ndarray, "t"]
    OutcomesSN = Int8[np.ndarray, "s n"]
    FloatsSC = Float[np.ndarray, "s c"]
    IntsSC = Int[np.ndarray, "s c"]
    FloatsR = Float[np.ndarray, "r"]
    QuadsT = Float[np.ndarray, "t 4 2"]
    CountsLL = Int[np.ndarray, "l l"]  # classes and the background
    SharesLL = Float[np.ndarray, "l l"]
    FloatsKindsC = Float[np.ndarray, "_ c"]
    IntsKindsC = Int[np.ndarray, "_ c"]
else:

    def __getattr__(name: str) -> Any:
        """Return `Any` for the name of any shape, while the program runs."""
        if name.startswith("_"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return Any
