"""Too little memory, said in words that name what to change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lmm_detector.errors import ModelError


@contextmanager
def enough_memory(what: str, remedy: str) -> Iterator[None]:
    """Turn what PyTorch raises where memory runs out into an error that says what to do.

    Args:
        what: What there was too little for.
        remedy: As a sentence.

    Raises:
        ModelError: If the block ran out of memory, on the device or on the host.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"expected enough memory for {what}, got: {said}", remedy=remedy) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out: Python's, a device's, or PyTorch's allocator on the host."""
    # PyTorch's on the host raises a plain RuntimeError; the words are its own, as accelerate knows them too.
    from accelerate.utils.memory import should_reduce_batch_size

    return isinstance(error, MemoryError) or (isinstance(error, Exception) and should_reduce_batch_size(error))
