"""The errors of rbox_serve, each with the status by which HTTP says it."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from rbox_formats import RboxError

__all__ = [
    "ForbiddenError",
    "ModelError",
    "NotFoundError",
    "NotReadyError",
    "OverloadedError",
    "RequestError",
    "ServeError",
    "SlowError",
    "TooLargeError",
    "UnauthorisedError",
]


class ServeError(RboxError):
    """The root of the errors of rbox_serve.

    Attributes:
        status: The status of HTTP.
        retry_after: After how many seconds the client may try again, where that helps.

    Args:
        message: What is wrong.
        retry_after: See above.
        **more: As in `RboxError`.
    """

    status: ClassVar[int] = 500

    def __init__(self, message: str, *, retry_after: float | None = None, **more: Any) -> None:
        super().__init__(message, **more)
        self.retry_after = retry_after

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer."""
        return {} if self.retry_after is None else {"Retry-After": str(max(math.ceil(self.retry_after), 1))}


class RequestError(ServeError):
    """A request is not as the address expects it."""

    status: ClassVar[int] = 400


class UnauthorisedError(ServeError):
    """A request comes without the key that the server was given."""

    status: ClassVar[int] = 401

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer: how a key is given."""
        return {"WWW-Authenticate": "Bearer"}


class ForbiddenError(ServeError):
    """A request names a file that the server may not read, or calls the server by a name that is not its own."""

    status: ClassVar[int] = 403


class NotFoundError(ServeError):
    """There is no such model, scene or file."""

    status: ClassVar[int] = 404


class TooLargeError(ServeError):
    """An image has more bytes, pixels or windows than the server takes."""

    status: ClassVar[int] = 413


class OverloadedError(ServeError):
    """As many requests as the server takes are waiting already."""

    status: ClassVar[int] = 429


class ModelError(ServeError):
    """A model fails."""

    status: ClassVar[int] = 500


class NotReadyError(ServeError):
    """A model is being loaded, or the server is about to stop."""

    status: ClassVar[int] = 503


class SlowError(ServeError):
    """A request takes longer than the server allows."""

    status: ClassVar[int] = 504
