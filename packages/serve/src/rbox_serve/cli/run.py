"""`rbox-serve run`."""

from __future__ import annotations

import click
from rbox_formats.cli import command, option, show_messages


@command("rbox-serve run --model demo", "rbox-serve run --model runs/dota/model --model runs/retinanet/epoch_12.pth")
@option(
    "--model",
    "models",
    multiple=True,
    metavar="[NAME=]PATH",
    help="A detector of any installed package, under a name of yours or its own. Repeat it for more.",
    group="Model",
)
@option("--demo", is_flag=True, help="Serve the small detector and drawn scenes to try it on.", group="Model")
@option("--device", help="Such as cpu or cuda:0. [default: the best that there is]", group="Model")
@option("--host", default="127.0.0.1", help="The address to listen on; others than this machine reach 0.0.0.0.")
@option("--port", default=8000, type=click.IntRange(0, 65535), help="The port to listen on.")
def run(models: tuple[str, ...], demo: bool, device: str | None, host: str, port: int) -> None:
    """Serve detectors until it is stopped (Ctrl-C), and the page that shows them."""
    if not models and not demo:
        raise click.UsageError("Give --model, or --demo.")
    show_messages("rbox_serve")
    import uvicorn

    from rbox_serve._app import make_app

    uvicorn.run(make_app(models or ("demo",), demo=demo, device=device), host=host, port=port)
