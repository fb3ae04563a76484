"""The command `rbox-serve`: a file for each subcommand. FastAPI and detectors are imported when one runs."""

from __future__ import annotations

import click
from rbox_formats.cli import Group, completion

from rbox_serve import __version__
from rbox_serve.cli.run import run


@click.group("rbox-serve", cls=Group)
@click.version_option(__version__)
def main() -> None:
    """Serve detectors of rotated boxes over HTTP, with a page that shows and compares them."""


for _command in (run, completion("rbox-serve")):
    main.add_command(_command)
