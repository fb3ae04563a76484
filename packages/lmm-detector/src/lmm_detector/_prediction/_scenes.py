"""Images to detect objects on, from files or from memory, and their division among batches and processes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from rbox_formats import images, tiling
from rbox_formats.errors import ImageError
from rbox_formats.typing import Image

# A path, a Pillow image, or an array (height, width, 3) uint8.
ImageLike: TypeAlias = Any

# A block has so many batches, fewer where a run would otherwise have less than so many blocks for its processes.
_MOST_BATCHES, _LEAST_BATCHES, _BLOCKS = 16, 4, 32


@dataclass(frozen=True, eq=False)
class Scene:
    """An image to detect objects on.

    Attributes:
        image_id: A file's name without the suffix.
        path: The file, if it is in one.
        pixels: (height, width, 3) uint8, if it is in memory.
        size: (width, height) in pixels.
        windows: In which it is seen.
    """

    image_id: str
    path: Path | None
    pixels: Image | None
    size: tuple[int, int]
    windows: tuple[tiling.Window, ...]

    @classmethod
    def of(cls, image: ImageLike, window: int, gap: int, name: str = "image") -> Scene:
        """A scene of a file, whose header alone is read, or of pixels.

        Args:
            image: A path, a Pillow image, or (height, width, 3) uint8.
            window: Side of the windows in pixels.
            gap: How far they overlap.
            name: The id of an image in memory.

        Raises:
            ImageError: If it is no image.
        """
        path, pixels = None, None
        if isinstance(image, str | Path):
            path = Path(image)
            if path.is_dir():
                remedy = "`lmm_detector.find_images` lists the images in a folder."
                raise ImageError("expected an image, got a folder", path=path, remedy=remedy)
            name, size = path.stem, images.read_size(path)
        else:
            pixels = as_pixels(image)
            size = (pixels.shape[1], pixels.shape[0])
        return cls(name, path, pixels, size, tuple(tiling.windows(*size, window, gap)))

    def crops(self) -> Iterator[tuple[int, Image]]:
        """The number and the pixels of each window; a large file is read part by part, from above to below.

        Raises:
            ImageError: If the file is broken.
        """
        if self.pixels is not None:
            for number, window in enumerate(self.windows):
                yield number, tiling.crop(self.pixels, window)
        elif self.path is not None:
            numbers = {window: number for number, window in enumerate(self.windows)}
            for window, pixels in tiling.crops(self.path, self.windows):
                yield numbers[window], pixels


def is_one_image(images: ImageLike) -> bool:
    """Whether it is one image, and not many of them."""
    from PIL import Image as PillowImage

    if isinstance(images, np.ndarray):
        return images.ndim != 4
    return isinstance(images, str | Path | PillowImage.Image)


def as_pixels(image: ImageLike) -> Image:
    """The pixels of an image in memory: (height, width, 3) uint8, turned as a Pillow image notes (`images.upright`).

    Raises:
        ImageError: If it is no such image.
    """
    from PIL import Image as PillowImage

    if isinstance(image, PillowImage.Image):
        return images.as_rgb(image)
    if not isinstance(image, np.ndarray):
        raise ImageError(f"expected a path, a Pillow image or an array, got {type(image).__name__}")
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ImageError(f"expected an array (height, width, 3) of uint8, got {image.shape} of {image.dtype}")
    return image


def blocks(scenes: Sequence[Scene], batch_size: int) -> list[list[Scene]]:
    """Neighbouring scenes, whose windows are put into batches together and with no others.

    So a batch, whose company a window's answer depends on in its last bits, is the same whatever was detected before,
    and whichever process detects it: what is gone on with, or divided, are blocks. They depend on the scenes and the
    batch size alone.
    """
    batches = math.ceil(sum(len(scene.windows) for scene in scenes) / batch_size)
    least = batch_size * min(max(batches // _BLOCKS, _LEAST_BATCHES), _MOST_BATCHES)
    found: list[list[Scene]] = []
    room = 0
    for scene in scenes:
        if room <= 0:
            found.append([])
            room = least
        found[-1].append(scene)
        room -= len(scene.windows)
    return found


def shared(loads: Sequence[int], count: int) -> list[int]:
    """Which of `count` processes does each piece of work: the largest first, each by the one that has least so far."""
    totals = [0] * count
    ranks = [0] * len(loads)
    for place in sorted(range(len(loads)), key=lambda place: -loads[place]):
        ranks[place] = totals.index(min(totals))
        totals[ranks[place]] += loads[place]
    return ranks
