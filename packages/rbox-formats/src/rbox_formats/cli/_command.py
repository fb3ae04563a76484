"""Commands and options as the five packages have them: titled groups, examples, and old names that still work.

An option of the same meaning has the same name in every command. One that was renamed keeps its old name for one
version: it works, says the new name, and is shown nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import click

from rbox_formats.progress import is_first_process

Title = Literal[
    "Settings",
    "Dataset",
    "Predictions",
    "Model",
    "Text format",
    "Windows and images",
    "Generation",
    "Prediction",
    "Several machines",
    "Training",
    "Adapters",
    "Evaluation during training",
    "Scoring",
    "Output",
    "Network",
    "Limits",
]
_OTHERS = "Other options"

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

# They complete file names in a shell. What is wrong with a file is said by what reads it, in one manner everywhere.
PATH = click.Path(path_type=Path, readable=False)
PATH_TEXT = click.Path(path_type=str, readable=False)


class Option(click.Option):
    """An option with a group in the help, its default shown, and perhaps old names.

    Args:
        old: Names that the option had before this version, such as "--truth".
        group: The title that it is listed under.
    """

    def __init__(self, *arguments: Any, old: Sequence[str] = (), group: Title | None = None, **more: Any) -> None:
        super().__init__(*arguments, **{"show_default": True, **more})
        self.old = (old,) if isinstance(old, str) else tuple(old)
        self.group = group

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Register the option, and its old names with a notice."""
        super().add_to_parser(parser, ctx)
        for name in self.old:
            entry = copy(parser._long_opt[self.opts[0]])
            entry.process = partial(self._take_old, ctx, name, entry.process)
            parser._long_opt[name] = entry

    def _take_old(
        self, ctx: click.Context, name: str, process: Callable[[Any, Any], None], value: Any, state: Any
    ) -> None:
        if not ctx.resilient_parsing:
            say_renamed(ctx, name, self.opts[0])
        process(value, state)


def say_renamed(ctx: click.Context, old: str, new: str) -> None:
    """Tell the user the new name of an option, once for each command line.

    Args:
        ctx: The command's context.
        old: The name that was given.
        new: The name to give, or what to do instead.
    """
    said = ctx.meta.setdefault("rbox_formats.renamed", set())
    if old not in said and is_first_process():
        said.add(old)
        click.echo(f"Warning: {old} is now {new}; the old name will stop working in the next version.", err=True)


class Command(click.Command):
    """A command whose help lists options under titles, and ends with examples.

    Args:
        examples: Whole command lines.
    """

    def __init__(self, *arguments: Any, examples: Sequence[str] = (), **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.examples = tuple(examples)

    def get_short_help_str(self, limit: int = 45) -> str:
        """Return the whole first sentence: the list of commands wraps it where it is too long."""
        return super().get_short_help_str(max(limit, 1000))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, those without a group last."""
        groups: dict[str, list[tuple[str, str]]] = {title: [] for title in get_args(Title)}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                groups.setdefault(getattr(parameter, "group", None) or _OTHERS, []).append(record)
        shown = {title: records for title, records in groups.items() if records}
        for title, records in shown.items():
            with formatter.section(title if len(shown) > 1 else "Options"):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        if self.examples:
            with formatter.section("Examples" if len(self.examples) > 1 else "Example"):
                for line in self.examples:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


class Listing(Command):
    """A command whose help ends with the formats and codecs that its options take."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write them, and the examples; the names are loaded only now."""
        from dataclasses import fields

        from rbox_formats import codecs, datasets

        names = {parameter.name for parameter in self.params}
        with formatter.section("Names"):
            rows = []
            if "format" in names:
                rows.append(("formats", ", ".join(name for name, entry in datasets.FORMATS.items() if entry.read)))
            only = [name for name, entry in datasets.FORMATS.items() if not entry.read]
            if only and ("to" in names or "out_format" in names):
                rows.append(("written only", ", ".join(only)))
            if "codec" in names:
                options = {name: [field.name for field in fields(codec)] for name, codec in codecs.CODECS.items()}
                listed = (f"{name} ({', '.join(own)})" if own else name for name, own in options.items())
                rows.append(("codecs (options)", ", ".join(listed)))
            formatter.write_dl(rows)
        super().format_epilog(ctx, formatter)


def command(*examples: str, cls: type[Command] = Command) -> Callable[[Callable[..., Any]], Command]:
    """Make a command of a function.

    Args:
        examples: Whole command lines, shown at the end of its help.
        cls: The kind of command.
    """
    return click.command(cls=cls, examples=examples)


def option(*names: str, old: str | Sequence[str] = (), group: Title | None = None, **more: Any) -> Decorator:
    """Add an option to a command.

    Args:
        names: As in `click.option`.
        old: Names that it had before this version: they work, and print the new one.
        group: The title that it is listed under in the help.
        **more: As in `click.option`; the default is shown unless `show_default` says otherwise.
    """
    return click.option(*names, cls=Option, old=old, group=group, **more)


def options(*decorators: Decorator) -> Decorator:
    """Return one decorator for several, listed in the help in the order given."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return add


class Known(click.ParamType):
    """One of some names that are loaded when a value is given, as a `click.Choice` that `--help` need not wait for.

    Args:
        what: What they name, such as "format".
        load: Returns the names.
    """

    def __init__(self, what: str, load: Callable[[], Iterable[str]]) -> None:
        self.name = what
        self._load = load

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value.

        Raises:
            BadParameter: If it is none of the names.
        """
        if ctx is not None and ctx.resilient_parsing:  # a shell asks what may come next
            return value
        names = list(self._load())
        if value not in names:
            import difflib

            close = difflib.get_close_matches(str(value), names, n=1)
            hint = f"Did you mean {close[0]!r}? " if close else ""
            self.fail(f"{value!r} is not a known {self.name}. {hint}Choose from {', '.join(names)}.", param, ctx)
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Return the names that begin with what was typed."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(name) for name in self._load() if name.startswith(incomplete)]


def _names_to_read() -> list[str]:
    from rbox_formats import datasets

    return [name for name, entry in datasets.FORMATS.items() if entry.read]


def _names_to_write() -> list[str]:
    from rbox_formats import datasets

    return list(datasets.FORMATS)


def _codec_names() -> list[str]:
    from rbox_formats import codecs

    return list(codecs.CODECS)


FORMAT = Known("format", _names_to_read)
FORMAT_TO_WRITE = Known("format", _names_to_write)
CODEC = Known("codec", _codec_names)
