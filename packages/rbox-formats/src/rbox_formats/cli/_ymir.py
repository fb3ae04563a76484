"""The command `ymir` of every package of detectors."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from rbox_formats.cli._command import PATH, command, option


def ymir_command(name: str) -> Callable[[Callable[[], Any]], click.Command]:
    """Return a decorator that makes the command `ymir` of a function that returns the package's part of it.

    Args:
        name: The package's command.
    """

    def make(package: Callable[[], Any]) -> click.Command:
        @command(f"{name} ymir", f"{name} ymir --env in/env.yaml")
        @option(
            "--env",
            "env_file",
            type=PATH,
            help="The platform's file env.yaml. [default: what DEFAULT_ENV_FILE_PATH names, else /in/env.yaml]",
            group="Settings",
        )
        @click.pass_context
        @wraps(package)
        def ymir(context: click.Context, env_file: Path | None) -> None:
            from rbox_formats import executor

            context.exit(executor.run(package(), env_file))

        return ymir

    return make
