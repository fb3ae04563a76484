"""The command `rbox-formats`: a file for each subcommand."""

from __future__ import annotations

import click

from rbox_formats import __version__
from rbox_formats._cli.convert import convert
from rbox_formats._cli.decode import decode
from rbox_formats._cli.encode import encode
from rbox_formats._cli.inspect import inspect
from rbox_formats._cli.split import split
from rbox_formats.cli import Group


@click.group(cls=Group)
@click.version_option(__version__)
def main() -> None:
    """Rotated boxes in aerial images: look at datasets, write boxes as text, read them back."""


for _command in (inspect, convert, split, encode, decode):
    main.add_command(_command)
