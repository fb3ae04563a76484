"""Numba's compiler, with its cache on disk wherever there is a folder for it.

Numba infers the types of what it compiles. So compiled functions have no annotations, and are marked `no_type_check`:
otherwise the wrapper that checks annotations in tests would be compiled instead of them.

A first call waits for the compiler. Numba's own parallel loops take three to ten times as long to compile as plain
ones, and allocating, filling or sorting an array inside of a compiled function takes as long as the function itself. So
kernels are plain loops over a part of the work, from `begin` to `end`, that write into arrays made by numpy, and
`in_parts` shares the parts among threads. A number that is passed to another compiled function starts as `np.int64(0)`:
with a literal 0 that function would be compiled once more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numba
import numpy as np
from numba.core.compiler_lock import global_compiler_lock
from numba.np.ufunc import parallel

F = TypeVar("F", bound=Callable[..., Any])

# About half a millisecond of work: with more, other threads are worth while. Waking one takes a twentieth of that if a
# core is idle; if other work has the cores, it may take any time.
_WORTH_THREADS = 50_000

# Parts of the work for each thread: if a core is busy with other work, the other threads take over its parts.
_PARTS = 4

# Settings of Numba, from the environment.
_settings: Any = numba.config

# Without fastmath: overlaps are to be the same on every machine, and NaN is to stay NaN.
# A division by zero gives infinity or NaN, as in numpy: a test for it would be a branch in every loop.
# Nothing takes the address of a function.
_compiler = partial(numba.jit, nopython=True, nogil=True, fastmath=False, error_model="numpy", no_cfunc_wrapper=True)


def inlined(function: F) -> F:
    """Make a function part of the compiled functions of its file that call it."""
    # It is never called from Python.
    compiled: Any = _compiler(forceinline=True, no_cpython_wrapper=True)(function)
    return compiled


def jit(function: F) -> F:
    """Compile a function on its first call. It does not hold the interpreter's lock."""
    compiled: Any
    try:
        compiled = _compiler(cache=True)(function)
    except RuntimeError:
        # Neither the package's folder nor the user's cache is writable: compile again in each process.
        compiled = _compiler()(function)
    return compiled


def in_parts(
    kernel: Callable[..., None], count: int, work: int, *arguments: Any, bounds: np.ndarray | None = None
) -> None:
    """Run `kernel(begin, end, *arguments)` for parts of 0 to `count`, on all threads if there is much to do.

    The results do not depend on the number of threads, nor on which thread computes which part.

    Args:
        kernel: A function compiled by `jit`. What it writes for one number must not depend on the others.
        count: How many numbers there are.
        work: The steps of all of them together.
        *arguments: Arrays and numbers for the kernel. Arrays that it writes must be contiguous and writable.
        bounds: (count + 1,) number k has the steps from bounds[k] to bounds[k + 1]. Default: all have equally many.
    """
    if count == 0:
        return
    # The kernel would be compiled once more for strided or read-only arrays: copies instead.
    given = [value.copy() if type(value) is np.ndarray and not value.flags.carray else value for value in arguments]
    if work < _WORTH_THREADS or (threads := _threads()) == 1:
        kernel(0, count, *given)
        return
    parts = _cut(count, min(_PARTS * threads, 2 * work // _WORTH_THREADS), bounds)

    def work_off() -> None:
        while True:
            try:
                begin, end = parts.pop()
            except IndexError:
                return
            kernel(begin, end, *given)

    helpers = _helpers(work_off, min(threads, len(parts)) - 1)
    try:
        work_off()
    finally:
        parts.clear()
        # Threads that have not begun need not begin: a busy core is not waited for.
        for helper in helpers:
            if not helper.cancel():
                helper.result()


def _cut(count: int, parts: int, bounds: np.ndarray | None) -> list[tuple[int, int]]:
    """Cut 0 to `count` into about `parts` parts, from the last to the first."""
    parts = min(parts, count)
    if bounds is None:
        cuts = [count * k // parts for k in range(parts + 1)]
    else:
        first, whole = int(bounds[0]), int(bounds[-1] - bounds[0])
        shares = [first + whole * k // parts for k in range(1, parts)]
        cuts = sorted({0, count, *(np.searchsorted(bounds[1:-1], shares) + 1).tolist()})
    return list(pairwise(cuts))[::-1]


def _threads() -> int:
    """Return as many threads as numba would use: NUMBA_NUM_THREADS, or what was asked for since then."""
    # Asking numba for its number would start its threads.
    return numba.get_num_threads() if getattr(parallel, "_is_initialized", False) else _settings.NUMBA_NUM_THREADS


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, _settings.NUMBA_NUM_THREADS - 1), "rbox_metrics")


if hasattr(os, "register_at_fork"):
    # A child has none of its parent's threads.
    os.register_at_fork(after_in_child=_pool.cache_clear)
    # While a thread compiles, it holds a lock that would never be released in the child: fork after that.
    _compiling = global_compiler_lock
    os.register_at_fork(
        before=_compiling.acquire, after_in_parent=_compiling.release, after_in_child=_compiling.release
    )


def _helpers(work_off: Callable[[], None], count: int) -> Sequence[Future[None]]:
    try:
        return [_pool().submit(work_off) for _ in range(count)]
    except RuntimeError:
        # While the interpreter shuts down no thread can be started.
        return ()


def uncompiled(kernels: Sequence[Any]) -> list[Any]:
    """Return the kernels that are neither compiled in this process nor cached on disk for this source and machine."""
    return [kernel for kernel in kernels if not kernel.overloads and not _is_on_disk(kernel)]


def has_cache(kernel: Any) -> bool:
    """Return whether there is a folder in which compiled functions can be kept for other processes."""
    return kernel.stats.cache_path is not None


def _is_on_disk(kernel: Any) -> bool:
    folder = kernel.stats.cache_path
    if folder is None:
        return False
    try:
        # Numba's index of the function, empty if its file or numba has changed; each entry has the signature, the
        # machine and the code.
        wanted = kernel._cache._index_key((), kernel.targetctx.codegen())[1:]
        return any(key[1:] == wanted for key in kernel._cache._cache_file._load_index())
    except AttributeError:
        # Another version of numba, with other internals.
        return any(Path(folder).glob(f"*{kernel.__name__}*.nbi"))
