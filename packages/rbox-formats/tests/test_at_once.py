"""Ctrl-C before and after a command's work; and that a program which imports the packages keeps its own ways."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rbox_formats import _at_once
from rbox_formats.cli import _ending


@pytest.mark.parametrize(
    "words, is_ours",
    [
        (["python", "/usr/bin/rbox-formats", "split"], True),
        (["python", "C:/x/lmm-detector.exe"], True),
        (["python", "-m", "rbox_metrics", "evaluate"], True),
        (["python", "-u", "-m", "lmm_detector"], True),
        (["python", "-X", "dev", "-m", "lmm_detector"], False),  # an option with a value is not looked through
        (["python", "-m", "pytest", "-m", "lmm_detector"], False),
        (["python", "mine.py", "-m", "rbox_formats"], False),
        (["python", "-c", "import rbox_formats"], False),
        (["python"], False),
        ([], False),
    ],
)
def test_which_processes_are_commands(words: list[str], is_ours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "orig_argv", words)
    assert _at_once.is_command() is is_ours


def command(tmp_path: Path, numpy: str) -> subprocess.CompletedProcess[str]:
    """A command that meets another numpy: its first import that takes long."""
    (tmp_path / "numpy.py").write_text(numpy)
    return subprocess.run(
        [sys.executable, "-m", "rbox_formats", "--help"],
        env={"PYTHONPATH": f"{tmp_path}:{Path(_at_once.__file__).parents[1]}"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_ctrl_c_while_a_command_loads(tmp_path: Path) -> None:
    done = command(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhile True: pass\n")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Stopped by Ctrl-C.\n")


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    """As nohup has it, and a shell's background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = command(tmp_path, "import signal, sys\nsys.exit(str(signal.getsignal(signal.SIGINT)))\n")
    finally:
        signal.signal(signal.SIGINT, before)
    assert done.stderr == f"{signal.SIG_IGN!s}\n"


def test_others_keep_their_handler() -> None:
    code = """
import signal
import rbox_formats.cli.main
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
try:
    rbox_formats.cli.main.main(["--help"])
except SystemExit:
    pass
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)


def test_the_code_does_not_depend_on_where_it_comes() -> None:
    """In a text that is run, Python forgets what became of the KeyboardInterrupt and kills itself at its end."""
    code = """
import click
from rbox_formats.cli import Group
main = Group("main")
@main.command()
def wait():
    exec("import os, signal\\nos.kill(os.getpid(), signal.SIGINT)\\nwhile True: pass")
main()
"""
    done = subprocess.run([sys.executable, "-c", code, "wait"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "Stopped by Ctrl-C.\n")


ENDLESS = """
import atexit, concurrent.futures, os, signal, sys, time
from rbox_formats.cli import Group, _ending
_ending.GRACE = _ending.LIMIT = 0.5
main = Group("main")
atexit.register(lambda: sys.stderr.write("noise"))
@main.command()
def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
@main.command()
def swallow():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(60)
@main.command()
def thread():
    concurrent.futures.ThreadPoolExecutor(1).submit(time.sleep, 60)
    os.kill(os.getpid(), signal.SIGINT)
@main.command()
def error():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        raise RuntimeError("a library's word for it")
@main.command()
def done():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        pass
@main.command()
def callback():
    import ctypes
    def interrupted():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    ctypes.CFUNCTYPE(None)(interrupted)()
    time.sleep(60)
main()
"""


@pytest.mark.parametrize("case", ["callback", "interrupt", "swallow", "thread", "error", "done"])
def test_it_ends_in_time(case: str) -> None:
    """Whatever a library makes of the interrupt: it swallows it, waits for a thread, says things when all is over."""
    begun = time.monotonic()
    assert _ending.GRACE < _ending.LIMIT < 5
    done = subprocess.run([sys.executable, "-c", ENDLESS, case], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (130, "Stopped by Ctrl-C.\n")
    assert time.monotonic() - begun < 30  # half of that the program sleeps where nobody ends it
