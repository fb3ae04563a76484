"""Names for the shapes and dtypes of the arrays that the package passes around.

jaxtyping takes longer to import than the rest of the package, so only type checkers load it, and the tests, which set
`RBOX_CHECK_SHAPES` to have every annotated call checked as it runs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

__all__ = [
    "AnyBoxes",
    "AnyQuads",
    "AnyValues",
    "Boxes",
    "BoxesN",
    "BoxesOrQuads",
    "BoxesOrQuadsN",
    "Flags",
    "FlagsN",
    "HBoxes",
    "HBoxesN",
    "Image",
    "LabelsN",
    "NumberSpansN",
    "NumbersN",
    "Quads",
    "QuadsN",
    "ScoresN",
    "SpansN",
    "Values",
    "Windows",
]

if TYPE_CHECKING or "RBOX_CHECK_SHAPES" in os.environ:
    import numpy as np
    from jaxtyping import Bool, Float, Int, Shaped

    # `Any` stands for numpy arrays and torch tensors.
    Boxes = Float[Any, "*n 5"]
    HBoxes = Float[Any, "*n 4"]
    Quads = Float[Any, "*n 4 2"]
    Values = Float[Any, "*n"]
    Flags = Bool[Any, "*n"]
    BoxesOrQuads = Float[Any, "*n 5"] | Float[Any, "*n 4 2"]
    # Of leading shapes that broadcast.
    AnyBoxes = Float[Any, "... 5"]
    AnyQuads = Float[Any, "... 4 2"]
    AnyValues = Float[Any, "..."]
    Windows = Any  # (..., 4), or four numbers: checked where they are taken
    # Flat arrays of one image.
    BoxesN = Float[np.ndarray, "n 5"]
    QuadsN = Float[np.ndarray, "n 4 2"]
    BoxesOrQuadsN = Float[np.ndarray, "n 5"] | Float[np.ndarray, "n 4 2"]
    LabelsN = Int[np.ndarray, "n"]
    FlagsN = Bool[np.ndarray, "n"]
    ScoresN = Float[np.ndarray, "n"]
    HBoxesN = Float[np.ndarray, "n 4"]
    NumbersN = Float[np.ndarray, "n k"]
    SpansN = Int[np.ndarray, "n 2"]
    NumberSpansN = Int[np.ndarray, "n k 2"]
    Image = Shaped[np.ndarray, "_height _width 3"]
else:

    def __getattr__(name: str) -> Any:
        """Return `Any` for every name of a shape while the program runs."""
        if name.startswith("_"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return Any
