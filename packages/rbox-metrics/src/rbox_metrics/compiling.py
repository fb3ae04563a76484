"""Numba's compiler and threads, for kernels of other packages: a cache on disk, and children of a fork that work.

`jit` compiles a function, `inlined` makes one a part of the compiled functions of its file, and `in_parts` runs a
kernel on all threads.
"""

from rbox_metrics._jit import in_parts, inlined, jit

__all__ = ["in_parts", "inlined", "jit"]
