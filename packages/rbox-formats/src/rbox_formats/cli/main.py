"""The command `rbox-formats`: a file for each subcommand."""

from __future__ import annotations

import click

from rbox_formats import __version__
from rbox_formats.cli._completion import completion
from rbox_formats.cli._group import Group
from rbox_formats.cli.convert import convert
from rbox_formats.cli.decode import decode
from rbox_formats.cli.encode import encode
from rbox_formats.cli.inspect import inspect
from rbox_formats.cli.shards import shards
from rbox_formats.cli.split import split


@click.group("rbox-formats", cls=Group)
@click.version_option(__version__)
def main() -> None:
    """Inspect, convert and split datasets of rotated boxes, and write and read boxes as text."""


for _command in (inspect, convert, split, shards, encode, decode, completion("rbox-formats")):
    main.add_command(_command)
