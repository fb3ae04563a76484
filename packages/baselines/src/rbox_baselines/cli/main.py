"""The command `rbox-baselines`: a file for each subcommand. torch and MMRotate are imported when one runs."""

from __future__ import annotations

import click
from rbox_formats.cli import Group, completion, serve_command

from rbox_baselines import __version__
from rbox_baselines.cli.browse import browse
from rbox_baselines.cli.convert import convert
from rbox_baselines.cli.curves import curves
from rbox_baselines.cli.distill import distill
from rbox_baselines.cli.evaluate import evaluate
from rbox_baselines.cli.export import export
from rbox_baselines.cli.info import info
from rbox_baselines.cli.predict import predict
from rbox_baselines.cli.publish import publish
from rbox_baselines.cli.results import results
from rbox_baselines.cli.train import train
from rbox_baselines.cli.ymir import ymir


@click.group("rbox-baselines", cls=Group)
@click.version_option(__version__)
def main() -> None:
    """Train, run and score MMRotate's oriented detectors, beside multimodal ones."""


for _command in (
    train,
    distill,
    predict,
    evaluate,
    results,
    info,
    publish,
    convert,
    export,
    curves,
    browse,
    ymir,
    serve_command("rbox-baselines"),
    completion("rbox-baselines"),
):
    main.add_command(_command)
