"""The command `lmm-detector`: a file for each subcommand. torch is imported when one runs, not before."""

from __future__ import annotations

import click
from rbox_formats.cli import Group, completion, serve_command

from lmm_detector import __version__
from lmm_detector.cli.convert import convert
from lmm_detector.cli.demo import demo
from lmm_detector.cli.evaluate import evaluate
from lmm_detector.cli.merge import merge
from lmm_detector.cli.predict import predict
from lmm_detector.cli.push import push
from lmm_detector.cli.train import train
from lmm_detector.cli.visualize import visualize
from lmm_detector.cli.ymir import ymir


@click.group("lmm-detector", cls=Group)
@click.version_option(__version__)
def main() -> None:
    """Fine-tune, run and score multimodal models that write rotated boxes as text."""


_shared = (serve_command("lmm-detector"), completion("lmm-detector"))
for _command in (train, predict, evaluate, visualize, convert, merge, push, demo, ymir, *_shared):
    main.add_command(_command)
