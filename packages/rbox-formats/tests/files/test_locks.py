"""One writer at a time: processes of their own hold the locks, are killed, and take turns."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock._native._unix
import pytest
from rbox_formats import files
from rbox_formats.errors import BusyError, RboxError
from rbox_testing.samples import sampled

HOLD = """
import sys
from rbox_formats import files
with files.locked(*sys.argv[1:]):
    print("held", flush=True)
    sys.stdin.read()
"""

Hold = Callable[..., subprocess.Popen]


@pytest.fixture
def start() -> Iterator[Hold]:
    """Starts a program that says when it is ready, and ends when its input does."""
    started = []

    def start(code: str, *arguments: object, cwd: Path | None = None) -> subprocess.Popen:
        words = [sys.executable, "-c", code, *map(str, arguments)]
        process = subprocess.Popen(words, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        process.ready = process.stdout.readline().strip()
        assert process.ready
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def kill(process: subprocess.Popen) -> None:
    process.kill()
    assert process.wait() == -signal.SIGKILL


def test_the_second_says_who_is_the_first(tmp_path: Path, start: Hold) -> None:
    out = tmp_path / "out.json"
    holder = start(HOLD, out)
    before = (tmp_path / ".out.json.lock").read_bytes()
    with pytest.raises(BusyError) as error, files.locked(out):
        pass
    first, remedy = str(error.value).splitlines()
    assert (
        f"{out}: expected no other process to write here, found process {holder.pid} on {socket.gethostname()} (-c "
        in first
    )
    assert "--wait" in remedy
    assert (tmp_path / ".out.json.lock").read_bytes() == before  # what the holder wrote is still there
    holder.communicate()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_does_not_block(tmp_path: Path, start: Hold) -> None:
    out = tmp_path / "out"
    kill(start(HOLD, out))
    assert [path.name for path in tmp_path.iterdir()] == [".out.lock"]
    with files.locked(out):
        values = json.loads((tmp_path / ".out.lock").read_text())
        assert values["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("spelling", ["out", "../there/out", "link/out", "./x/../out", "to_out"])
def test_it_is_the_place_that_counts(tmp_path: Path, start: Hold, spelling: str) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "x").mkdir()
    (there / "link").symlink_to(there)
    (there / "to_out").symlink_to("out")
    start(HOLD, spelling, cwd=there)
    with pytest.raises(BusyError), files.locked(tmp_path / "there" / "out"):
        pass
    with files.locked(there / "other"):
        pass


def test_several_outputs(tmp_path: Path, start: Hold) -> None:
    start(HOLD, tmp_path / "b", tmp_path / "c")
    with pytest.raises(BusyError, match="/b: "), files.locked(tmp_path / "b", tmp_path / "a", tmp_path / "b"):
        pass
    with files.locked(tmp_path / "a"):  # which was given back
        pass


def test_folders_that_are_not_there(tmp_path: Path) -> None:
    with files.locked(tmp_path / "new" / "deep" / "out"):
        assert (tmp_path / "new" / "deep").is_dir()
    assert list(tmp_path.iterdir()) == []
    with files.locked(tmp_path / "new" / "deep" / "out"):
        files.write_text(tmp_path / "new" / "deep" / "out", "text")
    assert sorted(tmp_path.rglob("*"))[-1] == tmp_path / "new" / "deep" / "out"


@contextmanager
def another_user() -> Iterator[Path]:
    """Yields a folder of root's that others may enter, and is nobody in the block."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        inside = Path(name) / "out"
        inside.mkdir()
        inside.chmod(0o777)
        os.setresuid(65534, 65534, 0)
        try:
            yield Path(name)
        finally:
            os.setresuid(0, 0, 0)


def test_a_folder_in_one_that_cannot_be_written_to() -> None:
    with another_user() as parent:
        with files.locked(parent / "out"):
            assert [path.name for path in (parent / "out").iterdir()] == [".out.lock"]
            with pytest.raises(BusyError, match=f"process {os.getpid()} "), files.locked(parent / "out"):
                pass
        assert list((parent / "out").iterdir()) == []
        with pytest.raises(RboxError, match="expected a folder that can be written to"), files.locked(parent / "new"):
            pass


def test_a_lock_of_another_user() -> None:
    with another_user() as parent:
        os.seteuid(0)
        (parent / "out" / ".x.lock").write_text("")
        os.seteuid(65534)
        with pytest.raises(RboxError, match="found one of another user"), files.locked(parent / "out" / "x"):
            pass


@pytest.mark.parametrize("out", ["/proc/out", "file/out"])
def test_where_nothing_can_be_written(tmp_path: Path, out: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RboxError, match="expected a folder that can be written to"), files.locked(tmp_path / out):
        pass


def test_waiting(tmp_path: Path, start: Hold) -> None:
    holder = start(HOLD, tmp_path / "out")
    waiting = """
import sys
from rbox_formats import files
print("begun", flush=True)
with files.locked(sys.argv[1], wait=True):
    print("held", flush=True)
"""
    second = start(waiting, tmp_path / "out")
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(0.4)
    kill(holder)
    assert second.communicate(timeout=60)[0] == "held\n"
    assert list(tmp_path.iterdir()) == []


def test_many_take_turns(tmp_path: Path, start: Hold) -> None:
    """Each removes the lock's file when it is done: never do two hold it, the old file's and a new one's."""
    counter = tmp_path / "sub" / "counter"
    code = f"""
import sys
from pathlib import Path
from rbox_formats import files
import rbox_formats.files._locks as locks
locks._PAUSE = 0.0005
counter = Path({str(counter)!r})
print("begun", flush=True)
for _ in range(100):
    with files.locked(counter, wait=True):
        before = int(counter.read_text()) if counter.exists() else 0
        with counter.open("w") as file:
            file.write(str(before + 1))
"""
    processes = [start(code) for _ in range(3)]
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert counter.read_text() == "300"


def test_a_fork_does_not_keep_the_lock_of_its_killed_parent(tmp_path: Path, start: Hold) -> None:
    """As workers that load data do for some seconds."""
    code = """
import os, sys, time
from rbox_formats import files
with files.locked(sys.argv[1]):
    child = os.fork()
    if child == 0:
        time.sleep(60)
    print(child, flush=True)
    sys.stdin.read()
"""
    holder = start(code, tmp_path / "out")
    try:
        kill(holder)
        os.kill(int(holder.ready), 0)
        with files.locked(tmp_path / "out"):
            pass
    finally:
        os.kill(int(holder.ready), signal.SIGKILL)


@pytest.mark.parametrize(
    "wrote, shown",
    sampled(
        [(None, "?[31mred?Error: ok"), ("[" * 9_000, "another process"), ("{}" + " " * 99_999, "another")],
        [(None, "?[31mred?Error: ok")],
    ),
)
def test_what_a_stranger_wrote_into_a_lock_is_shown_harmlessly(
    tmp_path: Path, start: Hold, wrote: str | None, shown: str
) -> None:
    code = f"""
import fcntl, json, os, socket, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
holder = dict(pid=os.getpid(), host=socket.gethostname(), command="\\x1b[31mred\\nError: ok", since="now")
file.write({wrote!r} or json.dumps(holder))
file.flush()
print("held", flush=True)
sys.stdin.read()
"""
    start(code, tmp_path / ".out.lock")
    with pytest.raises(BusyError) as error, files.locked(tmp_path / "out"):
        pass
    assert shown in str(error.value)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("left", ["", "no JSON", "[]", '{"pid": -1}', '{"pid": "x", "host": 1}', "[" * 10_000, "\0"])
def test_what_is_in_a_lock_that_nobody_holds_does_not_matter(tmp_path: Path, left: str) -> None:
    (tmp_path / ".out.lock").write_text(left)
    with files.locked(tmp_path / "out"):
        assert json.loads((tmp_path / ".out.lock").read_text())["pid"] == os.getpid()


def test_a_link_in_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / ".out.lock").symlink_to("precious")
    with pytest.raises(RboxError), files.locked(tmp_path / "out"):
        pass
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(handle: int) -> bool:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(filelock._native._unix, "lock_fd_nonblocking", flock)
    with pytest.warns(UserWarning, match="this file system has no locks"), files.locked(tmp_path / "out"):
        pass


@pytest.mark.parametrize("name", ["a" * 255, "\u6e2f" * 85, ".", "a b\n"])
def test_names_of_any_kind(tmp_path: Path, name: str) -> None:
    with files.locked(tmp_path / name):
        pass
    assert list(tmp_path.iterdir()) == []
