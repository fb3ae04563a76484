"""Zip archives from outside: opened and read with limits, and with one kind of error for every fault.

Nothing of an archive is written to disk. Python's zipfile and its decompressors raise a dozen kinds of errors for
broken archives; here each becomes the error class that the caller names, with the archive and the member.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rbox_formats.errors import DatasetError, RboxError, quoted, said

__all__ = ["LARGEST", "MOST_RATIO", "SMALL", "check", "is_archive", "opened", "read", "require_reasonable"]

LARGEST = 4 * 2**30
"""The limit on the unpacked size of all members together, in bytes: 10 million Task1 detections are about 1 GB."""

MOST_RATIO = 100
"""The limit on the ratio of unpacked to packed size, of each member and of the whole archive.

Texts of detections have a ratio of 10; deflate reaches 1,032 on zeros.
"""

SMALL = 2**20
"""The unpacked size in bytes up to which the ratio is not checked."""

_AT_ONCE = 2**20

# zipfile limits how much it unpacks at once for these methods. It does not for bzip2 (4 kB can become 4 GB), LZMA and
# others, which are not used for results.
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}


def is_archive(path: Path) -> bool:
    """Return whether a file is a zip, whatever its name.

    >>> import zipfile
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with zipfile.ZipFile(Path(folder) / "results", "w") as archive:
    ...         archive.writestr("Task1_ship.txt", "P0001 0.9 1 1 9 1 9 5 1 5")
    ...     print(is_archive(Path(folder) / "results"))
    True
    """
    try:
        return path.is_file() and zipfile.is_zipfile(path)
    except Exception:  # zipfile looks for the directory, and raises what it does where one is broken
        return True


@contextmanager
def opened(path: Path, error: type[RboxError] = DatasetError) -> Iterator[zipfile.ZipFile]:
    """Open a zip.

    >>> import zipfile
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "results.zip"
    ...     with zipfile.ZipFile(path, "w") as archive:
    ...         archive.writestr("Task1_ship.txt", "P0001 0.9 1 1 9 1 9 5 1 5")
    ...     with opened(path) as archive:
    ...         require_reasonable(archive.infolist(), path)
    ...         for member in archive.infolist():
    ...             print(member.filename, read(archive, member, path))
    Task1_ship.txt b'P0001 0.9 1 1 9 1 9 5 1 5'

    Args:
        path: The file.
        error: The class of the error to raise.

    Raises:
        RboxError: Of the given class, if the file is not a zip, or its directory is broken.
    """
    # Every error, since the possible ones change with Python's version and the libraries that it was built with.
    try:
        archive = zipfile.ZipFile(path)
    except Exception as reason:
        raise error(f"expected a zip, got: {said(reason)}", path=path, remedy="Write it again.") from reason
    with archive:
        yield archive


def check(path: Path, error: type[RboxError] = DatasetError) -> None:
    """Check that a zip which another library unpacks, such as torch its checkpoints, is no zip bomb.

    Files that are not zips pass, and broken archives are left to the library that unpacks them. `LARGEST` does not
    apply: weights may be of any size, and are stored without compression.

    >>> import zipfile
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with zipfile.ZipFile(Path(folder) / "epoch_12.pth", "w") as archive:
    ...         archive.writestr("weights", b"1234")
    ...     check(Path(folder) / "epoch_12.pth")

    Raises:
        RboxError: Of the given class, if the members come to more than `MOST_RATIO` times the archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception:
        return
    _require_ratio(members, path, error)


def require_reasonable(members: Iterable[zipfile.ZipInfo], path: Path, error: type[RboxError] = DatasetError) -> None:
    """Check by an archive's directory that members can be unpacked; `read` never returns more than it says.

    >>> import zipfile
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "results.zip"
    ...     with zipfile.ZipFile(path, "w") as archive:
    ...         archive.writestr("Task1_ship.txt", "P0001 0.9 1 1 9 1 9 5 1 5")
    ...     with opened(path) as archive:
    ...         require_reasonable(archive.infolist(), path)

    Raises:
        RboxError: Of the given class, if a member has a password or another compression method, or the members exceed
            `LARGEST` or `MOST_RATIO`.
    """
    members = list(members)
    for info in members:
        if info.flag_bits & 1:
            raise error(f"expected a zip without a password, got {quoted(info.filename)} with one", path=path)
        if info.compress_type not in _METHODS:
            found = f"{quoted(info.filename)} by method {info.compress_type}"
            raise error(
                f"expected members that are stored or deflated, got {found}",
                path=path,
                remedy="Write it again with deflate, which is what zip programs do.",
            )
    size = sum(info.file_size for info in members)
    if size > LARGEST:
        raise error(f"expected at most {LARGEST} bytes when unpacked, got {size}", path=path)
    _require_ratio(members, path, error)


def _require_ratio(members: list[zipfile.ZipInfo], path: Path, error: type[RboxError]) -> None:
    """Check the ratio of each member, and of all together: members may share the same packed bytes."""
    parts = [(info.file_size, info.compress_size, quoted(info.filename)) for info in members]
    parts.append((sum(info.file_size for info in members), path.stat().st_size, "all of it"))
    for size, packed, name in parts:
        if size > max(SMALL, MOST_RATIO * packed):
            raise error(
                f"expected at most {MOST_RATIO} bytes for each that is packed, got {size} out of {packed} ({name})",
                path=path,
                remedy="Write it again, or unpack it yourself and give the folder.",
            )


def read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, error: type[RboxError] = DatasetError) -> bytes:
    """Read the content of a member piece by piece: never more than the directory says.

    >>> import zipfile
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "results.zip"
    ...     with zipfile.ZipFile(path, "w") as archive:
    ...         archive.writestr("Task1_ship.txt", "P0001 0.9 1 1 9 1 9 5 1 5")
    ...     with opened(path) as archive:
    ...         print(read(archive, archive.infolist()[0], path))
    b'P0001 0.9 1 1 9 1 9 5 1 5'

    Raises:
        RboxError: Of the given class, if the member is broken, or its size or checksum differs from the directory.
    """
    pieces: list[bytes] = []
    try:
        # With a size, since `read()` without one unpacks everything before it compares the size.
        with archive.open(info) as file:
            while piece := file.read(_AT_ONCE):
                pieces.append(piece)
    except Exception as reason:  # zlib.error, LZMAError, NotImplementedError, EOFError, ...; see `opened`
        raise error(f"expected a whole zip, got {quoted(info.filename)}: {said(reason)}", path=path) from reason
    content = b"".join(pieces)
    if len(content) != info.file_size:
        found = f"{len(content)} bytes of {quoted(info.filename)}"
        raise error(f"expected a whole zip, got {found}, which is to have {info.file_size}", path=path)
    return content
