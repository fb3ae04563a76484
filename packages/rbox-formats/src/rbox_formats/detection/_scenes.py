"""Images in all forms in which they are given to a detector, and their windows."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from rbox_formats import files, images, tiling
from rbox_formats.errors import ImageError, quoted
from rbox_formats.typing import Image

# A path, a Pillow image, an array or a tensor; or many of them (`scenes_of`).
ImageLike: TypeAlias = Any

#: The windows in which an image of (width, height) pixels is seen.
Windows: TypeAlias = Callable[[int, int], Iterable[tiling.Window]]

_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:/{1,2}[^/]")


@dataclass(frozen=True, eq=False)
class Scene:
    """An image to detect objects on.

    >>> scene = Scene.of(np.zeros((30, 40, 3), np.uint8), lambda width, height: [tiling.Window(0, 0, 40)])
    >>> scene.size, scene.is_whole
    ((40, 30), True)

    Attributes:
        image_id: A file's name without the suffix; of an image in memory "image", or "image-0" and so on.
        path: The file, if it is in one.
        pixels: (height, width, 3) uint8, if it is in memory.
        size: (width, height) in pixels.
        windows: The parts of the image that the detector sees one by one. Those at the border are filled up to a
            square, as `rbox-formats split` does.
        pad_whole: Whether that holds of a window with all of the image too.
    """

    image_id: str
    path: Path | None
    pixels: Image | None
    size: tuple[int, int]
    windows: tuple[tiling.Window, ...]
    pad_whole: bool = True

    @classmethod
    def of(cls, image: ImageLike, windows: Windows, name: str = "image", *, pad_whole: bool = True) -> Scene:
        """Make a scene from a file or from pixels. Of a file, only the header is read.

        Args:
            image: A path, a Pillow image, an array or a tensor.
            windows: Gives the windows of an image of (width, height) pixels.
            name: The id of an image in memory.
            pad_whole: Whether a window with all of the image is filled up to a square, as others are.

        Raises:
            ImageError: If it is no image.
        """
        path, pixels = None, None
        if isinstance(image, str | Path):
            path = _as_file(image)
            name, size = path.stem, images.read_size(path)
        else:
            pixels = _as_pixels(image)
            size = (pixels.shape[1], pixels.shape[0])
        return cls(name, path, pixels, size, tuple(windows(*size)), pad_whole)

    @property
    def is_whole(self) -> bool:
        """Whether its only window holds all of the image."""
        return len(self.windows) == 1 and self.windows[0].size >= max(self.size)

    def window_name(self, number: int) -> str:
        """Return the name of a window, as `rbox_formats.tiling.window_name` makes it.

        Args:
            number: The window's index into `windows`.
        """
        return tiling.window_name(self.image_id, self.windows[number])

    def crops(self, numbers: range | None = None) -> Iterator[tuple[int, Image]]:
        """Yield the number and the pixels of each window; a large file is read part by part, from top to bottom.

        Args:
            numbers: Which windows, as indices into `windows`. None: all.

        Raises:
            ImageError: If the file is broken.
        """
        padding = self.pad_whole or not self.is_whole
        asked = range(len(self.windows)) if numbers is None else numbers
        if self.pixels is not None:
            for number in asked:
                yield number, tiling.crop(self.pixels, self.windows[number], padding=padding)
        elif self.path is not None:
            places = {self.windows[number]: number for number in asked}
            for window, pixels in tiling.crops(self.path, list(places), padding=padding):
                yield places[window], pixels


def scenes_of(source: ImageLike, windows: Windows, *, pad_whole: bool = True) -> tuple[list[Scene], bool]:
    """Make scenes of what a user gives as one image or many.

    >>> scenes, is_one = scenes_of([np.zeros((30, 40, 3), np.uint8)] * 2, lambda width, height: [])
    >>> [scene.image_id for scene in scenes], is_one
    (['image-0', 'image-1'], False)

    One image is a file's path, a Pillow image, an array (height, width, 3) or (height, width) uint8, or a tensor
    (3, height, width) of uint8, or of floats from 0 to 1, as torchvision has them. Many are a folder, a pattern such as
    "scenes/*.tif", a list of files (list.txt or @list), a batch with one more dimension, or a Python list of any of
    these.

    Args:
        source: The image, or the images.
        windows: Gives the windows of an image of (width, height) pixels.
        pad_whole: As in `Scene.of`.

    Returns:
        The scenes in order, and whether one image was given.

    Raises:
        DatasetError: If a folder or a pattern has no images.
        ImageError: If something is no image, or an address on the network, which is never fetched.
    """
    if isinstance(source, str | Path):
        _refuse_address(source)
        path = files.as_path(source, ImageError)
        if path.is_file() and path.suffix.lower() != ".txt":
            return [Scene.of(path, windows, pad_whole=pad_whole)], True
        named = _named(source)
        return [Scene.of(each, windows, pad_whole=pad_whole) for each in named], False
    if _is_one(source):
        return [Scene.of(source, windows, pad_whole=pad_whole)], True
    if not isinstance(source, Iterable):
        raise ImageError(f"expected an image, or a list of images, got {type(source).__name__}")
    flat: list[Any] = []
    for each in source:
        flat += _named(each) if isinstance(each, str | Path) else [each]
    numbered = enumerate(flat)
    return [Scene.of(each, windows, f"image-{number}", pad_whole=pad_whole) for number, each in numbered], False


def _named(source: str | Path) -> list[Path]:
    """Return the files that a path stands for."""
    _refuse_address(source)
    path = files.as_path(source, ImageError)
    text = str(source)
    if path.is_dir() or path.suffix.lower() == ".txt" or text.startswith("@") or glob.has_magic(text):
        # A file whose own name has brackets is no pattern.
        return [path] if path.is_file() and path.suffix.lower() != ".txt" else images.find_images(source)
    return [_as_file(path)]


def _as_file(source: str | Path) -> Path:
    _refuse_address(source)
    path = files.as_path(source, ImageError)
    if path.is_dir():
        raise ImageError("expected an image, got a folder", path=path)
    if not path.is_file():
        raise ImageError("expected an image, found no such file", path=path)
    return path


def _refuse_address(source: str | Path) -> None:
    if _ADDRESS.match(str(source)):
        raise ImageError(
            f"expected a file on this machine, got an address on the network: {quoted(str(source))}",
            remedy="Nothing is fetched unasked: download it, and give the file.",
        )


def _is_one(source: ImageLike) -> bool:
    from PIL import Image as PillowImage

    dimensions = getattr(source, "ndim", None)
    if isinstance(dimensions, int):
        return dimensions < 4
    return isinstance(source, PillowImage.Image)


def _as_pixels(image: ImageLike) -> Image:
    """Return the pixels of an image in memory: (height, width, 3) uint8, a Pillow image turned as it notes.

    Raises:
        ImageError: If it is no such image.
    """
    from PIL import Image as PillowImage

    if isinstance(image, PillowImage.Image):
        return images.as_rgb(image)
    if type(image).__module__.partition(".")[0] == "torch":
        return _of_tensor(image)
    if not isinstance(image, np.ndarray):
        expected = "a path, a Pillow image, an array or a tensor"
        raise ImageError(f"expected {expected}, got {type(image).__name__}")
    if image.ndim == 2 and image.dtype == np.uint8 and image.size:
        return np.repeat(image[..., None], 3, axis=2)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ImageError(f"expected an array (height, width, 3) of uint8, got {image.shape} of {image.dtype}")
    return image


def _of_tensor(image: Any) -> Image:
    if image.ndim != 3 or image.shape[0] != 3 or image.numel() == 0:
        raise ImageError(f"expected a tensor (3, height, width), got {tuple(image.shape)} of {image.dtype}")
    values = np.asarray(image.detach().cpu().float().numpy() if image.is_floating_point() else image.cpu().numpy())
    if values.dtype.kind == "f":
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise ImageError(
                f"expected floats from 0 to 1 in a tensor, got {values.min():g} to {values.max():g}",
                remedy="Undo the normalisation, or give uint8 values from 0 to 255.",
            )
        values = np.rint(values * 255).astype(np.uint8)
    elif values.dtype != np.uint8:
        raise ImageError(f"expected a tensor of uint8 or of floats, got {image.dtype}")
    return np.ascontiguousarray(values.transpose(1, 2, 0))
