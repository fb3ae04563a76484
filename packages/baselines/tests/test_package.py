from __future__ import annotations

import rbox_baselines
from click.testing import CliRunner
from rbox_baselines._cli import main


def test_the_command_answers() -> None:
    assert CliRunner().invoke(main, ["--version"]).output.strip().endswith(rbox_baselines.__version__)
    assert "no command yet" in CliRunner().invoke(main, ["--help"]).output
