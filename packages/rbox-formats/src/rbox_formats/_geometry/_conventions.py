"""The conventions for a rotated box's angle, and the conversion between any two of them.

Within the package a box is (cx, cy, w, h, angle) in `LE90`; every other convention is converted on input and output.
The four are those of MMRotate's documentation (`docs/en/intro.md` @0120705), which measures the angle in radians and
clockwise on the screen; each is also available in degrees and counter-clockwise:

    convert(boxes, OC.degrees, LE90)
    convert(boxes, LE90, LE135.degrees.counter_clockwise)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, NamedTuple

from array_api_compat import array_namespace

from rbox_formats._geometry._inputs import takes
from rbox_formats.errors import FormatsError
from rbox_formats.typing import Boxes

_QUARTER_TURN = {"rad": math.pi / 2, "deg": 90.0}


@dataclass(frozen=True)
class Convention:
    """How an angle is measured, and which of the equivalent parametrisations of a rectangle is used.

    Exchanging the sides of a rectangle and changing its angle by a quarter turn gives the same rectangle. A convention
    picks one parametrisation: either w is the longer side (the angle has a range of half a turn), or the angle lies in
    a range of a quarter turn (w and h may be in any order).

    >>> from rbox_formats import LE90, OC
    >>> LE90.range
    (-1.5707963267948966, 1.5707963267948966)
    >>> OC.degrees.range, OC.closed, OC.long_side
    ((0.0, 90.0), 'high', False)

    Attributes:
        name: The name that the field uses.
        low: The lower end of the range in degrees, also where the unit is radians.
        closed: The end that belongs to the range.
        long_side: Whether w >= h. Squares, which have no longer side, then have their angle in [-45, 45) degrees.
        unit: The unit of the angle, "rad" or "deg".
        clockwise: Whether a positive angle turns clockwise on the screen (x to the right, y down): from the x axis
            towards the y axis.
    """

    name: str
    low: float
    closed: Literal["low", "high"]
    long_side: bool
    unit: Literal["rad", "deg"] = "rad"
    clockwise: bool = True

    @property
    def range(self) -> tuple[float, float]:
        """The ends of the range in the convention's unit; `closed` says which of them belongs to it."""
        quarter = _QUARTER_TURN[self.unit]
        low = self.low / 90 * quarter
        return low, low + quarter * (2 if self.long_side else 1)

    @property
    def degrees(self) -> Convention:
        """The same convention with the angle in degrees."""
        return replace(self, unit="deg")

    @property
    def counter_clockwise(self) -> Convention:
        """The same range with the angle measured counter-clockwise on the screen."""
        return replace(self, clockwise=False)


LE90 = Convention("le90", low=-90, closed="low", long_side=True)
"""The long side's angle in [-90, 90) degrees, w >= h: this package's own convention. No version of OpenCV uses it."""

LE135 = Convention("le135", low=-45, closed="low", long_side=True)
"""The long side's angle in [-45, 135) degrees, w >= h. No version of OpenCV uses it."""

OC = Convention("oc", low=0, closed="high", long_side=False)
"""(0, 90] degrees: the result of `cv2.minAreaRect` in OpenCV 4.5.1 to 4.12, and from 3.4.13 on in the 3.4 series.

MMRotate calls it D_oc'. For flat quads those versions may return angles outside of the range (-90, 180).
"""

OC_OLD = Convention("oc_old", low=-90, closed="low", long_side=False)
"""[-90, 0) degrees: the result of `cv2.minAreaRect` before OpenCV 4.5.1, and again from 4.13 on, including 5.0.

MMRotate calls it D_oc. OpenCV returned to it with pull request 28051.
"""

CONVENTIONS = {convention.name: convention for convention in (LE90, LE135, OC, OC_OLD)}
"""The four by name: radians, clockwise."""


@takes("boxes")
def convert(boxes: Boxes, source: Convention | str, target: Convention | str) -> Boxes:
    """Convert boxes from one angle convention to another.

    >>> import math
    >>> from rbox_formats import LE90, OC, convert
    >>> box = convert([[50, 40, 30, 10, math.radians(-30)]], LE90, OC.degrees)
    >>> box.round(6).tolist()
    [[50.0, 40.0, 10.0, 30.0, 60.0]]

    Args:
        boxes: (..., 5) as (cx, cy, w, h, angle), the angle in the source's unit and direction. Any finite angle and any
            order of sides is accepted, also outside of the source's range.
        source: The convention of the boxes, or its name in `CONVENTIONS`.
        target: The convention of the result, or its name in `CONVENTIONS`.

    Returns:
        (..., 5) in the target's range, which holds exactly in the array's dtype: an angle that would reach the open end
        by rounding is set to the closed end. A box that is in the range already is unchanged. In conventions with
        `long_side`, sides that differ only by rounding (relatively by less than 1e-9 in float64, 2e-5 in float32) count
        as those of a square. A box of size zero counts as a square, and one with h = 0 as a line along its angle.

    Raises:
        FormatsError: If a name is not known, or the boxes are not an array of numbers (..., 5).
    """
    source, target = _named(source), _named(target)
    xp = array_namespace(boxes)
    cx, cy, w, h, angle = (boxes[..., i] for i in range(5))
    factor = _QUARTER_TURN[target.unit] / _QUARTER_TURN[source.unit]
    if source.clockwise != target.clockwise:
        factor = -factor
    if factor != 1:
        angle = angle * factor
    slack = 4 * precision(angle.dtype, xp).eps
    return xp.stack([cx, cy, *in_convention(w, h, angle, target, xp, slack=slack)], axis=-1)


def _named(convention: Convention | str) -> Convention:
    if isinstance(convention, Convention):
        return convention
    if not isinstance(convention, str) or convention not in CONVENTIONS:
        raise FormatsError(f"expected one of the conventions {', '.join(CONVENTIONS)}, got {convention!r}")
    return CONVENTIONS[convention]


class Precision(NamedTuple):
    """The constants of a floating dtype."""

    eps: float
    smallest: float


@cache
def precision(dtype: Any, xp: Any) -> Precision:
    """Return the constants of a floating dtype; asking `finfo` takes longer than turning a hundred boxes."""
    info = xp.finfo(dtype)
    return Precision(float(info.eps), float(info.smallest_normal))


def in_convention(
    w: Any, h: Any, angle: Any, convention: Convention, xp: Any, *, slack: float = 0.0
) -> tuple[Any, Any, Any]:
    """Bring sides and angles (...,) into a convention whose unit and direction they already have.

    An angle that is moved by some distance, and arrives within `slack` times that distance of an end of the range, is
    set to the closed end.
    """
    quarter = _QUARTER_TURN[convention.unit]
    middle = convention.low / 90 * quarter + (quarter if convention.long_side else quarter / 2)
    if not convention.long_side:
        # A range that is closed above is, with the sign reversed, a range that is closed below.
        sign = 1 if convention.closed == "low" else -1
        periods = xp.zeros_like(angle) + quarter
        angle, turns, at_high = _folded(sign * angle, sign * middle, periods, slack, xp)
        odd = (xp.remainder(turns, 2) == 1) != at_high
        return xp.where(odd, h, w), xp.where(odd, w, h), sign * angle
    # Sums of products with 0 and 1 instead of `where`: several times faster in numpy.
    angle = angle + xp.astype(h > w, angle.dtype) * quarter
    long, short = xp.maximum(w, h), xp.minimum(w, h)
    is_square = xp.astype(short >= long * (1 - math.sqrt(precision(angle.dtype, xp).eps) / 16), angle.dtype)
    periods = 2 * quarter - is_square * quarter
    middles = middle - is_square * middle if middle else 0.0
    return long, short, _folded(angle, middles, periods, slack, xp)[0]


def _folded(angle: Any, middle: Any, period: Any, slack: float, xp: Any) -> tuple[Any, Any, Any]:
    """Return the angle in [middle - period / 2, middle + period / 2) and the number of periods subtracted.

    The third value marks angles from which one more period was subtracted, since they reached the upper end. An angle
    that is in the range already is unchanged, to the last bit.
    """
    turns = xp.round((angle - middle) / period)  # a half is rounded to even, so that both ends give zero
    folded = angle - turns * period
    low = middle - period / 2
    high = low + period
    if slack:
        hair = xp.abs(turns) * (period * slack)
        folded = xp.where(folded < low + hair, low, folded)
        high = high - hair
    at_high = folded >= high
    return xp.maximum(xp.where(at_high, low, folded), low), turns, at_high
