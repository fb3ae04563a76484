"""Files of a folder or a zip, read one at a time; nothing of a zip is written to disk."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from rbox_formats import archives, files
from rbox_formats.errors import quoted

from rbox_metrics.errors import MetricsError


class Member(type(Path())):  # type: ignore[misc]  # Path chooses its class by the system
    """A file in an archive: its path, which errors show, and its content in memory."""

    content: bytes

    @classmethod
    def of(cls, archive: Path, name: str, content: bytes) -> Member:
        """Return the file of that name in an archive."""
        self = cls(archive, name)
        self.content = content
        return self

    def read_bytes(self) -> bytes:
        """Return the content."""
        return self.content


def members(path: Path, suffix: str, folders: tuple[str, ...] = ()) -> Iterator[Path]:
    """Yield the files with a suffix in a folder or a zip, in the order of their names.

    Args:
        path: The folder or the zip; or a single file, which is then the only one.
        suffix: The suffix in small letters, such as ".txt".
        folders: Folders in the folder where files are looked for if there are none directly in it. In a zip, files may
            be in any folder.

    Raises:
        MetricsError: If a zip is broken or locked, unpacks to more than `archives` allows, has a file whose path is
            outside of it, or has two files of the same name.
    """
    if archives.is_archive(path):
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
    """Return the names of the files in a zip, without folders, hidden files and those that macOS adds."""
    with archives.opened(path, MetricsError) as archive:
        return [PurePosixPath(info.filename).name for info in _wanted(archive, path)]


def _unpacked(path: Path, suffix: str) -> Iterator[Path]:
    with archives.opened(path, MetricsError) as archive:
        chosen: dict[str, zipfile.ZipInfo] = {}
        for info in _wanted(archive, path):
            name = PurePosixPath(info.filename).name
            if PurePosixPath(name).suffix.lower() != suffix:
                continue
            if name in chosen:
                both = f"{quoted(chosen[name].filename, marks=False)} and {quoted(info.filename, marks=False)}"
                raise MetricsError(f"expected each file name once, got {both}", path=path)
            chosen[name] = info
        archives.require_reasonable(chosen.values(), path, MetricsError)
        for name in sorted(chosen):
            yield Member.of(path, name, archives.read(archive, chosen[name], path, MetricsError))


def _wanted(archive: zipfile.ZipFile, path: Path) -> Iterator[zipfile.ZipInfo]:
    for info in archive.infolist():
        parts = PurePosixPath(info.filename).parts
        if info.is_dir() or any(part.startswith(".") and part != ".." for part in parts) or "__MACOSX" in parts:
            continue
        if info.filename.startswith("/") or not parts or ".." in parts:
            raise MetricsError(f"expected names inside the zip, got {quoted(info.filename)}", path=path)
        for part in parts:
            files.safe_name(part, path)
        yield info
