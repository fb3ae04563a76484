"""Let one process at a time write to a place, by a lock file beside it.

The lock is a lock of the kernel (by filelock; on Unix, flock) on the file `.<name>.lock` beside the output. It ends
with the process that holds it, however that ends, so that the file of a killed process blocks no other. The holder
writes into the file who it is. filelock opens the file without emptying it, so that a second process can read it.

The file is removed before the lock is released. With plain locks that would be a race: one process removes the file
that another has just opened, and a third makes a new one. filelock avoids it: after it has a lock, it checks that the
file still has its name, and otherwise begins again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shlex
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from rbox_formats.errors import BusyError, RboxError
from rbox_formats.files._temporaries import sweep

_LONGEST_NAME = 200  # in bytes; with prefix and suffix it stays below a file system's 255
_LONGEST_COMMAND = 200
_LONGEST_SIGNATURE = 10_000  # in bytes, of the holder's entry in a lock file
_WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)

# How often, and after how many seconds, a lock without an entry is read again: it may be just taken or just released.
_TRIES, _PAUSE = 10, 0.1


@contextmanager
def locked(*paths: str | Path, wait: bool = False) -> Iterator[None]:
    """Hold a lock on files or folders during the block, so that no other process that asks for it writes to them.

    Missing parent folders are made, and removed if they are still empty at the end. Files that killed processes left
    beside the outputs, or in outputs that are folders, are removed.

    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import files
    >>> with TemporaryDirectory() as folder, files.locked(Path(folder) / "val.jsonl"):
    ...     print("no other process writes here")
    no other process writes here

    Args:
        paths: The files or folders that are written. Relative paths and symbolic links are resolved.
        wait: Whether to wait until other processes release the locks.

    Raises:
        BusyError: If another process holds one of the locks and `wait` is False; the message names it.
        RboxError: If a place cannot be written to.
    """
    with ExitStack() as stack:
        # Always in the same order, or two processes that wait for several locks could wait for each other.
        for place in sorted({Path(os.path.realpath(path)) for path in paths}):
            stack.enter_context(_held(place, wait))
        yield


@contextmanager
def _held(place: Path, wait: bool) -> Iterator[None]:
    """Hold the lock of one file or folder."""
    folder = _folder_of_lock(place)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    lock = None
    try:
        lock = _taken(place, folder / _lock_name(place), wait)
        sweep(folder)
        if place.is_dir():
            sweep(place)
        yield
    finally:
        if lock is not None:
            with suppress(OSError):  # Windows removes no file that is open
                Path(lock.lock_file).unlink()
            lock.release()
        for path in missing:
            try:
                path.rmdir()
            except OSError:
                break


def _folder_of_lock(place: Path) -> Path:
    """Return the folder of the lock file: beside the output, or in it where its parent cannot be written to."""
    beside = place.parent
    return place if place.is_dir() and not os.access(beside, os.W_OK) else beside


def _lock_name(place: Path) -> str:
    name = os.fsencode(place.name)
    return f".{place.name if len(name) <= _LONGEST_NAME else hashlib.sha256(name).hexdigest()}.lock"


def _taken(place: Path, path: Path, wait: bool) -> Any:
    """Take and return the lock; None on a file system that has no locks."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, blocking=False, on_acquired=_sign)
    tries = 0
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            tries += 1
            holder = _holder(path)
            if tries >= _TRIES and not path.exists():
                _require_file(place, path)
            if not wait and (holder is not None or tries == _TRIES):
                message = f"expected no other process to write here, found {holder or 'another process'}"
                remedy = "Wait for it to end (--wait does), or choose another place to write to."
                raise BusyError(message, path=place, remedy=remedy) from None
        except FileNotFoundError as error:  # another process has removed the folder, which it had made
            tries += 1
            if tries == _TRIES:
                raise _cannot_write(place, str(error.strerror)) from error
        except (FileExistsError, NotADirectoryError) as error:
            there = next(above for above in path.parents if above.exists())
            raise _cannot_write(place, f"a file at {there}") from error
        except OSError as error:
            if error.errno in _WITHOUT_LOCKS:
                warnings.warn(
                    f"{path.parent}: this file system has no locks; make sure that no other run writes there",
                    stacklevel=2,
                )
                return None
            if isinstance(error, PermissionError) and path.exists():
                raise RboxError(
                    "expected a lock that this user may take, found one of another user",
                    path=path,
                    remedy="Remove it if no run of that user's writes here.",
                ) from error
            raise _cannot_write(place, str(error.strerror)) from error
        else:
            return lock
        time.sleep(_PAUSE)


def _require_file(place: Path, path: Path) -> None:
    """Check that the lock file was made: in /proc it is not, and filelock does not report it.

    It may also be missing because another process has just removed it; then taking the lock is tried again.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o666))
    except OSError as error:
        raise _cannot_write(place, str(error.strerror)) from error


def _cannot_write(place: Path, why: str) -> RboxError:
    return RboxError(
        f"expected a folder that can be written to, got: {why}", path=place, remedy="Choose another --out."
    )


def _sign(handle: int) -> None:
    """Write into a taken lock who holds it."""
    values = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": _command(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    os.ftruncate(handle, 0)  # what a killed process left
    os.lseek(handle, 0, os.SEEK_SET)
    os.write(handle, json.dumps(values).encode())


def _command() -> str:
    """Return the command line of this process, or its beginning."""
    program, *arguments = sys.argv or ["python"]
    path = Path(program)
    words = ["python", "-m", path.parent.name] if path.name == "__main__.py" else [path.name or "python"]
    command = shlex.join([*words, *arguments])
    return command if len(command) <= _LONGEST_COMMAND else command[: _LONGEST_COMMAND - 3] + "..."


def _holder(path: Path) -> str | None:
    """Return who holds a lock, as the file says; None where it does not, or names a dead process.

    A dead process is one that was killed; the current holder is about to write its own entry.
    """
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(_LONGEST_SIGNATURE))
        pid, host, command, since = (values[name] for name in ("pid", "host", "command", "since"))
        if not isinstance(pid, int) or pid <= 0 or (host == socket.gethostname() and not _is_alive(pid)):
            return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    said = f"process {pid} on {host} ({command}, since {since})"
    return "".join(letter if letter.isprintable() else "?" for letter in said)


def _is_alive(pid: int) -> bool:
    if os.name == "nt":
        return True  # there, `os.kill` kills
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # another user's
    return True
