"""The command `rbox-metrics`: a file for each subcommand."""

from __future__ import annotations

import click
from rbox_formats.cli import Group

from rbox_metrics import __version__
from rbox_metrics._cli.evaluate import evaluate


@click.group(cls=Group)
@click.version_option(__version__)
def main() -> None:
    """Scores of rotated boxes: average precision, F1, and their kin for detectors without confidences."""


main.add_command(evaluate)
