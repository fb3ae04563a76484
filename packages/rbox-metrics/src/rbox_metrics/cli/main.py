"""The command `rbox-metrics`: a file for each subcommand."""

from __future__ import annotations

import click
from rbox_formats.cli import Group, completion

from rbox_metrics import __version__
from rbox_metrics.cli.compare import compare
from rbox_metrics.cli.confusion import confusion
from rbox_metrics.cli.evaluate import evaluate
from rbox_metrics.cli.merge import merge
from rbox_metrics.cli.plot import plot
from rbox_metrics.cli.rank_images import rank_images
from rbox_metrics.cli.sweep import sweep


@click.group("rbox-metrics", cls=Group)
@click.version_option(__version__)
def main() -> None:
    """Score predictions of rotated boxes, of detectors with scores and without."""


for command in (compare, confusion, evaluate, merge, plot, rank_images, sweep, completion("rbox-metrics")):
    main.add_command(command)
