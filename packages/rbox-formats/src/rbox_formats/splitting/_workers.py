"""Run a function over many items in processes that end when they are asked to, or when their parent is gone."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from typing import Any, TypeVar

from rbox_formats.errors import FormatsError

T = TypeVar("T")

_stop: Event | None = None  # in a worker process: set when it must end


class StoppedError(Exception):
    """A worker was asked to end."""


def check_stop() -> None:
    """End the work of a worker process, if it was asked to stop.

    Raises:
        StoppedError: If it was asked to stop.
    """
    if _stop is not None and _stop.is_set():
        raise StoppedError


def run(function: Callable[..., T], items: Iterable[tuple[Any, ...]], workers: int) -> Generator[T, None, None]:
    """Yield the function's result for each tuple of arguments, as they come; in this process where `workers` is 1.

    Function, arguments and results are pickled. Processes are spawned, so that a script that uses more than one must
    guard its own beginning by `if __name__ == "__main__"`. An error in the function, an interrupt, or a caller that
    stops early ends all workers at their next `check_stop`.

    Raises:
        FormatsError: If a process was killed.
    """
    if workers == 1:
        for item in items:
            yield function(*item)
        return
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(stop,))
    pending: set[Future[T]] = set()
    try:
        for item in items:
            with _uninterrupted():
                pending.add(pool.submit(function, *item))  # this starts the processes
            if len(pending) >= 2 * workers:  # enough that no worker waits, while few items are held
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    except BrokenProcessPool as error:
        remedy = "Give the command again with fewer --workers to resume it. The system's log may say more."
        raise FormatsError("a worker process was killed, perhaps because the memory was full", remedy=remedy) from error
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C to the end of the block, and for processes started in it until they allow it.

    While they start, before `_begin` lets them ignore it, they would print a traceback.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(stop: Event) -> None:
    """Set up a new worker process."""
    import threading

    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process, and the parent handles it
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    import os

    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # no process is left to take the result, and another run may be about to begin
