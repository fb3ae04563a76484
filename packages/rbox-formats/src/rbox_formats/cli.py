"""What the four packages' command lines share: how errors end a command, progress bars, options of the same name."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import click

from rbox_formats.errors import RboxError

if TYPE_CHECKING:
    from rbox_formats._records import ClassNames

# How a name that is meant as a file ends.
_NAME_FILES = (".txt", ".names", ".list", ".csv")

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@runtime_checkable
class SizedIterable(Protocol[T_co]):
    """What can be gone through and knows how many there are: lists, datasets."""

    def __len__(self) -> int:
        """How many."""

    def __iter__(self) -> Iterator[T_co]:
        """One after the other."""


class Listing(click.Command):
    """A command whose help ends with the formats and codecs that its options take."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Loads them only now."""
        from dataclasses import fields

        from rbox_formats import codecs, datasets

        names = {parameter.name for parameter in self.params}
        with formatter.section("Names"):
            rows = []
            if "format" in names:
                rows.append(("formats", ", ".join(name for name, entry in datasets.FORMATS.items() if entry.read)))
            if "to" in names or "out_format" in names:
                rows.append(("written only", ", ".join(n for n, entry in datasets.FORMATS.items() if not entry.read)))
            if "codec" in names:
                options = {name: [field.name for field in fields(codec)] for name, codec in codecs.CODECS.items()}
                listed = (f"{name} ({', '.join(own)})" if own else name for name, own in options.items())
                rows.append(("codecs (options)", ", ".join(listed)))
            formatter.write_dl(rows)


class Advance(Protocol):
    """Moves a progress bar."""

    def __call__(self, step: int, note: str = "") -> None:
        """By so many steps; the note stands at its end."""


class Group(click.Group):
    """A click group whose commands answer bad input with one message and exit code 1, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; turns the packages' own errors, and files that the system refuses, into click's."""
        try:
            with _plain_warnings():
                return super().invoke(ctx)
        except (RboxError, OSError) as error:
            # OSError: a file that cannot be read or written, a full disk; its words name the file where there is one.
            raise click.ClickException(str(error)) from error


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Shows warnings without the place in the code that they come from."""
    import warnings

    with warnings.catch_warnings():  # which puts the function back
        warnings.showwarning = lambda message, *_, **__: click.echo(f"Warning: {message}", err=True)
        yield


def track(items: SizedIterable[T], description: str) -> Iterator[T]:
    """The items again, with a progress bar on standard error while they go by.

    Args:
        items: What to go through.
        description: What is being done, for the bar's left.
    """
    with progress(description, len(items)) as advance:
        for item in items:
            yield item
            advance(1)


# The bars that are shown: one inside another stands below it.
_shown: ContextVar[Any] = ContextVar("_shown", default=None)


@contextmanager
def progress(description: str, total: int) -> Iterator[Advance]:
    """A progress bar on standard error; yields the function that moves it on by so many, with a note at its end."""
    with _bars() as bars:
        task = bars.add_task(description, total=total, note="")

        def advance(step: int, note: str = "") -> None:
            bars.update(task, advance=step, note=note)

        outermost = len(bars.tasks) == 1
        try:
            yield advance
        finally:
            if not outermost:
                bars.remove_task(task)


@contextmanager
def _bars() -> Iterator[Any]:
    """Those that are shown already, or new ones."""
    from rich import progress as rich_progress
    from rich.console import Console

    if (shown := _shown.get()) is not None:
        yield shown
        return
    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TimeRemainingColumn(),
        rich_progress.TextColumn("left"),
        rich_progress.TextColumn("{task.fields[note]}"),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True), disable=not is_first_process()) as bars:
        _shown.set(bars)
        try:
            yield bars
        finally:
            _shown.set(None)  # not by a token, which is of one context: a generator may be closed from another


def dataset_options(*, required: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds `--data`, `--format` and `--split`."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        function = click.option("--split", help="The part of the dataset, where it has parts, such as 'val'.")(function)
        function = click.option("--format", default="dota", show_default=True, help="The dataset's format.")(function)
        return click.option("--data", type=Path, required=required, help="The dataset's folder.")(function)

    return add


def codec_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--codec`, and its `--codec-option`."""
    codec = click.option("--codec", default="florence2", show_default=True, help="The text format.")
    return codec(codec_settings_option(function))


def codec_settings_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--codec-option NAME=VALUE`, which may be given often and comes as the dict `codec_options`."""
    return click.option(
        "--codec-option",
        "codec_options",
        multiple=True,
        metavar="NAME=VALUE",
        callback=lambda _context, _option, value: parse_options(value),
        help="An option of the codec, such as version=3; more than one may be given.",
    )(function)


def input_size_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--input-size WIDTHxHEIGHT`, which comes as a pair or None."""
    return click.option(
        "--input-size",
        metavar="WIDTHxHEIGHT",
        callback=lambda _context, _option, value: None if value is None else parse_size(value),
        help="What the model sees, in pixels, for codecs that count in those. [default: the image's own size]",
    )(function)


def parse_size(value: str) -> tuple[int, int]:
    """A (width, height) from the command line."""
    width, _, height = value.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise click.BadParameter(f"expected WIDTHxHEIGHT in pixels, such as 1008x1008, got {value!r}")
    return int(width), int(height)


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE pairs from the command line; a value that reads as JSON is taken as such, others as text."""
    options = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.BadParameter(f"expected NAME=VALUE, got {pair!r}")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


def class_names_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--class-names`, as a comma-separated list or a file with a name per line; None where it is not given."""
    return click.option(
        "--class-names",
        callback=lambda _context, _option, value: None if value is None else parse_class_names(value),
        help="The classes: a comma-separated list, a file with one name per line, or a dataset format that has a list. "
        "[default: those of --format]",
    )(function)


def is_first_process() -> bool:
    """Whether this is the only process, or the first of those that torchrun or SLURM started: the one that speaks."""
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"


def show_messages(*names: str) -> None:
    """Shows the messages of packages' loggers on standard error; of other processes than the first, errors only."""
    import logging

    for name in names:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO if is_first_process() else logging.ERROR)
        if not logger.handlers:
            logger.addHandler(logging.StreamHandler())


def parse_class_names(value: str) -> ClassNames:
    """Class names from the command line: between commas, a file with a name per line, or a format that has a list."""
    from rbox_formats import datasets
    from rbox_formats._records import ClassNames

    if value in datasets.FORMATS and (listed := datasets.FORMATS[value].class_names):
        return listed
    is_file = "," not in value and Path(value).is_file()
    if not is_file and "," not in value and ("/" in value or Path(value).suffix in _NAME_FILES):
        raise click.BadParameter(f"expected a file of class names, found none: {value}")
    try:
        names = Path(value).read_text(encoding="utf-8-sig").splitlines() if is_file else value.split(",")
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"expected UTF-8 text in {value}, got {error}") from error
    found = ClassNames(name.strip() for name in names if name.strip())
    if not found:
        raise click.BadParameter(f"expected class names, got none in {value!r}")
    return found
