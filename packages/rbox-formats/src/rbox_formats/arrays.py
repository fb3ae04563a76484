"""The arrays that functions of this package and of rbox-metrics accept as boxes, corners, labels or scores.

- Accepted are arrays of numpy and torch (any device, strides and byte order; read-only; with a gradient), lists of
  numbers, and everything else that numpy converts to an array. Inputs are never written to.
- As coordinates, integers and booleans of any width become float64. float16 and bfloat16 become float32, also in the
  result, since half precision cannot hold odd numbers of pixels above 2,048. float32 and float64 stay.
- Geometry returns the kind of array that it got, on its device; lists give numpy.
- Complex numbers, dates, texts, objects, lists of unequal lengths, sparse, nested and quantised tensors and wrong
  shapes raise an `RboxError` that says what was expected and what was found. So do tensors of the device "meta", which
  hold no values, except in geometry.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rbox_formats.errors import FormatsError, said

__all__ = ["require_dense", "to_numpy"]

_FLOAT64 = np.dtype(np.float64)
_DENSE = "torch.strided"
_NUMBERS = frozenset("biuf")


def to_numpy(values: Any, name: str = "values") -> np.ndarray:
    """Convert numbers that any library holds to a numpy array in main memory.

    >>> to_numpy([[1, 2], [3, 4]]).shape
    (2, 2)

    Args:
        values: An array of numpy or torch, a list of numbers or of arrays, or anything else that numpy converts.
        name: The name of the values in an error message.

    Returns:
        An array of the same dtype, except that half precision becomes float32. It may share memory with `values`: do
        not write to it.

    Raises:
        FormatsError: If the values are not numbers, are complex, or are lists of unequal lengths.
    """
    array = values if type(values) is np.ndarray else _array_of(values, name)
    if array.dtype is _FLOAT64:
        return array
    if array.dtype.name == "bfloat16":  # of ml_dtypes; numpy itself does not know it
        return array.astype(np.float32)
    if array.dtype.kind not in _NUMBERS:
        what = "complex ones" if array.dtype.kind == "c" else f"{type(values).__name__} of {array.dtype}"
        raise FormatsError(f"expected {name} as an array of numbers, got {what}")
    if array.dtype.kind == "f" and array.dtype.itemsize < 4:
        return array.astype(np.float32)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def require_dense(values: Any, name: str = "values") -> None:
    """Check that a tensor holds its numbers one by one, as a numpy array does; ignore everything else.

    >>> import numpy as np
    >>> require_dense(np.zeros((2, 5)))

    Raises:
        FormatsError: If the tensor is sparse, nested or quantised.
    """
    if not hasattr(values, "detach"):
        return
    found = {
        "a nested tensor": getattr(values, "is_nested", False),
        f"a sparse tensor ({getattr(values, 'layout', '')})": str(getattr(values, "layout", _DENSE)) != _DENSE,
        "a quantised tensor": getattr(values, "is_quantized", False),
    }
    for what, is_so in found.items():
        if is_so:
            raise FormatsError(f"expected {name} as an array of numbers, got {what}")


def _array_of(values: Any, name: str) -> np.ndarray:
    try:
        if hasattr(values, "detach"):  # a tensor of torch, which need not be imported for this
            require_dense(values, name)
            values = values.detach()
            # numpy has no bfloat16.
            values = values.float() if "bfloat16" in str(values.dtype) else values
            return np.asarray(values.cpu().numpy())
        if isinstance(values, list | tuple) and any(hasattr(value, "detach") for value in values):
            values = [_array_of(value, name) for value in values]
        return np.asarray(values)
    except FormatsError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        reason = f"{type(values).__name__}: {said(error)}"
        raise FormatsError(f"expected {name} as an array of numbers, got {reason}") from error
