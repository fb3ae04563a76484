"""The files in a folder or a zip, read one at a time; nothing of an archive is written to disk."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from rbox_formats import files

from rbox_metrics.errors import MetricsError

# What an archive's files may come to unpacked: 10 million detections in Task1 form are about 1 GB.
LARGEST = 4 * 2**30


class Member(type(Path())):  # type: ignore[misc]  # Path chooses its class by the system
    """A file in an archive: a path by which errors name it, and its content in memory."""

    content: bytes

    @classmethod
    def of(cls, archive: Path, name: str, content: bytes) -> Member:
        """The file of that name in an archive."""
        self = cls(archive, name)
        self.content = content
        return self

    def read_bytes(self) -> bytes:
        """The content."""
        return self.content


def is_archive(path: Path) -> bool:
    """Whether a file is a zip, whatever it is called."""
    return path.is_file() and zipfile.is_zipfile(path)


def members(path: Path, suffix: str, folders: tuple[str, ...] = ()) -> Iterator[Path]:
    """The files of a suffix in a folder or a zip, in order of their names.

    Args:
        path: The folder or the zip; or one file, which is then the only one.
        suffix: Such as ".txt", in small letters.
        folders: Where in a folder to look if there are none directly in it. A zip's files may be in any.

    Raises:
        MetricsError: If a zip is broken, locked, unpacks to more than `LARGEST`, or has a file whose name leads out of
            it or which another one in it has too.
    """
    if is_archive(path):
        yield from _unpacked(path, suffix)
    elif path.is_dir():
        for folder in (path, *(path / name for name in folders)):
            found = [file for file in files.visible(folder) if file.suffix.lower() == suffix and file.is_file()]
            if found:
                yield from found
                return
    else:
        yield path


def names(path: Path) -> list[str]:
    """The names of the files in a zip, without folders, hidden ones and what macOS puts beside them."""
    with _opened(path) as archive:
        return [PurePosixPath(info.filename).name for info in _wanted(archive, path)]


def _unpacked(path: Path, suffix: str) -> Iterator[Path]:
    with _opened(path) as archive:
        chosen: dict[str, zipfile.ZipInfo] = {}
        for info in _wanted(archive, path):
            name = PurePosixPath(info.filename).name
            if PurePosixPath(name).suffix.lower() != suffix:
                continue
            if name in chosen:
                raise MetricsError(
                    f"expected each file name once, got {chosen[name].filename} and {info.filename}", path=path
                )
            if info.flag_bits & 1:
                raise MetricsError(f"expected a zip without a password, got {info.filename} with one", path=path)
            chosen[name] = info
        size = sum(info.file_size for info in chosen.values())
        if size > LARGEST:
            raise MetricsError(f"expected at most {LARGEST} bytes when unpacked, got {size}", path=path)
        for name in sorted(chosen):
            try:
                # Never more than the size that was added up above: the reader stops there, and checks the sum of bits.
                content = archive.read(chosen[name])
            except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError) as error:
                raise MetricsError(f"expected a whole zip, got {chosen[name].filename}: {error}", path=path) from error
            yield Member.of(path, name, content)


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise MetricsError(f"expected a zip, got: {error}", path=path, remedy="Write it again.") from error


def _wanted(archive: zipfile.ZipFile, path: Path) -> Iterator[zipfile.ZipInfo]:
    for info in archive.infolist():
        parts = PurePosixPath(info.filename).parts
        if info.is_dir() or any(part.startswith(".") and part != ".." for part in parts) or "__MACOSX" in parts:
            continue
        if info.filename.startswith("/") or not parts or ".." in parts:
            raise MetricsError(f"expected names inside the zip, got {info.filename!r}", path=path)
        for part in parts:
            files.safe_name(part, path)
        yield info
