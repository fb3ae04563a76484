"""Who may call the server: by which of its names, from which pages, and with which key."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from rbox_formats.errors import quoted
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from rbox_serve import _answers
from rbox_serve.errors import ForbiddenError, ServeError, UnauthorisedError

#: By which a server that listens to this machine alone may be called. A page of another site, whose name was made to
#: point at this machine, calls it by that name.
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

# What lives under these needs a key; all else is the page and its files, and whether the server is there.
_KEPT = ("/v1/", "/predictions/", "/metrics", "/openapi.json")

_READING = ("GET", "HEAD", "OPTIONS")


class Guard:
    """What lets requests through, or answers them itself.

    Args:
        app: The application that answers the others.
        key: The key that clients have to give. None: none.
        hosts: The names by which the server may be called. None: any.
        origins: The origins whose pages may call it, beside its own.
    """

    def __init__(self, app: ASGIApp, key: str | None, hosts: Sequence[str] | None, origins: Sequence[str] = ()) -> None:
        self._app, self._key, self._hosts = app, key, None if hosts is None else {host.lower() for host in hosts}
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            try:
                self._check(str(scope["method"]), str(scope["path"]), Headers(scope=scope))
            except ServeError as error:
                response = Response(
                    _answers.dumped(_answers.as_error(error)), error.status, error.headers, "application/json"
                )
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, method: str, path: str, headers: Headers) -> None:
        host = _name_of(headers.get("host", ""))
        if self._hosts is not None and host not in self._hosts:
            raise ForbiddenError(
                f"expected to be called as {', '.join(sorted(self._hosts))}, got {quoted(host)}",
                remedy="Start the server with --allow-host for another name.",
            )
        # A browser says whose page sends something; without asking first, it sends forms anywhere.
        origin = headers.get("origin", "")
        is_own = origin.partition("://")[2] == headers.get("host") or origin in self._origins
        if method not in _READING and origin and not is_own:
            raise ForbiddenError(
                f"expected a request of the server's own page, got one of {quoted(origin)}",
                remedy=f"Start the server with --allow-origin {origin}, if you trust it.",
            )
        if self._key is not None and path.startswith(_KEPT):
            scheme, _, token = headers.get("authorization", "").partition(" ")
            given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
            if not hmac.compare_digest(given.encode("latin-1"), self._key.encode()):
                raise UnauthorisedError(
                    "expected the server's key, got none or another one",
                    remedy="Send the header `Authorization: Bearer KEY`, or `X-API-Key: KEY`.",
                )


def _name_of(host: str) -> str:
    """Return the name in a header Host, without its port."""
    if host.startswith("["):  # an address of IPv6
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()
