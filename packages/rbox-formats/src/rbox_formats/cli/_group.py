"""The commands themselves: how they end, and how errors and warnings are shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from rbox_formats import _at_once
from rbox_formats.cli import _ending
from rbox_formats.errors import RboxError
from rbox_formats.progress import is_first_process, showing


class Group(click.Group):
    """A click group whose commands answer bad input with one message and exit code 1, never a traceback.

    Ctrl-C ends them with one line and exit code 130. They finish their work when their output has no reader any more.
    """

    _is_all = False  # whether the process does nothing else: then the arguments are its own

    def main(self, args: Any = None, *more: Any, **extra: Any) -> Any:
        """Runs the command line."""
        self._is_all = args is None
        with _ending.lasting_output():
            return super().main(args, *more, **extra)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: RET503  # `exit` raises
        """Runs the command; turns the packages' own errors, and files that the system refuses, into click's."""
        with _ending.watched(self._is_all) as watch:
            try:
                with _plain_warnings(), showing():
                    result = super().invoke(ctx)
                if watch is None or not watch.stopped:
                    return result
            except (RboxError, OSError) as error:
                # OSError: a file that cannot be read or written, a full disk; its words name the file, if there is one.
                if watch is None or not watch.stopped:
                    raise click.ClickException(str(error)) from error
            except BaseException:
                if watch is None or not watch.stopped:
                    raise
            # Whatever a library made of the interrupt.
            assert watch is not None
            watch.say()
            ctx.exit(_at_once.STOPPED)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Shows warnings without the place in the code that they come from."""
    import warnings

    with warnings.catch_warnings():  # which puts the function back
        warnings.showwarning = lambda message, *_, **__: click.echo(f"Warning: {message}", err=True)
        yield


def show_messages(*names: str) -> None:
    """Shows the messages of packages' loggers on standard error; of other processes than the first, errors only."""
    import logging

    for name in names:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO if is_first_process() else logging.ERROR)
        if not logger.handlers:
            logger.addHandler(logging.StreamHandler())
