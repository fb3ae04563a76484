"""`rbox-serve run`."""

from __future__ import annotations

import os
from pathlib import Path

import click
from rbox_formats.cli import PATH, command, option, options, show_messages

_limits = options(
    option("--max-bytes", default=2**28, type=click.IntRange(1), help="The largest body of a request.", group="Limits"),
    option("--max-pixels", default=10**8, type=click.IntRange(1), help="The largest image.", group="Limits"),
    option("--max-windows", default=2048, type=click.IntRange(1), help="The most windows of an image.", group="Limits"),
    option(
        "--max-requests",
        default=64,
        type=click.IntRange(1),
        help="The most requests to one model that wait or run; others are asked to come again.",
        group="Limits",
    ),
    option(
        "--timeout",
        default=300.0,
        type=click.FloatRange(0, min_open=True),
        help="The longest time for a request, in seconds.",
        group="Limits",
    ),
)


@command(
    "rbox-serve run --demo",
    "rbox-serve run --model runs/dota/model --model retinanet=runs/retinanet/epoch_12.pth --images scenes",
)
@option(
    "--model",
    "models",
    multiple=True,
    metavar="[NAME=]PATH",
    help="A detector of any installed package, perhaps with a name to serve it under. Repeat it for more.",
    group="Model",
)
@option(
    "--demo",
    is_flag=True,
    help="Serve drawn scenes to try detectors on, and lmm-detector's small detector beside those of --model.",
    group="Model",
)
@option("--device", help="Such as cpu or cuda:0. [default: the best that there is]", group="Model")
@option(
    "--batch-size",
    type=click.IntRange(min=1),
    help="The most windows at a time. [default: as `predict` of each detector]",
    group="Prediction",
)
@option(
    "--batch-wait",
    type=click.FloatRange(0),
    help="How long a window waits for others to fill its batch, in milliseconds. [default: a tenth of what a batch "
    "takes, at most 50]",
    group="Prediction",
)
@option(
    "--exact",
    is_flag=True,
    help="Never put windows of different requests into one batch: answers are those of `predict` to the last bit.",
    group="Prediction",
)
@option(
    "--images",
    "folders",
    multiple=True,
    type=PATH,
    help="A folder whose images clients may name instead of sending them. Repeat it for more.",
    group="Windows and images",
)
@option("--host", default="127.0.0.1", help="The address to listen on; 0.0.0.0 for other machines.", group="Network")
@option("--port", default=8000, type=click.IntRange(0, 65535), help="The port to listen on.", group="Network")
@option(
    "--allow-host",
    "hosts",
    multiple=True,
    help="A name by which the server may be called. [default: those of this machine on a loopback address, else any]",
    group="Network",
)
@option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="https://NAME",
    help="A site whose pages may call the server (CORS). Repeat it for more. [default: none]",
    group="Network",
)
@_limits
def run(
    models: tuple[str, ...],
    demo: bool,
    device: str | None,
    batch_size: int | None,
    batch_wait: float | None,
    exact: bool,
    folders: tuple[Path, ...],
    host: str,
    port: int,
    hosts: tuple[str, ...],
    origins: tuple[str, ...],
    max_bytes: int,
    max_pixels: int,
    max_windows: int,
    max_requests: int,
    timeout: float,
) -> None:
    """Serve detectors over HTTP until Ctrl-C, with a page that compares them.

    Where the environment variable RBOX_SERVE_API_KEY is set, clients have to send it as `Authorization: Bearer KEY`.
    """
    if not models and not demo:
        raise click.UsageError("Give --model, or --demo.")
    for folder in folders:
        if not folder.is_dir():
            raise click.UsageError(f"--images: expected a folder, got {folder}.")
    show_messages("rbox_serve")
    from rbox_serve._guard import LOOPBACK_NAMES
    from rbox_serve._running import named, serve
    from rbox_serve._settings import KEY_VARIABLE, Limits, Settings

    served = named(["demo", *(model for model in models if model != "demo")] if demo else models)
    is_local = host in LOOPBACK_NAMES
    key = os.environ.get(KEY_VARIABLE) or None
    if not is_local and key is None:
        click.echo(f"Warning: everybody who reaches {host}:{port} can use it; {KEY_VARIABLE} sets a key.", err=True)
    serve(
        Settings(
            models=served,
            folders=folders,
            demo=demo,
            device=device,
            batch_size=batch_size,
            wait=None if batch_wait is None else batch_wait / 1000,
            exact=exact,
            limits=Limits(max_bytes, max_pixels, max_windows, max_requests, timeout),
            key=key,
            hosts=tuple({*hosts, *LOOPBACK_NAMES}) if is_local else hosts or None,
            origins=origins,
        ),
        host,
        port,
    )
