"""Commands that write hold the lock of what they write, as long as they run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click

from rbox_formats.cli._command import option
from rbox_formats.progress import is_first_process

Outputs = str | Callable[[Mapping[str, Any]], Iterable[Path | None]]


def wait_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--wait`, for `holding`."""
    return option("--wait", is_flag=True, help="Wait while another run writes to the same place.")(function)


@contextmanager
def holding(paths: Iterable[Path | None], *, wait: bool, shared: bool = False) -> Iterator[None]:
    """Makes sure that no other command writes to the same files or folders in the block.

    Args:
        paths: What is written; None is left out.
        wait: Waits for the others, and says for whom.
        shared: Of the processes that torchrun started, the first takes the lock for all.

    Raises:
        BusyError: If another command has one of them, and `wait` is off.
    """
    from rbox_formats import files
    from rbox_formats.errors import BusyError

    places = [path for path in paths if path is not None]
    if shared and not is_first_process():
        yield
        return
    if wait:
        try:
            with files.locked(*places):
                pass
        except BusyError as error:
            click.echo(f"Waiting: {str(error).splitlines()[0]}", err=True)
    with files.locked(*places, wait=wait):
        yield


def writes(*outputs: Outputs, shared: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Has a command hold the locks of what it writes, and adds `--wait`.

    Args:
        outputs: The names of parameters that are paths, tuples of paths, or None; or functions that find paths in all
            the parameters.
        shared: As in `holding`.
    """

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def inner(*arguments: Any, wait: bool, **parameters: Any) -> Any:
            found: list[Path | None] = []
            for output in outputs:
                value = parameters[output] if isinstance(output, str) else output(parameters)
                found += [value] if isinstance(value, Path) or value is None else value
            with holding(found, wait=wait, shared=shared):
                return function(*arguments, **parameters)

        return wait_option(inner)

    return add
