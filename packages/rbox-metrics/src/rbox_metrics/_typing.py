"""Shapes and kinds of the arrays that the package passes around.

As in rbox_formats, only type checkers load jaxtyping, and the tests, which set `RBOX_CHECK_SHAPES`. What users pass in
is checked by the functions themselves, which name the bad element.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING or "RBOX_CHECK_SHAPES" in os.environ:
    import numpy as np
    from jaxtyping import Bool, Float, Int, Int8

    # n detections or just boxes, t truths, c classes, g groups, m windows or
    # other boxes.
    BoxesN = Float[np.ndarray, "n 5"]
    IntsN = Int[np.ndarray, "n"]
    FloatsN = Float[np.ndarray, "n"]
    FlagsN = Bool[np.ndarray, "n"]
    OutcomesN = Int8[np.ndarray, "n"]
    BoxesM = Float[np.ndarray, "m 5"]
    BoxesT = Float[np.ndarray, "t 5"]
    IntsT = Int[np.ndarray, "t"]
    FlagsT = Bool[np.ndarray, "t"]
    IntsC = Int[np.ndarray, "c"]
    FloatsC = Float[np.ndarray, "c"]
    BoundsC = Int[np.ndarray, "c+1"]
    IntsG = Int[np.ndarray, "g"]
    BoundsG = Int[np.ndarray, "g+1"]
    WindowsM = Float[np.ndarray, "m 4"]
else:
    BoxesN: TypeAlias = Any
    IntsN: TypeAlias = Any
    FloatsN: TypeAlias = Any
    FlagsN: TypeAlias = Any
    OutcomesN: TypeAlias = Any
    BoxesM: TypeAlias = Any
    BoxesT: TypeAlias = Any
    IntsT: TypeAlias = Any
    FlagsT: TypeAlias = Any
    IntsC: TypeAlias = Any
    FloatsC: TypeAlias = Any
    BoundsC: TypeAlias = Any
    IntsG: TypeAlias = Any
    BoundsG: TypeAlias = Any
    WindowsM: TypeAlias = Any
