"""Progress bars on standard error, shown only on request.

A library function that takes long has a parameter `progress=False` and runs its work inside `showing(progress)`; a
command runs inside `showing()`. Outside of such a block, `track` and `progress_bar` draw nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar, runtime_checkable

__all__ = ["Advance", "SizedIterable", "is_first_process", "progress_bar", "showing", "track"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@runtime_checkable
class SizedIterable(Protocol[T_co]):
    """An iterable with a length, such as a list or a dataset."""

    def __len__(self) -> int:
        """Return how many items there are."""

    def __iter__(self) -> Iterator[T_co]:
        """Yield one item after the other."""


@runtime_checkable
class Advance(Protocol):
    """A function that moves a progress bar."""

    def __call__(self, step: int, note: str = "") -> None:
        """Move it by some steps, and show a note at its end."""


def is_first_process() -> bool:
    """Return whether this is the only process, or the first of those that torchrun or SLURM started.

    >>> from rbox_formats.progress import is_first_process
    >>> is_first_process()
    True
    """
    return os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0"


def track(items: SizedIterable[T], description: str) -> Iterator[T]:
    """Yield the items, and move a progress bar on after each.

    >>> from rbox_formats.progress import showing, track
    >>> with showing(False):
    ...     print([item * 2 for item in track([1, 2, 3], "doubling")])
    [2, 4, 6]

    Args:
        items: The items to go through.
        description: The text at the left of the bar.
    """
    with progress_bar(description, len(items)) as advance:
        for item in items:
            yield item
            advance(1)


# Whether bars are wanted.
_asked_for: ContextVar[bool] = ContextVar("_asked_for", default=False)


@contextmanager
def showing(wanted: bool = True) -> Iterator[None]:
    """Show the progress bars of the block.

    >>> from rbox_formats.progress import showing, track
    >>> with showing(False):
    ...     print(sum(track([1, 2, 3], "adding")))
    6

    Args:
        wanted: Whether to show them. False changes nothing: bars that an outer block shows are still shown.
    """
    before, outer = _asked_for.get(), _shown.get()
    _asked_for.set(before or wanted)
    try:
        yield
    finally:
        _asked_for.set(before)  # not by a token, which belongs to one context: a generator may be closed in another
        # An error may hold a `track` that is not closed until much later, perhaps in another thread.
        if (left := _shown.get()) not in (None, outer):
            _end(left)


# The bars that are shown; an inner bar stands below its outer one.
_shown: ContextVar[Any] = ContextVar("_shown", default=None)


def _end(bars: Any) -> None:
    """End what is shown, once."""
    if bars.live.is_started:
        bars.stop()
    if _shown.get() is bars:
        _shown.set(None)


@contextmanager
def progress_bar(description: str, total: int) -> Iterator[Advance]:
    """Show a progress bar; yield the function that moves it on by some steps, with a note at its end.

    >>> from rbox_formats.progress import progress_bar
    >>> with progress_bar("reading", total=2) as advance:
    ...     advance(1)
    ...     advance(1, note="done")

    Args:
        description: The text at the left of the bar.
        total: The number of steps.
    """
    if not _asked_for.get():
        yield lambda step, note="": None
        return
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
    """Yield the bars that are shown already, or new ones."""
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
    bars = rich_progress.Progress(*columns, console=Console(stderr=True), disable=not is_first_process())
    bars.start()
    _shown.set(bars)
    try:
        yield bars
    finally:
        _end(bars)
