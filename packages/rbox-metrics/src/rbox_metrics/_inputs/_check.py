"""What users pass in, as arrays of the right kind, or an error that names the element."""

from __future__ import annotations

import math
import operator
import warnings
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
from numpy.typing import ArrayLike
from rbox_formats.arrays import require_dense, to_numpy
from rbox_formats.errors import FormatsError

from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import Backend, BoxesN, FlagsN, FloatsN, IntsN, QuadsN, WindowsM

# Boxes from which on loading the compiled check is worth it.
_MANY = 10_000


def check_boxes(boxes: ArrayLike, name: str, where: Callable[[int], str] | None = None) -> BoxesN:
    """Return boxes as a contiguous (N, 5) float64 array.

    Args:
        boxes: (N, 5) as (cx, cy, w, h, angle), or an empty list.
        name: What to call them in an error.
        where: Names one box by its index. None: `name[index]`.

    Raises:
        MetricsError: If the shape is another, a value is not finite, a side is negative or an area beyond float64.
    """
    where = where or (lambda index: f"{name}[{index}]")
    array = as_array(boxes, np.float64, name)
    if array.size == 0 and array.ndim == 1:
        array = array.reshape(0, 5)
    if array.ndim != 2 or array.shape[1] != 5:
        raise MetricsError(f"expected {name} of shape (N, 5) as (cx, cy, w, h, angle), got {array.shape}")
    array = np.ascontiguousarray(array)
    if len(array) >= _MANY:
        from rbox_metrics._inputs import _check_kernels

        # One pass instead of six; what is wrong is found out below.
        if _check_kernels.are_plain(array):
            return array
    bad = _first(~np.isfinite(array))
    if bad is not None:
        raise MetricsError(f"expected finite numbers, got {array[bad].tolist()} at {where(bad)}")
    bad = _first(array[:, 2:4] < 0)
    if bad is not None:
        raise MetricsError(f"expected sides of zero or more, got {array[bad].tolist()} at {where(bad)}")
    with np.errstate(over="ignore"):
        bad = _first(~np.isfinite(array[:, 2] * array[:, 3]))
    if bad is not None:
        raise MetricsError(f"expected an area within float64, got {array[bad].tolist()} at {where(bad)}")
    bad = _first(np.abs(array[:, 4]) > 2 * math.pi)
    if bad is not None:
        warnings.warn(
            f"expected angles in radians, got {array[bad, 4]:g} at {where(bad)}, more than a full turn: "
            "these are probably degrees",
            UserWarning,
            stacklevel=3,
        )
    return array


def check_quads(quads: ArrayLike, name: str, where: Callable[[int], str] | None = None) -> QuadsN:
    """Return quads as a contiguous (N, 4, 2) float64 array; `name` and `where` as in `check_boxes`.

    Raises:
        MetricsError: If the shape is another or a value is not finite.
    """
    where = where or (lambda index: f"{name}[{index}]")
    array = as_array(quads, np.float64, name)
    if array.size == 0 and array.ndim == 1:
        array = array.reshape(0, 4, 2)
    if array.ndim != 3 or array.shape[1:] != (4, 2):
        raise MetricsError(f"expected {name} of shape (N, 4, 2), four corners as (x, y), got {array.shape}")
    bad = _first(~np.isfinite(array))
    if bad is not None:
        raise MetricsError(f"expected finite numbers, got {array[bad].tolist()} at {where(bad)}")
    return np.ascontiguousarray(array)


def check_scores(scores: ArrayLike, count: int, where: Callable[[int], str] | None = None) -> FloatsN:
    """Return scores as (N,) float64, one per box; all must be finite."""
    array = _check_length(as_array(scores, np.float64, "scores"), count, "scores")
    bad = _first(~np.isfinite(array))
    if bad is not None:
        name = where(bad) if where else f"scores[{bad}]"
        raise MetricsError(f"expected a finite number as score, got {array[bad]:g} at {name}")
    return array


def check_indices(values: ArrayLike, count: int, name: str, below: int | None = None) -> IntsN:
    """Return whole numbers as (N,) int64, one per box; where `below` is given, each must be from 0 to `below` - 1."""
    array = _check_length(as_array(values, np.int64, name), count, name)
    if below is not None:
        bad = _first((array < 0) | (array >= below))
        if bad is not None:
            raise MetricsError(f"expected whole numbers of 0 or more, below {below}, got {array[bad]} at {name}[{bad}]")
    return array


def check_flags(values: ArrayLike, count: int, name: str) -> FlagsN:
    """Return flags as (N,) bool, one per box."""
    return _check_length(as_array(values, np.bool_, name), count, name)


def check_windows(windows: ArrayLike) -> WindowsM:
    """Return windows as (M, 4) float64 (x0, y0, x1, y1), where x0 < x1 and y0 < y1."""
    array = as_array(windows, np.float64, "windows")
    if array.size == 0 and array.ndim == 1:
        array = array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise MetricsError(f"expected windows of shape (M, 4) as (x0, y0, x1, y1), got {array.shape}")
    bad = _first(~(np.isfinite(array).all(axis=1) & (array[:, :2] < array[:, 2:]).all(axis=1)))
    if bad is not None:
        raise MetricsError(f"expected x0 < x1 and y0 < y1, got {array[bad].tolist()} at windows[{bad}]")
    return array


def check_fraction(value: float, name: str) -> float:
    """Return the value if it is a number from 0 to 1."""
    number = check_number(value, name)
    if not 0 <= number <= 1:
        raise MetricsError(f"expected {name} from 0 to 1, got {value}")
    return number


def check_number(value: Any, name: str) -> float:
    """Return the value as a float; NaN and infinity are allowed."""
    array = as_array(value, np.float64, name)
    if array.ndim:
        raise MetricsError(f"expected {name} as one number, got {value!r}")
    return float(array)


def check_whole(value: Any, name: str) -> int:
    """Return the value as an int if it is a whole number from 0."""
    try:
        number = operator.index(value)
    except TypeError as error:
        raise MetricsError(f"expected {name} as a whole number, got {value!r}") from error
    if number < 0:
        raise MetricsError(f"expected {name} of 0 or more, got {number}")
    return number


def check_iou_thresholds(values: Any) -> tuple[float, ...]:
    """Return IoU thresholds as rising numbers, if they are distinct, above 0 and up to 1."""
    given = as_array(values, np.float64, "iou_thresholds")
    thresholds = tuple(sorted(given.ravel().tolist()))
    if given.ndim != 1 or not all(0 < value <= 1 for value in thresholds) or len(set(thresholds)) < max(1, len(given)):
        raise MetricsError(f"expected a list of distinct IoU thresholds above 0 and up to 1, got {given.tolist()}")
    return thresholds


def check_max_dets(max_dets: Any, name: str = "max_dets") -> tuple[int, ...]:
    """Return the values as ints, if they are rising whole numbers from 1."""
    given = as_array(max_dets, np.int64, name)
    limits = tuple(given.ravel().tolist())
    if given.ndim != 1 or not limits or sorted(set(limits)) != list(limits) or limits[0] < 1:
        raise MetricsError(f"expected a list of rising {name} from 1, got {given.tolist()}")
    return limits


def check_aligned(count1: int, count2: int, what: str) -> None:
    """Raise MetricsError if two sets that are to be compared pair by pair differ in length."""
    if count1 != count2:
        raise MetricsError(f"expected {what}1 and {what}2 of the same length with aligned, got {count1} and {count2}")


def check_backend(backend: str) -> None:
    """Raise MetricsError if there is no such backend."""
    if not isinstance(backend, str) or backend not in get_args(Backend):
        raise MetricsError(f"expected backend 'auto', 'reference', 'numba' or 'triton', got {backend!r}")


def require_plain(tensor: Any, name: str) -> None:
    """Raise MetricsError for a sparse, nested or quantised tensor, and for one on the device "meta", without values."""
    if tensor.is_meta:
        raise MetricsError(f"expected {name} as an array of numbers, got a tensor without values")
    try:
        require_dense(tensor, name)
    except FormatsError as error:
        raise MetricsError(str(error)) from error


def as_array(values: Any, dtype: type | None, name: str) -> np.ndarray:
    """Return numbers as an array of a type, or of their own type where it is None; errors call them `name`."""
    try:
        array = to_numpy(values, name)
    except FormatsError as error:
        raise MetricsError(str(error)) from error
    if dtype is np.int64 and array.size and array.dtype.kind not in "iu":
        raise MetricsError(f"expected whole numbers in {name}, got {array.dtype}")
    if dtype is np.int64 and array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise MetricsError(f"expected whole numbers in {name} below 2**63, got {array.max()}")
    return array if dtype is None else array.astype(dtype, copy=False)


def _check_length(array: np.ndarray, count: int, name: str) -> np.ndarray:
    if array.shape != (count,):
        raise MetricsError(f"expected {name} of shape ({count},), one per box, got {array.shape}")
    return array


def _first(bad: np.ndarray) -> int | None:
    """Return the index of the first row with a true value, or None."""
    return int(np.argwhere(bad)[0, 0]) if bad.any() else None
