"""Image files: their sizes, their pixels, and whether they are whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rbox_formats import files
from rbox_formats.errors import ImageError
from rbox_formats.images import _rows
from rbox_formats.images._rows import Rows, whole_rows
from rbox_formats.typing import Image as ImageArray

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

# What becomes RGB without loss of meaning. 16-bit and float images have no range that all files share.
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")

# A JPEG ends with this marker; what some cameras append after it is short.
_JPEG_END, _JPEG_TAIL_BYTES = b"\xff\xd9", 65536


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turns what Pillow and rasterio raise into an error that names the file and says what to do."""
    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError("expected an image, found no file", path=path) from error
    except (OSError, SyntaxError, ValueError) as error:
        # Their own words for a broken file: OSError ("truncated"), SyntaxError (a broken PNG), ValueError.
        remedy = "Fetch the file again, or take it out of the dataset."
        raise ImageError(f"expected a whole image, got: {error}", path=path, remedy=remedy) from error


@contextmanager
def _opened(path: Path) -> Iterator[PillowImage]:
    """An image file of a mode that can become RGB, its header read; raises what Pillow does."""
    from PIL import Image

    # Aerial images are large by nature: Pillow's guard against small files that unpack to many pixels stays out.
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as image:
            if image.mode not in _MODES:
                raise ImageError(
                    f"expected an image of 8 bits a channel, got Pillow's mode {image.mode!r}",
                    path=path,
                    remedy="Convert it, with a range of values that suits the data.",
                )
            yield image
    finally:
        Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def _open(path: Path) -> Iterator[PillowImage]:
    """An image file, opened; an error in the block that uses it names the file as well."""
    with _naming(path), _opened(path) as image:
        yield image


def find(folder: Path) -> list[Path]:
    """The image files in a folder, by their suffix, in order of their names; none where there is no folder."""
    return [path for path in files.visible(folder) if path.suffix.lower() in SUFFIXES]


def read_size(path: str | Path) -> tuple[int, int]:
    """The (width, height) of an image file in pixels, from its header alone.

    Raises:
        ImageError: If there is no such file, or it is not an image.
    """
    with _open(Path(path)) as image:
        return image.size


def load(path: str | Path) -> ImageArray:
    """The pixels of an image file.

    Returns:
        (height, width, 3) uint8, RGB; grey images repeat their one channel, transparency is dropped, and a rotation
        noted in the file's EXIF data is not applied: boxes are relative to the pixels as stored.

    Raises:
        ImageError: If there is no such file, or it is not an image of 8 bits a channel, or cut short.
    """
    with _open(Path(path)) as image:
        return np.array(image.convert("RGB"))  # a copy: Pillow's own pixels are read-only


@contextmanager
def open_rows(path: str | Path) -> Iterator[Rows]:
    """Opens an image file to read it a few rows at a time, with the pixels that `load` gives.

    A large image is read in bounded memory by rasterio (the extra `geo`). Where that is not there, where the image is
    small, or where rasterio's pixels would not be `load`'s (JPEG), it is decoded as a whole, up to 2**28 pixels (1.1 GB
    of memory); JPEG beyond that comes from rasterio as well, whose decoder may round colours otherwise.

    Yields:
        Its `width`, `height` and `read(start, stop)`, which gives rows (stop - start, width, 3).

    Raises:
        ImageError: If there is no such file, it is not an image of 8 bits a channel, cut short, or too large without
            rasterio; the last two perhaps only when rows are read.
    """
    path = Path(path)
    with ExitStack() as stack:
        with _naming(path):
            image = stack.enter_context(_opened(path))
            wants_gdal = _rows.wants_gdal(image, path)
            rows = stack.enter_context(_rows.gdal_rows(path, image)) if wants_gdal else whole_rows(image)

        def read(start: int, stop: int) -> ImageArray:
            with _naming(path):
                return rows.read(start, stop)

        # What goes wrong in the block that uses the rows, such as a full disk, is not the image's.
        yield rows._replace(read=read)


def check(path: str | Path) -> None:
    """Looks for a broken file without decoding its pixels: fast enough for a whole dataset before a long run.

    A PNG's chunks are read and their checksums compared; a JPEG must have its end marker; of other formats only the
    header is read.

    Raises:
        ImageError: If there is no such file, or it is not an image, or cut short.
    """
    path = Path(path)
    with _open(path) as image:
        if image.format == "PNG":
            image.verify()
        elif image.format == "JPEG":
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _JPEG_TAIL_BYTES))
                if _JPEG_END not in file.read():
                    raise OSError("the file ends before the image does")
