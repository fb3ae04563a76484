"""How commands end that are interrupted, and those whose output has no reader any more.

Ctrl-C reaches all processes of a command at once. The main process stops its work by a KeyboardInterrupt, as Python
does, and tidies up; the others ignore it, since the main process ends them. It is bound to be over soon, whatever a
library makes of it: a thread, which the signal wakes also while the main thread is deep in compiled code, ends the
workers after `GRACE` seconds and the process itself after `LIMIT`.
"""

from __future__ import annotations

import atexit
import io
import multiprocessing
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from rbox_formats import _at_once

GRACE, LIMIT = 2.0, 4.0

# A terminal, and a program between it and us, may both pass on one Ctrl-C. What comes later is another one.
_SAME = 0.5


class Watch:
    """Whether the user has stopped the command, and the promise that it then ends.

    Args:
        is_all: Whether the process does nothing else.

    Attributes:
        stopped: Whether there was a Ctrl-C.
    """

    def __init__(self, is_all: bool) -> None:
        self.stopped = False
        self._is_all = is_all
        self._process = os.getpid()
        self._said = threading.Lock()
        self._woken, self._bell = os.pipe()
        os.set_blocking(self._bell, False)
        self._before = signal.signal(signal.SIGINT, self._on_interrupt)
        self._bell_before = signal.set_wakeup_fd(self._bell, warn_on_full_buffer=False)
        self._hook_before, sys.unraisablehook = sys.unraisablehook, self._on_unraisable
        if is_all:
            atexit.register(self._leave)
        threading.Thread(target=self._end_in_time, daemon=True, name="rbox-interrupt").start()

    def close(self) -> None:
        """Gives the signal back; not after a Ctrl-C: until the process has ended, another one changes nothing.

        A process that is nothing but the command has done its work, and ends at once if there is one now.
        """
        if self.stopped:
            return
        sys.unraisablehook = self._hook_before
        signal.set_wakeup_fd(self._bell_before)
        signal.signal(signal.SIGINT, _at_once.end if self._is_all else self._before)
        os.close(self._bell)  # which ends the thread

    def say(self) -> None:
        """Tell the user once, and show nothing after that: what libraries say about it is of no help."""
        if not self._said.acquire(blocking=False):
            return
        with suppress(OSError):
            _at_once.say()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)

    def forget(self) -> None:
        """In a child of the process: it is the parent who says what to do."""
        with suppress(ValueError):
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _leave(self) -> None:
        """At the end of the process, after a Ctrl-C: sees to the exit code.

        Python's own is another where the KeyboardInterrupt came in a text that was run by `exec`, as libraries do while
        they load, whatever became of it afterwards.
        """
        if self.stopped and os.getpid() == self._process:
            _end_workers()
            os._exit(_at_once.STOPPED)

    def _on_interrupt(self, _signal: int, _frame: FrameType | None) -> None:
        if not self.stopped and os.getpid() == self._process:
            self.stopped = True
            raise KeyboardInterrupt

    def _on_unraisable(self, problem: Any) -> None:
        """Python says so where an exception gets no further: the interrupt in a callback out of C, such as Numba's.

        The command ends all the same, in time.
        """
        if not (self.stopped and isinstance(problem.exc_value, KeyboardInterrupt)):
            self._hook_before(problem)

    def _end_in_time(self) -> None:
        while (read := os.read(self._woken, 1)) != bytes([signal.SIGINT]):
            if not read:
                os.close(self._woken)
                return
        first = time.monotonic()
        ended = False
        while (passed := time.monotonic() - first) < LIMIT:
            if not ended and passed >= GRACE:
                _end_workers()
                ended = True
            again = select.select([self._woken], [], [], 0.1)[0] and os.read(self._woken, 1) == bytes([signal.SIGINT])
            if again and passed > _SAME:
                break
        self.say()
        _end_workers()
        os._exit(_at_once.STOPPED)


def _end_workers() -> None:
    for worker in multiprocessing.active_children():
        with suppress(OSError, ValueError):
            worker.kill()


_watch: Watch | None = None


def _after_fork() -> None:
    if _watch is not None:
        _watch.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def watched(is_all: bool) -> Iterator[Watch | None]:
    """Yields what watches for Ctrl-C in the block; None where the program has a handler of its own, or ignores it.

    That is in another than the main thread, in a program with a handler of its own, and where it is ignored (by nohup,
    in a shell's background).
    """
    global _watch
    is_ours = threading.current_thread() is threading.main_thread()
    handlers = (signal.default_int_handler, _at_once.end)
    if not is_ours or _watch is not None or signal.getsignal(signal.SIGINT) not in handlers:
        yield None
        return
    _watch = Watch(is_all)
    try:
        yield _watch
    finally:
        _watch.close()
        if not _watch.stopped:
            _watch = None


class _Pipe(io.FileIO):
    """An open file that takes what is written also when it has no reader any more."""

    def write(self, data: Any) -> int:
        """Writes what it can; without a reader, nothing."""
        with suppress(BrokenPipeError):
            written: int | None = super().write(data)
            return written or 0
        return memoryview(data).nbytes


@contextmanager
def lasting_output() -> Iterator[None]:
    """Let a command finish in the block when its output has no reader any more: `command | head` ends as `command`."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_lasting(stream, number) for number, stream in enumerate(before, start=1))
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(ValueError):  # closed
                stream.flush()
        sys.stdout, sys.stderr = before


def _lasting(stream: Any, number: int) -> Any:
    """The same stream, over a `_Pipe`; itself where it is not the process's own, as in tests and notebooks."""
    try:
        if not isinstance(stream, io.TextIOWrapper) or stream.fileno() != number:
            return stream
        stream.flush()
    except (OSError, ValueError):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Pipe(number, "w", closefd=False)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
