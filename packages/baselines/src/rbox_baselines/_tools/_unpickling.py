"""Reads a pickle of tensors, arrays and plain values, and runs nothing that it asks for.

A pickle names functions and says what they are called with, so that reading one from elsewhere may run anything. Here
each name of a short list stands for a function of this module, which takes no more than tensors and arrays need and
makes numpy arrays of them; any other name ends the reading. Not even numpy's and torch's own functions are called with
what a pickle says.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from rbox_formats import files
from rbox_formats.errors import quoted, said

from rbox_baselines.errors import ResultsError

_REMEDY = "Only tensors, arrays and plain values are read. Nothing of the file was run."
# dtypes by numpy's codes; no objects, texts or structures.
_DTYPES = frozenset(("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"))
_PUTS = ("PUT", "BINPUT", "LONG_BINPUT")
_ZIP = b"PK"
_Order = Literal["<", ">", "|", "="]


def load(path: str | Path) -> Any:
    """Read the contents of a pickle: lists, tuples, dicts, texts, numbers, and `Array` for each tensor and array.

    Args:
        path: The file. It is read into memory.

    Raises:
        ResultsError: If there is no such file, it is no whole pickle, or it asks for anything else.
    """
    path = files.as_path(path, ResultsError)
    if not path.is_file():
        raise ResultsError("expected a file of results, found none", path=path)
    content = path.read_bytes()
    try:
        _check_places(content)
        with warnings.catch_warnings():
            # That of typed storages, which older files and `pickle.dump` have.
            warnings.filterwarnings("ignore", message="TypedStorage is deprecated", category=UserWarning)
            return _Unpickler(io.BytesIO(content)).load()
    except _RefusedError as error:
        raise ResultsError(str(error), path=path, remedy=_REMEDY) from error
    except Exception as error:  # what is wrong with a broken pickle shows in any way
        message = f"expected a whole pickle, got one that cannot be read ({type(error).__name__}: {said(error)})"
        raise ResultsError(message, path=path) from error


class Array:
    """A tensor or an array of a pickle.

    Attributes:
        values: The numbers; None while an array waits for its state.
    """

    __slots__ = ("values",)

    def __init__(self, values: np.ndarray | None = None) -> None:
        self.values = values

    def __setstate__(self, state: Any) -> None:
        """Take what `numpy.ndarray.__reduce__` gives: version, shape, dtype, whether by columns, the bytes."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise _RefusedError("expected the state of an array, got another")
        _, shape, dtype, by_columns, content = state
        self.values = _values(content, dtype, shape, "F" if by_columns else "C")


class _RefusedError(Exception):
    """The pickle asks for something that is refused."""


class _Unpickler(pickle.Unpickler):
    """Knows the names of `_NAMES` and no other."""

    def find_class(self, module: str, name: str) -> Any:
        found = _NAMES.get((module, name))
        if found is None:
            asked = quoted(f"{module}.{name}", marks=False)
            raise _RefusedError(f"expected a pickle of tensors and arrays, got one that asks for {asked}")
        return found


class _Named:
    """The function that a name in a pickle stands for. It can be called; its attributes cannot be changed."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    def __setstate__(self, state: object) -> None:
        raise _RefusedError("expected a function that is not changed, got a pickle that changes it")


class _Dtype:
    """A dtype, once its byte order is known."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code = code
        self.order: _Order = "="

    def __setstate__(self, state: Any) -> None:
        # version, byte order, subarray, names, fields, size, alignment, flags: all but the order as a number has them.
        if not isinstance(state, tuple) or state[2:] != (None, None, None, -1, -1, 0) or state[1] not in "<>|=":
            raise _RefusedError("expected an array of numbers, got one of structures or objects")
        self.order = state[1]


def _check_places(content: bytes) -> None:
    """Refuse a pickle that puts a value at a place so far on that the table of places would fill the memory."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if opcode.name in _PUTS and int(argument or 0) > count:
            raise _RefusedError(f"expected values at places up to their number, got {argument} after {count} steps")


def _is_shape(value: object) -> bool:
    return isinstance(value, tuple) and all(type(side) is int and side >= 0 for side in value)


def _values(content: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """Return an array of bytes, checked against its dtype and shape."""
    if not isinstance(dtype, _Dtype) or not isinstance(content, bytes | bytearray) or order not in ("C", "F"):
        raise _RefusedError("expected an array of numbers, got another")
    kind = np.dtype(dtype.code).newbyteorder(dtype.order)
    if not _is_shape(shape) or math.prod(shape) * kind.itemsize != len(content):
        raise _RefusedError(f"expected an array whose bytes fill its shape, got {len(content)} bytes for {shape}")
    return np.frombuffer(content, kind).reshape(shape, order=order)


def _bytes(text: object = "", encoding: object = "latin1") -> bytes:
    """Stand in for `_codecs.encode` and `bytes()`, by which protocol 2 writes bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise _RefusedError(f"expected text for bytes in latin1, got {type(text).__name__} in {quoted(encoding)}")
    return text.encode("latin1")


def _empty_dict() -> dict:
    return {}


def _size(sides: Any = ()) -> tuple[int, ...]:
    if not _is_shape(sides):
        raise _RefusedError("expected the sides of a tensor, got another")
    return sides


def _dtype(code: object, align: object = False, copy: object = True) -> _Dtype:
    if not isinstance(code, str) or code.lstrip("<>|=") not in _DTYPES:
        raise _RefusedError(f"expected an array of numbers, got one of dtype {quoted(code)}")
    return _Dtype(code.lstrip("<>|="))


def _scalar(dtype: object, content: object = b"") -> Any:
    return _values(content, dtype, (), "C").item()


def _array(kind: object, shape: object, code: object) -> Array:
    """Stand in for `_reconstruct`: return an array of no size, which gets its state later."""
    if kind is not _NDARRAY:
        raise _RefusedError("expected an array, got a subclass of one")
    return Array()


def _from_buffer(content: object, dtype: object, shape: object, order: object) -> Array:
    return Array(_values(content, dtype, shape, order))


def _not_called(*_: object) -> None:
    raise _RefusedError("expected the name of a class, got a call of it")


def _storage(content: object) -> Any:
    """Read the numbers of a tensor, a file within the file, which `torch.storage._load_from_bytes` reads unchecked.

    Returns:
        A flat tensor.
    """
    import torch

    if not isinstance(content, bytes) or content.startswith(_ZIP):
        raise _RefusedError("expected the numbers of a tensor, got another file")
    try:
        found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        first = str(error).partition("GLOBAL ")[2].partition(" ")[0]
        raise _RefusedError(
            f"expected the numbers of a tensor, got a pickle that asks for {first or 'more'} within it"
        ) from error
    if not isinstance(found, torch.storage.TypedStorage):
        raise _RefusedError(f"expected the numbers of a tensor, got {type(found).__name__}")
    return torch.empty(0, dtype=found.dtype).set_(found.untyped())


def _tensor(numbers: Any, offset: Any, size: Any, stride: Any, *_: object) -> Array:
    """Stand in for `_rebuild_tensor_v2`, with torch's own checks; a tensor may not be larger than its numbers.

    What follows (gradients, hooks, metadata) says nothing of the values.
    """
    import torch

    if not isinstance(numbers, torch.Tensor) or type(offset) is not int or not _is_shape(size) or not _is_shape(stride):
        raise _RefusedError("expected a tensor, got another")
    if math.prod(size) > numbers.numel():
        raise _RefusedError(f"expected a tensor within its {numbers.numel()} numbers, got one of {size}")
    tensor = numbers.as_strided(size, stride, offset)
    # numpy has no bfloat16.
    return Array((tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy())


_NDARRAY = _Named(_not_called)

_NAMES: dict[tuple[str, str], _Named] = {
    ("_codecs", "encode"): _Named(_bytes),
    ("__builtin__", "bytes"): _Named(_bytes),
    ("collections", "OrderedDict"): _Named(_empty_dict),
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _Named(_dtype),
    ("torch", "Size"): _Named(_size),
    ("torch._utils", "_rebuild_tensor_v2"): _Named(_tensor),
    ("torch.storage", "_load_from_bytes"): _Named(_storage),
    # numpy 2 has its modules under another name.
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Named(_array) for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Named(_scalar) for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _Named(_from_buffer) for core in ("core", "_core")},
}
