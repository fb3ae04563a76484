"""A server, from its start to its end."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import uvicorn
from rbox_formats.detection import command_of
from rbox_formats.errors import quoted

from rbox_serve._app import make_app
from rbox_serve._models import Model
from rbox_serve._settings import Settings
from rbox_serve.errors import RequestError

_NAMED = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)=(?P<path>.+)", re.DOTALL)
# Names that runs of different detectors have in common.
_COMMON = re.compile(r"model|checkpoint.*|epoch_\d+|latest|best.*|last.*")


def named(models: Iterable[str]) -> dict[str, str]:
    """Return the paths of models by the names under which they are served.

    >>> named(["demo", "retinanet=runs/a/epoch_12.pth", "runs/dota/model"])
    {'demo': 'demo', 'retinanet': 'runs/a/epoch_12.pth', 'dota': 'runs/dota/model'}

    Args:
        models: Each a path, or a name and a path as in "retinanet=epoch_12.pth".

    Raises:
        RequestError: If two have one name, or one is no detector.
    """
    found: dict[str, str] = {}
    for given in models:
        match = _NAMED.fullmatch(given)
        path = match["path"] if match else given
        name = match["name"] if match else _name_of(Path(path))
        if name in found:
            raise RequestError(
                f"expected models of different names, got two called {quoted(name)}",
                remedy=f"Name one of them: --model {name}-2={path}",
            )
        found[name] = path
    return found


def _name_of(path: Path) -> str:
    stem = path.stem if path.suffix in (".pth", ".onnx") else path.name
    if _COMMON.fullmatch(stem) and (above := path.absolute().parent.name):
        stem = above
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", stem) or "model"


def serve(settings: Settings, host: str, port: int) -> None:
    """Serve until the process is interrupted; then finish what runs.

    Args:
        settings: What is served, and how.
        host: The address to listen on.
        port: The port; 0: one that is free.

    Raises:
        RboxError: If a model cannot be loaded.
    """
    for path in settings.models.values():
        _require_detector(path)
    listening = _listen(host, port)
    failed: list[Model] = []

    def stop(model: Model) -> None:
        failed.append(model)
        server.should_exit = True

    app = make_app(settings, on_failure=stop)
    config = uvicorn.Config(app, access_log=False, log_level="warning", server_header=False)
    server = uvicorn.Server(config)
    shown = f"[{host}]" if ":" in host else host
    click.echo(f"rbox-serve is at http://{shown}:{listening.getsockname()[1]}/ until Ctrl-C.")
    with listening, _own_signals():
        server.run(sockets=[listening])
    if failed and failed[0].error is not None:
        raise failed[0].error


def _listen(host: str, port: int) -> socket.socket:
    """Take the port, before anything is loaded.

    Raises:
        RequestError: If it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise RequestError(
            f"expected to listen on {host}:{port}, got: {error.strerror or error}",
            remedy="Choose another --port, or another --host.",
        ) from error


def _require_detector(path: str) -> None:
    """Check a path before anything is loaded.

    Raises:
        ModelFileError: If it is no detector of an installed package.
    """
    if command_of(path) is None:
        from rbox_formats import load_detector

        load_detector(path)  # which says why


@contextmanager
def _own_signals() -> Iterator[None]:
    """Leave interrupts to uvicorn: the first one stops the server when what runs is finished, the second at once.

    The commands of this workspace end soon after an interrupt, whatever runs, and uvicorn raises the signal again for
    them when it has ended.
    """
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, lambda *_: None) for kind in kinds]
    bell = signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        signal.set_wakeup_fd(bell)
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)
