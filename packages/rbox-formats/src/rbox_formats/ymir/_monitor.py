"""How far a task is: one line, replaced whole, that never goes back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from rbox_formats import files
from rbox_formats.errors import quoted
from rbox_formats.ymir._env import Env
from rbox_formats.ymir._errors import TaskError

_RUNNING, _FAILED = 2, 4
# The shares of preparing, of the task and of what comes after it, which the platform may set otherwise.
_SHARES = {"PREPROCESS_WEIGHT": 0.00001, "TASK_WEIGHT": 0.99998, "POSTPROCESS_WEIGHT": 0.00001}
_LONGEST_MESSAGE = 300
_PAUSE = 1.0


class Monitor:
    """The file that the platform reads again and again while a task runs.

    >>> from dataclasses import replace
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import ymir
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder) / "monitor.txt"
    ...     monitor = ymir.Monitor(ymir.Env("t1", output=ymir.Output(monitor_file=file)), clock=lambda: 1675840000.5)
    ...     monitor.task(0.5)
    ...     monitor.task(0.25)  # it never goes back
    ...     file.read_text().split()
    ['t1', '1675840000', '0.50', '2', '0']

    Args:
        env: Where the file is, and the name of the task.
        clock: Gives the seconds since 1970.
    """

    def __init__(self, env: Env, clock: Callable[[], float] = time.time) -> None:
        self._env, self._clock = env, clock
        self._before, self._during, _ = _shares()
        self._reached, self._written = 0.0, float("-inf")

    def start(self) -> None:
        """Write that the task has begun."""
        self._move(0.0)

    def prepared(self) -> None:
        """Write that everything is read and checked, and the task itself begins."""
        self._move(self._before)

    def task(self, share: float) -> None:
        """Write how much of the task is done; at most once a second, except for its end.

        Args:
            share: From 0 to 1; less than before changes nothing.
        """
        share = min(max(share, 0.0), 1.0)
        reached = self._before + self._during * share
        if share == 1.0 or self._clock() - self._written >= _PAUSE:
            self._move(reached)
        else:
            self._reached = max(self._reached, reached)

    def part(self, number: int, count: int) -> Part:
        """Return the progress of one of several equal parts of the task.

        Args:
            number: Which part, from 0.
            count: How many there are.
        """
        return Part(self, number, count)

    def done(self) -> None:
        """Write that all is written; that the task succeeded is said by the exit code 0."""
        self._move(1.0)

    def fail(self, code: int, message: str) -> None:
        """Write that the task failed.

        Args:
            code: A value of `CODES`.
            message: What is wrong.
        """
        text = " ".join(message.split())
        self._reached = 1.0
        self._write(_FAILED, code, quoted(text, marks=False) if len(text) > _LONGEST_MESSAGE else text)

    def _move(self, reached: float) -> None:
        self._reached = max(self._reached, min(reached, 1.0))
        self._write(_RUNNING, 0)

    def _write(self, state: int, code: int, message: str = "") -> None:
        now = self._clock()
        name = " ".join(self._env.task_id.split()) or "task"
        line = [name, str(int(now)), f"{self._reached:.2f}", str(state), str(code), *([message] if message else [])]
        files.write_text(self._env.output.monitor_file, "\t".join(line) + "\n")
        self._written = now


@dataclass(frozen=True)
class Part:
    """The progress of a part of a task, such as of mining where inference follows.

    >>> from rbox_formats import ymir
    >>> mining = ymir.Monitor(ymir.Env()).part(0, 2)
    >>> mining(1.0)  # doctest: +SKIP

    Attributes:
        monitor: The monitor of the whole task.
        number: Which part, from 0.
        count: How many there are.
    """

    monitor: Monitor
    number: int
    count: int

    def __call__(self, share: float) -> None:
        """Write how much of the part is done, from 0 to 1."""
        self.monitor.task((self.number + min(max(share, 0.0), 1.0)) / self.count)


def _shares() -> tuple[float, ...]:
    """Return what each step of a task counts.

    Raises:
        TaskError: If the platform sets what is no share, or shares that do not add up to 1.
    """
    try:
        found = tuple(float(os.environ.get(name) or share) for name, share in _SHARES.items())
    except ValueError as error:
        raise TaskError("config", f"expected numbers as {', '.join(_SHARES)}: {error}") from error
    if min(found) < 0 or abs(sum(found) - 1) > 1e-6:
        raise TaskError("config", f"expected {', '.join(_SHARES)} that add up to 1, got {', '.join(map(str, found))}")
    return found
