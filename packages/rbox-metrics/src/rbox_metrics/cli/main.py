"""The command `rbox-metrics`: a file for each subcommand."""

from __future__ import annotations

import click
from rbox_formats.cli import Group

from rbox_metrics import __version__
from rbox_metrics.cli.compare import compare
from rbox_metrics.cli.confusion import confusion
from rbox_metrics.cli.evaluate import evaluate
from rbox_metrics.cli.merge import merge
from rbox_metrics.cli.plot import plot
from rbox_metrics.cli.sweep import sweep


@click.group(cls=Group)
@click.version_option(__version__)
def main() -> None:
    """Scores of rotated boxes: average precision, F1, and their kin for detectors without confidences."""


for command in (compare, confusion, evaluate, merge, plot, sweep):
    main.add_command(command)
