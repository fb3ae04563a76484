"""Handle Ctrl-C while one of our commands loads, and after its work is done: the process ends at once, with one line.

While the command works, `rbox_formats.cli` handles it. This module is the first that `rbox_formats` imports, and so one
of the first that any of the commands imports: loading the rest can take a second on a busy machine. In a process that
is not one of our commands, importing this module changes nothing.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from types import FrameType

STOPPED = 130
"""The exit code: 128 and the signal's number, as shells have it."""

_COMMANDS = ("rbox-formats", "rbox-metrics", "lmm-detector", "rbox-baselines")


def say() -> None:
    """Tell the user that the command was stopped; among the processes of one run, only the first does."""
    if os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) == "0":
        os.write(2, b"Stopped by Ctrl-C.\n")


def end(_signal: int, _frame: FrameType | None) -> None:
    """End the process, as the handler of a signal."""
    try:
        say()
    finally:
        os._exit(STOPPED)


def is_command() -> bool:
    """Return whether this process is one of our commands: its script, or `python -m` and its package."""
    words = sys.orig_argv[1:]
    while words and words[0].startswith("-") and words[0] != "-m":
        del words[0]  # an option of Python itself, such as -u from torchrun
    name = "".join(words[1:2]).replace("_", "-") if words[:1] == ["-m"] else Path("".join(words[:1])).stem
    return name in _COMMANDS


if is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, end)
