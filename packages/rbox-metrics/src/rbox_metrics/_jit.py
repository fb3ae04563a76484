"""Numba's compiler, with its cache on disk wherever there is a folder for it.

Numba infers the types of what it compiles: its functions carry none, and are marked `no_type_check`, since what wraps a
function to check its annotations while tests run would be compiled in its stead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numba

F = TypeVar("F", bound=Callable[..., Any])

# About a millisecond's work of the cheapest kernel.
_WORTH_THREADS = 10_000


def inlined(function: F) -> F:
    """Makes a function part of the compiled functions of its file that call it."""
    compiled: Any = numba.jit(nopython=True, fastmath=False, error_model="numpy", forceinline=True)(function)
    return compiled


def jit(function: F) -> F:
    """Compiles a function on its first call, for one thread."""
    return _compiled(function, parallel=False)


def parallel_jit(function: F) -> F:
    """Compiles a function on its first call, its `prange` loops for all threads."""
    return _compiled(function, parallel=True)


@contextmanager
def threads_for(items: int) -> Iterator[None]:
    """Runs the kernels in the block on one thread where there are few items.

    Where other work has the cores, waiting for a second thread takes up to a hundred times as long as few items do.
    """
    threads = numba.get_num_threads()
    numba.set_num_threads(threads if items >= _WORTH_THREADS else 1)
    try:
        yield
    finally:
        numba.set_num_threads(threads)


def is_cached() -> bool:
    """Whether what was compiled on this machine is at hand, of any of the functions that there are so far."""
    return any(_cached(dispatcher) for dispatcher in _dispatchers)


def _cached(dispatcher: Any) -> bool:
    folder = dispatcher.stats.cache_path
    return folder is not None and any(Path(folder).glob(f"*{dispatcher.__name__}*.nbi"))


_dispatchers: list[Any] = []


def _compiled(function: F, parallel: bool) -> F:
    # Without fastmath: overlaps are to be the same on every machine, and NaN is to stay NaN.
    # A division by zero gives infinity or NaN, as in numpy: a test for it would be a branch in every loop.
    compiler = partial(numba.jit, nopython=True, fastmath=False, error_model="numpy", parallel=parallel)
    compiled: Any
    try:
        compiled = compiler(cache=True)(function)
    except RuntimeError:
        # Neither the package's folder nor the user's cache can be written: compile anew in each process.
        compiled = compiler()(function)
    _dispatchers.append(compiled)
    return compiled
