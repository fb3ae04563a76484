"""The settings of a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from rbox_serve.errors import RequestError

#: The environment variable with the key that clients have to give.
KEY_VARIABLE = "RBOX_SERVE_API_KEY"


@dataclass(frozen=True)
class Limits:
    """What one request may take, and how many there may be.

    >>> Limits(seconds=60).requests
    64

    Attributes:
        bytes: The largest body of a request.
        pixels: The largest image.
        windows: The most windows of an image.
        requests: The most requests to one model that wait or are being answered; each has a thread that reads its
            image.
        seconds: The longest time from the beginning of a request to the end of its answer.
    """

    bytes: int = 2**28
    pixels: int = 10**8
    windows: int = 2048
    requests: int = 64
    seconds: float = 300.0

    def __post_init__(self) -> None:
        for each in fields(self):
            if not getattr(self, each.name) > 0:
                raise RequestError(f"expected a limit of {each.name} above 0, got {getattr(self, each.name)}")


@dataclass(frozen=True)
class Settings:
    """The settings of a server.

    >>> from pathlib import Path
    >>> settings = Settings(models={"small": "demo"}, folders=(Path("scenes"),), limits=Limits(pixels=10**7))
    >>> settings.limits.pixels
    10000000

    Attributes:
        models: The detectors' paths, by the names under which they are served.
        folders: The folders whose images may be asked for by their paths.
        demo: Whether drawn scenes are served.
        device: Such as "cpu" or "cuda:0". None: the best that there is.
        batch_size: How many windows a model detects on together. None: as many as its `predict` does.
        wait: How long, in seconds, a window waits for others to fill its batch. None: a tenth of what a batch takes, at
            most 0.05 s.
        exact: Whether windows of different requests never share a batch.
        limits: What one request may take.
        key: The key that clients have to give. None: none.
        hosts: The names by which the server may be called. None: any.
        origins: The origins whose pages may call the server (CORS).
    """

    models: Mapping[str, str]
    folders: tuple[Path, ...] = ()
    demo: bool = False
    device: str | None = None
    batch_size: int | None = None
    wait: float | None = None
    exact: bool = False
    limits: Limits = field(default_factory=Limits)
    key: str | None = None
    hosts: tuple[str, ...] | None = None
    origins: tuple[str, ...] = ()
