"""Windows of large images, cut once and kept beside the run.

A window of a large image costs as much as decoding the image down to it; a file of the window alone is read at once. So
the first time that a window of an image is asked for, all of the image's windows are cut, and each is kept in a file.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from filelock import FileLock
from PIL import Image
from rbox_formats import images, tiling
from rbox_formats.typing import Image as Pixels

FOLDER = "windows"

_GIB = 2**30


class _Format(NamedTuple):
    """How windows are kept, without losses.

    Attributes:
        suffix: Of the files.
        options: Of Pillow's `save`.
        share: What a file takes of its pixels' bytes, about.
        largest: The largest side in pixels.
    """

    suffix: str
    options: Mapping[str, Any]
    share: float
    largest: int


# Plain pixels are written and read at once. WebP takes 0.26 to 0.34 of aerial images', PNG half as much again; at its
# fastest it is read as fast as PNG.
_FORMATS = (
    _Format(".tif", {}, 1.0, 2**31 - 1),
    _Format(".webp", {"lossless": True, "quality": 0, "method": 0}, 0.4, 16_383),
)


class _Cut(NamedTuple):
    """An image whose windows are kept.

    Attributes:
        number: Of the image, by which its folder is called.
        windows: All that are trained on.
    """

    number: int
    windows: tuple[tiling.Window, ...]


@dataclass(frozen=True)
class WindowCache:
    """The windows of a run that are kept.

    Attributes:
        folder: Where they are.
        cuts: The images whose windows are kept, by file.
        format: How.
    """

    folder: Path
    cuts: Mapping[Path, _Cut]
    format: _Format = _FORMATS[0]

    def pixels(self, path: Path, window: tiling.Window) -> Pixels:
        """Return a window's pixels (size, size, 3) uint8, from its file where there is one.

        Several processes may ask at a time. An image that has changed since is cut again.

        Raises:
            ImageError: If the image's file is broken.
        """
        cut = self.cuts.get(path)
        if cut is None:
            return direct(path, window)
        folder = self.folder / f"{cut.number}-{path.stat().st_mtime_ns}"
        file = self._file(folder, window)
        if not file.is_file():
            try:
                self._cut_all(path, cut, folder, window)
            except OSError:  # a full disk ends no training
                return direct(path, window)
        return images.load(file)

    def _cut_all(self, path: Path, cut: _Cut, folder: Path, wanted: tiling.Window) -> None:
        """Keep all windows of an image.

        Raises:
            OSError: If there is no place for them.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if self._file(folder, wanted).is_file():  # another process was faster
                return
            for window, pixels in tiling.crops(path, cut.windows):
                file = self._file(folder, window)
                unfinished = file.with_name(f"unfinished{file.suffix}")  # by the lock's holder alone
                Image.fromarray(pixels).save(unfinished, **self.format.options)
                unfinished.replace(file)

    def _file(self, folder: Path, window: tiling.Window) -> Path:
        return folder / f"{window.x}-{window.y}-{window.size}{self.format.suffix}"

    @property
    def windows(self) -> int:
        """How many windows are kept, once all have been asked for."""
        return sum(len(cut.windows) for cut in self.cuts.values())

    @property
    def gigabytes(self) -> float:
        """What their files take, about, in GiB."""
        return self.format.share * sum(_bytes(cut.windows) for cut in self.cuts.values()) / _GIB

    def remove(self) -> None:
        """Remove all that is kept."""
        shutil.rmtree(self.folder, ignore_errors=True)


def direct(path: Path, window: tiling.Window) -> Pixels:
    """Return a window's pixels, read from the image itself: only its rows and those above it are decoded."""
    ((_, pixels),) = tiling.crops(path, [window])
    return pixels


def window_cache(places: Iterable[tuple[Path, tiling.Window]], out: Path, limit: float) -> WindowCache:
    """Return what is kept of the windows of a run: those of images that have several, as long as there is room.

    Args:
        places: All windows, with the file of the image of each.
        out: The run's folder.
        limit: In GiB; and no more than half of what is free on the disk.
    """
    by_image: dict[Path, list[tiling.Window]] = {}
    for path, window in places:
        by_image.setdefault(path, []).append(window)
    disk = next(folder for folder in (out.resolve(), *out.resolve().parents) if folder.is_dir())
    room = min(limit * _GIB, shutil.disk_usage(disk).free / 2)
    large = {path: windows for path, windows in by_image.items() if len(windows) > 1}
    total = sum(map(_bytes, large.values()))
    format = next((each for each in _FORMATS if each.share * total <= room), _FORMATS[-1])
    cuts = {}
    for number, (path, windows) in enumerate(large.items()):
        size = format.share * _bytes(windows)
        if size <= room and max(window.size for window in windows) <= format.largest:
            cuts[path] = _Cut(number, tuple(windows))
            room -= size
    return WindowCache(out / FOLDER, cuts, format)


def _bytes(windows: Iterable[tiling.Window]) -> int:
    """Return what the pixels of windows take."""
    return sum(3 * window.size**2 for window in windows)
