"""`completion`, which every one of the five commands has: what makes a shell complete its options by the tab key."""

from __future__ import annotations

import os
from pathlib import Path

import click

from rbox_formats.cli._command import Command

_SHELLS = ("bash", "zsh", "fish")


def completion(name: str) -> click.Command:
    """Return the subcommand `completion` of a command.

    Args:
        name: The command, such as "rbox-formats".
    """

    @click.argument("shell", type=click.Choice(_SHELLS), required=False)
    def print_script(shell: str | None) -> None:
        from click.shell_completion import get_completion_class

        chosen = shell or Path(os.environ.get("SHELL", "")).name
        found = get_completion_class(chosen) if chosen in _SHELLS else None
        if found is None:
            raise click.UsageError(f"Name your shell, one of {', '.join(_SHELLS)}.")
        click.echo(found(click.Command(name), {}, name, f"_{name.replace('-', '_').upper()}_COMPLETE").source())

    fish = f"~/.config/fish/completions/{name}.fish"
    print_script.__doc__ = f"""Print a script that completes {name} in a shell.

    SHELL is bash, zsh or fish. [default: your login shell]

    Append the script to the file that your shell reads when it starts, as below, and open a new shell.
    """
    lines = (
        f"{name} completion bash >> ~/.bashrc",
        f"{name} completion zsh >> ~/.zshrc",
        f"{name} completion fish > {fish}",
    )
    made: click.Command = click.command("completion", cls=Command, examples=lines)(print_script)
    return made
