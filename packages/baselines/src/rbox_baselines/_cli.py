"""The command `rbox-baselines`."""

from __future__ import annotations

import click
from rbox_formats.cli import Group

from rbox_baselines import __version__


@click.group(cls=Group)
@click.version_option(__version__)
def main() -> None:
    """Conventional oriented detectors beside multimodal ones. This version holds their place: it has no command yet."""
