"""Image files that are open, on this machine or on another."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class OpenFile(Protocol):
    """A file that is open, so that parts can be read: Python's own, or one of fsspec.

    >>> from io import BytesIO
    >>> isinstance(BytesIO(), OpenFile)
    True
    """

    def read(self, size: int = -1, /) -> bytes:
        """Read some bytes, or all.

        Args:
            size: How many at most; -1: all that are left.
        """
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place, and return it.

        Args:
            offset: The place in bytes.
            whence: From where it counts: 0: the start, 1: the present place, 2: the end.
        """
        ...

    def tell(self) -> int:
        """Return the place in bytes."""
        ...
