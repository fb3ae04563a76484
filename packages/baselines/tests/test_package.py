from __future__ import annotations

import rbox_baselines
from click.testing import CliRunner
from rbox_baselines.cli.main import main


def test_the_command_answers() -> None:
    assert CliRunner().invoke(main, ["--version"]).output.strip().endswith(rbox_baselines.__version__)


def test_every_public_name_is_there() -> None:
    assert all(getattr(rbox_baselines, name) is not None for name in rbox_baselines.__all__)
