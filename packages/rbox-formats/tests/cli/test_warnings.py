"""Warnings as a user reads them."""

from __future__ import annotations

import warnings

import click
import pytest
from click.testing import CliRunner
from rbox_formats.cli import Group


@pytest.mark.filterwarnings("default")
def test_a_warning_is_a_line_without_a_place_in_the_code() -> None:
    @click.group(cls=Group)
    def main() -> None:
        """Commands."""

    @main.command()
    def careless() -> None:
        warnings.warn("these are probably degrees", UserWarning, stacklevel=1)

    before = warnings.showwarning
    result = CliRunner().invoke(main, ["careless"])
    assert result.output == "Warning: these are probably degrees\n"
    assert warnings.showwarning is before
