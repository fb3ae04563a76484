"""One writer at a time: a lock beside what is written.

The lock is the kernel's (by filelock; on Unix it is flock's), on the file `.<name>.lock` beside the output: it is gone
with the process that holds it, however that ends, and what a killed process leaves is a file that blocks nobody. The
holder writes into it who it is. filelock opens the file without emptying it, so whoever comes second can read that.

The file is removed before the lock is given back. That is no race, as with plain locks, where one process removes the
file that another has just opened, and a third makes a new one: filelock looks, once it has a lock, whether its file
still has a name, and otherwise begins again.
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

_LONGEST_NAME = 200  # in bytes, below a file system's 255 with what is around it
_LONGEST_COMMAND = 200
_LONGEST_SIGNATURE = 10_000  # in bytes, of what a holder writes of itself
_WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)

# How long a lock that says nothing of its holder is looked at again: it may just be taken, or given back.
_TRIES, _PAUSE = 10, 0.1


@contextmanager
def locked(*paths: str | Path, wait: bool = False) -> Iterator[None]:
    """Hold a lock on files or folders during the block, so that no other process that asks for it writes to them.

    Folders that are missing on the way are made; those that are still empty at the end are removed. What killed
    processes left beside the outputs, and in those that are folders, is removed.

    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import files
    >>> with TemporaryDirectory() as folder, files.locked(Path(folder) / "val.jsonl"):
    ...     print("nobody else writes here")
    nobody else writes here

    Args:
        paths: The files or folders that are written. Relative, or by a symbolic link: it is the place that counts.
        wait: Waits until the others are done.

    Raises:
        BusyError: If another process has one of them, and `wait` is off: it says which.
        RboxError: If nothing can be written there.
    """
    with ExitStack() as stack:
        # In one order for all: else two that wait for several would wait for each other.
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
                message = f"expected nobody else to write here, found {holder or 'another process'} at it"
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
                    f"{path.parent}: this file system has no locks; see yourself to it that no other run writes there",
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

    Where others take turns, one has just removed it: that is no reason to give up.
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

    Such a name is what a killed process left, and the one that has the lock now is about to write its own.
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
