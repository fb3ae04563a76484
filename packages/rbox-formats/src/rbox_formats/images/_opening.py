"""Open image files with Pillow: which formats, how large, and with which errors."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbox_formats.errors import ImageError, quoted, said
from rbox_formats.images._deep import DEEP_MODES, TiffHead, tiff_head
from rbox_formats.images._files import OpenFile
from rbox_formats.images._orientation import TURNS, noted

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
else:
    PillowImage = Any  # Pillow is imported where an image is opened

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "JPEG2000")
"""Pillow's names of the formats that are read, for any suffix of the file; JPEG's reader reads MPO as well. Others are
not tried, since some start programs (EPS: Ghostscript) or refer to other files."""

LARGEST_WHOLE = 2**28
"""The limit on the pixels that are decoded at once, 1.1 GB as Pillow holds RGB. DOTA-v1.0's
largest images are below it; DOTA-v2.0's are not, and are read part by part. The environment variable `RBOX_MAX_PIXELS`
sets another limit."""

LIMIT_VARIABLE = "RBOX_MAX_PIXELS"

# The modes that become RGB without loss; `_deep` handles others.
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")

_pillow = logging.getLogger("PIL.TiffImagePlugin")

_TIFF_WIDTH, _TIFF_HEIGHT, _TILE_WIDTH, _TILE_HEIGHT = 256, 257, 322, 323

# The number of blocks in this process that are reading images of any size; see `any_size`.
_readers, _lock, _pillows_limit = 0, threading.Lock(), None


def largest_whole() -> int:
    """Return the most pixels that are decoded at once.

    >>> largest_whole() > 8192 * 8192
    True

    Raises:
        ImageError: If the environment variable is not a whole number.
    """
    given = os.environ.get(LIMIT_VARIABLE, "").strip()
    if not given:
        return LARGEST_WHOLE
    if not (given.isascii() and given.isdigit() and len(given) < 19 and int(given) > 0):
        raise ImageError(f"expected a whole number of pixels in {LIMIT_VARIABLE}, got {quoted(given)}")
    return int(given)


@contextmanager
def any_size() -> Iterator[None]:
    """Switch off Pillow's own guard against large images, which has one limit for opening and decoding.

    Aerial images are large, and opening one decodes nothing. The guard is global to the process: the first of several
    threads switches it off, and the last restores it.
    """
    from PIL import Image

    global _readers, _pillows_limit
    with _lock:
        if not _readers:
            _pillows_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if not _readers:
                Image.MAX_IMAGE_PIXELS = _pillows_limit


@contextmanager
def naming(path: Path | OpenFile) -> Iterator[None]:
    """Turn errors of Pillow and rasterio into one that names the file and says what to do."""
    import struct

    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError("expected an image, found no file", path=str(path)) from error
    except UnidentifiedImageError as error:
        message = f"expected a whole image, got: none of the formats {', '.join(FORMATS)}"
        remedy = "Fetch the file again, convert it to one of them, or take it out of the dataset."
        raise ImageError(message, path=str(path), remedy=remedy) from error
    # Their errors for a broken file: OSError ("truncated"), SyntaxError (a broken PNG), ValueError, and others for an
    # impossible header.
    except (
        OSError,
        SyntaxError,
        ValueError,
        TypeError,
        LookupError,
        ArithmeticError,
        RuntimeError,
        EOFError,
        struct.error,
        Image.DecompressionBombError,
        Warning,  # where Python's settings turn warnings into errors
    ) as error:
        remedy = "Fetch the file again, or take it out of the dataset."
        raise ImageError(f"expected a whole image, got: {said(error)}", path=str(path), remedy=remedy) from error


@contextmanager
def opened(path: Path | OpenFile, *, any_mode: bool = False) -> Iterator[PillowImage]:
    """Open an image file of a mode that can become RGB (or of any), its header read; raise what Pillow does.

    Raises:
        UnreadTiffError: If the file is a TIFF with a complete header, of bands that Pillow does not read.
    """
    from PIL import Image, UnidentifiedImageError

    _pillow.addFilter(_worth_saying)
    with any_size():
        try:
            image = Image.open(path, formats=FORMATS)  # type: ignore[arg-type]  # it reads and seeks, no more
        except UnidentifiedImageError as error:
            if (head := tiff_head(path)) is None:
                raise
            raise UnreadTiffError(head, path) from error
    with image:
        if image.mode not in (*_MODES, *DEEP_MODES) and not any_mode:
            raise ImageError(
                f"expected an image that can become RGB, got Pillow's mode {quoted(image.mode)}", path=str(path)
            )
        yield image


def _worth_saying(record: logging.LogRecord) -> bool:
    """Return whether a message of Pillow's is about more than bands that are then read by rasterio."""
    return not str(record.msg).startswith("More samples per pixel")


class UnreadTiffError(ImageError):
    """The file is a TIFF of bands that Pillow does not read; the error holds its header."""

    def __init__(self, head: TiffHead, path: Path | OpenFile) -> None:
        super().__init__("expected an image of bands that Pillow reads, got a TIFF of others", path=str(path))
        self.head = head


@contextmanager
def open_named(path: Path) -> Iterator[PillowImage]:
    """Open as `opened` does; an error in the block that uses it names the file as well."""
    with naming(path), opened(path) as image:
        yield image


def stored_size(image: PillowImage) -> tuple[int, int]:
    """Return the (width, height) of an opened file's stored pixels; Pillow gives that of a turned TIFF."""
    tags = getattr(image, "tag_v2", None)
    return image.size if tags is None else (int(tags[_TIFF_WIDTH]), int(tags[_TIFF_HEIGHT]))


def shown_size(image: PillowImage, path: Path | OpenFile) -> tuple[int, int]:
    """Return the (width, height) of an opened file's image after it is turned as it notes."""
    return TURNS[noted(image, path)].size(*stored_size(image))


def is_tiled(image: PillowImage) -> bool:
    """Return whether an opened file is a TIFF in tiles."""
    return _TILE_WIDTH in getattr(image, "tag_v2", ())


def decoded_size(image: PillowImage) -> tuple[int, int]:
    """Return the (width, height) that decoding an opened file at once would take.

    It is that of the image, or of a TIFF's tile if that is larger, since a tile is always decoded as a whole.
    """
    size = stored_size(image)
    if not is_tiled(image):
        return size
    tags = image.tag_v2  # type: ignore[attr-defined]
    return max(size, (int(tags[_TILE_WIDTH]), int(tags.get(_TILE_HEIGHT, 1))), key=lambda each: each[0] * each[1])


def too_large(image: PillowImage) -> str | None:
    """Return why an opened file is too large to be decoded at once; None where it is not."""
    limit, (width, height) = largest_whole(), decoded_size(image)
    if width * height <= limit:
        return None
    return f"expected an image of at most {limit:,} pixels, which is what is decoded as a whole, got {width}x{height}"
