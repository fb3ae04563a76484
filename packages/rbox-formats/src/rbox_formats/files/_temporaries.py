"""Temporary files and folders whose owner is known, so that the next process removes those of a killed one.

The owner holds a lock of the kernel on its temporary file, or on a file in its temporary folder. The kernel releases it
when the process ends, however it ends, so that a process that gets the lock knows that the owner is gone. Process
numbers are not used: they are reused, and differ between containers.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rbox_formats.files._paths import as_path, reaching

try:
    import fcntl
except ImportError:  # Windows: nothing is known to be abandoned, and nothing is removed
    fcntl = None  # type: ignore[assignment]

_PREFIX = ".rbox-tmp-"
_OURS = re.compile(re.escape(_PREFIX) + r"[a-z0-9_]{8}(\.[^/]*)?")  # as `tempfile` fills it up
_OWNER = "owner"  # the file in a temporary folder that its owner keeps a lock on

_LONGEST_SUFFIX = 32  # in bytes, of a temporary file; with its name it stays far below a file system's 255

_swept: set[str] = set()
"""The folders that this process has swept, so that a writer of many files sweeps once."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield the path of a temporary file that takes the place of `path` when the block ends without an error.

    Readers see the old file or the new one, never a half-written one, even if the process is killed. Temporary files of
    killed processes in the folder are removed.

    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import files
    >>> with TemporaryDirectory() as folder:
    ...     with files.replacing(Path(folder) / "report.json") as temporary:
    ...         _ = temporary.write_text("{}")
    ...     print([path.name for path in Path(folder).iterdir()])
    ['report.json']

    Raises:
        DatasetError: If the path cannot be written to.
    """
    path = as_path(path)
    with reaching(path, "a place to write to"):
        path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays, since some libraries choose a file's format by it; the name does not, since a file system's
    # longest name with something before it would be too long.
    suffix = path.suffix if len(os.fsencode(path.suffix)) <= _LONGEST_SUFFIX else ""
    _sweep_once(path.parent)
    with reaching(path, "a place to write to"):
        handle, temporary = _new_file(path.parent, suffix)
    try:
        # mkstemp's files are readable by their owner alone; this one gets the permissions of any new file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        yield temporary
        with reaching(path, "a place to write to"):
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)


@contextmanager
def temporary_folder(parent: str | Path) -> Iterator[Path]:
    """Yield a new hidden folder in a folder that is there; it is removed at the end of the block.

    Temporary folders of killed processes in `parent` are removed first. A file named `owner` in the new folder is used
    for its lock.

    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import files
    >>> with TemporaryDirectory() as parent:
    ...     with files.temporary_folder(parent) as folder:
    ...         _ = (folder / "part.bin").write_bytes(b"1")
    ...     print(folder.exists())
    False
    """
    parent = Path(parent)
    _sweep_once(parent)
    handle, folder = _new_folder(parent)
    try:
        yield folder
    finally:
        _remove(folder)
        os.close(handle)


def sweep(folder: str | Path) -> None:
    """Remove the temporary files and folders, directly in a folder, whose owners are dead."""
    _swept.add(str(Path(folder).absolute()))
    if fcntl is None:
        return
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            if _OURS.fullmatch(entry.name) and (is_folder or entry.is_file(follow_symlinks=False)):
                with suppress(OSError):
                    _remove_abandoned(Path(entry.path), is_folder=is_folder)


def _sweep_once(folder: Path) -> None:
    if str(folder.absolute()) not in _swept:
        sweep(folder)


def _new_file(folder: Path, suffix: str) -> tuple[int | None, Path]:
    """Return a new temporary file, and the open file that holds its lock; None where there are no such locks."""
    while True:
        handle, name = tempfile.mkstemp(dir=folder, prefix=_PREFIX, suffix=suffix)
        if fcntl is None:
            os.close(handle)  # Windows moves no file that is open
            return None, Path(name)
        if _owns(handle):
            return handle, Path(name)
        os.close(handle)  # another process took it for abandoned, before there was a lock on it


def _new_folder(parent: Path) -> tuple[int, Path]:
    """Return a new temporary folder, and the open file that holds its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=_PREFIX))
        try:
            handle = os.open(folder / _OWNER, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        except FileNotFoundError:
            continue  # another process took it for abandoned, before there was anything in it
        if _owns(handle):
            return handle, folder
        os.close(handle)


def _owns(handle: int) -> bool:
    """Take the lock on a new file; return False where another process has it, or has removed the file."""
    return _lock(handle) is not False and os.fstat(handle).st_nlink > 0


def _lock(handle: int) -> bool | None:
    """Take the lock on an open file unless another process has it; None where the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove_abandoned(path: Path, *, is_folder: bool) -> None:
    """Remove a temporary file or folder if its lock can be had."""
    try:
        # Neither through a link nor waiting for a pipe: it may have come in its place meanwhile.
        handle = os.open(path / _OWNER if is_folder else path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        if is_folder:
            path.rmdir()  # its owner died before there was anything in it; fails where there is
        return
    try:
        if _lock(handle) is not True:
            return
        if is_folder:
            _remove(path)
        else:
            path.unlink(missing_ok=True)  # it has another name by now, if its owner came to its end meanwhile
    finally:
        os.close(handle)


def _remove(folder: Path) -> None:
    """Remove a temporary folder, its lock file last, so that an interrupted removal can be done again."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != _OWNER:
                path.unlink(missing_ok=True)
        (folder / _OWNER).unlink(missing_ok=True)
        folder.rmdir()
