"""Image files by their names: folders, patterns and lists."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from rbox_formats import files
from rbox_formats.errors import DatasetError, ImageError, quoted
from rbox_formats.images._images import SUFFIXES, check, find
from rbox_formats.progress import track

_LIST_SUFFIX = ".txt"


def find_images(sources: str | Path | Iterable[str | Path]) -> list[Path]:
    """Find image files by their names.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from rbox_formats import images
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("b.png", "a.png"):
    ...         Image.new("RGB", (10, 8)).save(Path(folder) / name)
    ...     print([path.name for path in images.find_images(folder)])
    ...     print([path.name for path in images.find_images(f"{folder}/b*.png")])
    ['a.png', 'b.png']
    ['b.png']

    Args:
        sources: One or several of these: a file; a folder (its images, by suffix, in order of their names, without
            subfolders); a pattern such as "scenes/*.tif" or "scenes/**/*.png" (`**`: all subfolders; in order of the
            names); a list of files, "list.txt" or "@list", in UTF-8 with one path per line, relative to the folder of
            the list. Empty lines and lines that begin with # are skipped.

    Returns:
        The files in the order of the sources, each once.

    Raises:
        DatasetError: If a source, or a line of a list, names no image.
    """
    if isinstance(sources, str | Path) or not isinstance(sources, Iterable):
        sources = [sources]
    found: dict[Path, Path] = {}
    for source in sources:
        paths = list(_named(str(files.as_path(source))))
        if not paths:
            raise DatasetError(f"expected images ({', '.join(SUFFIXES)}), found none", path=source)
        for path in paths:
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _named(source: str) -> Iterator[Path]:
    path = Path(source)
    if path.is_dir():
        yield from find(path)
    elif path.is_file():
        yield from _listed(path) if path.suffix.lower() == _LIST_SUFFIX else [path]
    elif source.startswith("@"):
        yield from _listed(Path(source[1:]))
    elif glob.has_magic(source):
        # Path.glob does not accept absolute patterns.
        matches = (Path(name) for name in sorted(glob.glob(source, recursive=True)))  # noqa: PTH207
        yield from (match for match in matches if match.suffix.lower() in SUFFIXES and match.is_file())


def _listed(path: Path) -> Iterator[Path]:
    """Yield the files that a list names."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise DatasetError("expected a list of images, found no file", path=path) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"expected a list of images in UTF-8, got {error}", path=path) from error
    for number, line in enumerate(map(str.strip, lines), start=1):
        if line and not line.startswith("#"):
            file = path.parent / line
            # Unlike `Path.is_file`, this returns False for a name that is too long for the file system.
            if not os.path.isfile(file):  # noqa: PTH113
                remedy = f"Paths are relative to {path.parent.resolve()}, or absolute."
                raise DatasetError(
                    f"expected an image, found no file {quoted(line)}", path=path, line=number, remedy=remedy
                )
            yield file


def stem_of(name: str) -> str:
    r"""Return the image id in a file's path: no folders, separated by '/' or Windows' backslash, and no suffix.

    >>> from rbox_formats import images
    >>> images.stem_of("scenes/P0001.v2.png"), images.stem_of("C:\\scenes\\P0002.tif")
    ('P0001.v2', 'P0002')
    """
    return PurePosixPath(name.replace("\\", "/")).stem


def by_id(paths: Iterable[str | Path]) -> dict[str, Path]:
    """Return the files by their images' ids, which are their names without suffix; a repeated file counts once.

    >>> from rbox_formats import images
    >>> sorted(images.by_id(["a/P0001.png", "b/P0002.png"]))
    ['P0001', 'P0002']

    Raises:
        DatasetError: If two files have the same name.
    """
    found: dict[str, Path] = {}
    for path in map(Path, paths):
        other = found.setdefault(path.stem, path)
        if other != path and other.resolve() != path.resolve():
            remedy = "An image is known by its file's name without suffix: predict one of them into another file."
            raise DatasetError(f"expected images of different names, got {other} and {path}", remedy=remedy)
    return found


def find_broken(paths: Sequence[Path]) -> dict[Path, str]:
    """Find files that are not whole images, as far as this can be seen without decoding them completely.

    >>> list(find_broken([Path("nowhere.png")]).values())
    ['nowhere.png: expected an image, found no file']

    Args:
        paths: The files.

    Returns:
        What is wrong with each of those, in a line.
    """
    broken = {}
    for path in track(paths, "checking images"):
        try:
            check(path)
        except ImageError as error:
            broken[path] = str(error).splitlines()[0]
    return broken


def refuse(broken: Sequence[str]) -> None:
    """Raise an error that names all broken images.

    >>> from rbox_formats import images
    >>> images.refuse([])

    Raises:
        ImageError: If there are any.
    """
    if broken:
        rest = f"\nand {len(broken) - 1} more:\n" + "\n".join(broken[1:]) if len(broken) > 1 else ""
        remedy = "Fetch the files again, or leave them out: --skip-broken."
        raise ImageError(f"{broken[0]}{rest}", remedy=remedy)
