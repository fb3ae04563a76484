"""The command `serve` of every package of detectors, which is that of rbox-serve."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

import click

from rbox_formats.cli._command import Command
from rbox_formats.errors import FormatsError


def serve_command(name: str) -> click.Command:
    """Return the command `serve`.

    Args:
        name: The package's command.
    """

    @click.command(
        "serve",
        cls=Command,
        examples=(f"{name} serve --demo", f"{name} serve --model MODEL --port 8000"),
        context_settings={"ignore_unknown_options": True, "help_option_names": []},
    )
    @click.argument("words", metavar="[OPTIONS]", nargs=-1, type=click.UNPROCESSED)
    @click.pass_context
    def serve(context: click.Context, words: tuple[str, ...]) -> None:
        """Serve detectors over HTTP, and a page that shows them: `rbox-serve run`.

        It takes the options of `rbox-serve run`, which --help lists where that package is installed.
        """
        if find_spec("rbox_serve") is None:
            raise FormatsError(
                "expected the package rbox-serve, which serves detectors; it is not installed",
                remedy="pip install rbox-serve; from a checkout: pip install packages/rbox-formats packages/serve",
            )
        run: click.Command = import_module("rbox_serve.cli.run").run
        with run.make_context(f"{name} serve", list(words), parent=context.parent) as inner:
            run.invoke(inner)

    return serve
