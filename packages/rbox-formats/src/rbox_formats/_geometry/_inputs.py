"""Convert the inputs of the geometry to arrays, by the rules of `rbox_formats.arrays`, in one place."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Collection
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

import numpy as np
from array_api_compat import array_namespace, device, is_array_api_obj, is_numpy_array, to_device

from rbox_formats.arrays import require_dense, to_numpy
from rbox_formats.errors import FormatsError

P = ParamSpec("P")
R = TypeVar("R")

_FLOAT64 = np.dtype(np.float64)
_LAST = {"boxes": (5,), "quads": (4, 2), "hboxes": (4,)}
_LAYOUTS = {"boxes": "(..., 5)", "quads": "(..., 4, 2)", "hboxes": "(..., 4)"}


def takes(*kinds: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function accept, as its first argument, whatever can be boxes, quads or upright boxes.

    Args:
        *kinds: "boxes", "quads" or "hboxes"; several if the function accepts each of them.
    """
    last = tuple(_LAST[kind] for kind in kinds)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        first = next(iter(signature(function).parameters))
        end, axes = last[0], -len(last[0])

        @wraps(function)
        def taking(*args: P.args, **kwargs: P.kwargs) -> R:
            if args:
                given = args[0]  # mostly of the right kind already, which is cheap to check
                if type(given) is np.ndarray and given.dtype is _FLOAT64 and given.shape[axes:] == end:
                    return function(*args, **kwargs)
                return function(_as_shapes(args[0], last, kinds), *args[1:], **kwargs)  # type: ignore[arg-type]
            if first in kwargs:
                kwargs[first] = _as_shapes(kwargs[first], last, kinds)
            return function(*args, **kwargs)

        return taking

    return decorate


def as_shapes(values: Any, *kinds: str) -> Any:
    """Return boxes, quads or upright boxes as an array of floats, of the same library and on the same device.

    Raises:
        FormatsError: If they are not numbers, or of another shape.
    """
    return _as_shapes(values, tuple(_LAST[kind] for kind in kinds), kinds)


def _as_shapes(values: Any, last: Any, kinds: Any) -> Any:
    """Do the work of `as_shapes`, given the last axes of each kind."""
    array = values
    if type(values) is not np.ndarray or values.dtype is not _FLOAT64:
        array = as_floats(values, " or ".join(kinds))
    shape = array.shape
    for end in last:
        if shape[-len(end) :] == end:
            return array
    if len(shape) == 1 and shape[0] == 0:  # an empty list
        return array_namespace(array).reshape(array, (0, *last[0]))
    expected = " or ".join(f"{kind} {_LAYOUTS[kind]}" for kind in kinds)
    raise FormatsError(f"expected {expected}, got an array of shape {tuple(shape)}")


def as_floats(values: Any, name: str) -> Any:
    """Return numbers as an array of float32 or float64, of the same library and on the same device.

    Raises:
        FormatsError: If they are not numbers.
    """
    if not is_array_api_obj(values) or is_numpy_array(values):
        array = to_numpy(values, name)
        return array if array.dtype.kind == "f" else array.astype(np.float64)
    require_dense(values, name)
    xp = array_namespace(values)
    if values.dtype in (xp.float32, xp.float64):
        return values
    if xp.isdtype(values.dtype, ("bool", "integral")):
        return xp.astype(values, xp.float64)
    if xp.isdtype(values.dtype, "real floating"):
        return xp.astype(values, xp.float32)
    raise FormatsError(f"expected {name} as an array of numbers, got {values.dtype}")


def as_windows(windows: Any, like: Any, xp: Any) -> Any:
    """Return windows (..., 4) as an array with the library, dtype and device of another.

    Raises:
        FormatsError: If they are not numbers, or of another shape.
    """
    same = is_array_api_obj(windows) and array_namespace(windows) is xp
    windows = as_floats(windows if same else to_numpy(windows, "windows"), "windows")
    if windows.shape[-1:] != (4,):
        raise FormatsError(f"expected windows (..., 4), got an array of shape {tuple(windows.shape)}")
    if same:
        return to_device(xp.astype(windows, like.dtype, copy=False), device(like))
    # A copy of read-only arrays, about which torch warns, and of negative strides, which torch refuses.
    return xp.asarray(np.require(windows, requirements=["C", "W"]), dtype=like.dtype, device=device(like))


def pair(values: Any, name: str) -> tuple[float, float]:
    """Check and return two finite numbers.

    Raises:
        FormatsError: If they are something else.
    """
    try:
        first, second = values
        return number(first, name), number(second, name)
    except (TypeError, ValueError) as error:
        raise FormatsError(f"expected {name} as two finite numbers, got {values!r}") from error


def number(value: Any, name: str) -> float:
    """Check and return a finite number.

    Raises:
        FormatsError: If it is something else.
    """
    try:
        if not isinstance(value, str | bytes) and math.isfinite(value):
            return value
    except (TypeError, ValueError):
        pass
    raise FormatsError(f"expected {name} as a finite number, got {value!r}")


def whole_number(value: Any, name: str) -> int:
    """Check and return a whole number, as an int.

    Raises:
        FormatsError: If it is something else.
    """
    try:
        return operator.index(value)
    except TypeError as error:
        raise FormatsError(f"expected {name} as a whole number, got {value!r}") from error


def check_choice(value: Any, choices: Collection[str], name: str) -> None:
    """Raise a `FormatsError` that names the choices, unless the value is one of them."""
    if not (isinstance(value, str) and value in choices):
        *first, last = map(repr, choices)
        raise FormatsError(f"expected {name} {', '.join(first)} or {last}, got {value!r}")
