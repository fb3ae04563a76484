"""Rows of an image file in bounded memory, by GDAL, for images too large to decode at once; see `images.open_rows`.

GDAL (through rasterio, in the extra `geo`) reads PNG, BMP and TIFF a few rows at a time and gives the pixels that
Pillow gives. Of JPEG, in a file of its own or inside a TIFF, the standard leaves the last digits to the decoder, so
such files go through Pillow for as long as it can hold them, and have the same pixels whether rasterio is there or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rbox_formats.errors import ImageError
from rbox_formats.typing import Image as ImageArray

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

# From this many pixels on GDAL is asked, where it is there: 134 MB as Pillow holds RGB (4 bytes a pixel).
LARGE = 2**25
# The most that is decoded as a whole: 1.1 GB. DOTA-v1.0's largest images are within it, DOTA-v2.0's are not.
LARGEST_WHOLE = 2**28

# GDAL's name of each of Pillow's formats. A named driver keeps GDAL from taking the file for one of the formats that
# refer to other files or to the network.
_DRIVERS = {"PNG": "PNG", "BMP": "BMP", "TIFF": "GTiff", "JPEG": "JPEG", "MPO": "JPEG"}
# Of the other modes GDAL makes RGB in ways of its own.
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")
_TIFF_ORIENTATION = 0x112  # Pillow turns the pixels of a TIFF as this tag says, GDAL does not

_CACHE_BYTES = 2**26
# Blocks are decoded as a whole, and a row of them serves one row of pixels: a few that are huge bound no memory.
_BLOCK_ROW_BYTES = 2**28


class Rows(NamedTuple):
    """An opened image file that gives its rows.

    Attributes:
        width: In pixels.
        height: In pixels.
        read: (start, stop) to the rows from `start` to before `stop`, (stop - start, width, 3) uint8, RGB as
            `images.load` has it. Cheap where each call goes on from the last one.
    """

    width: int
    height: int
    read: Callable[[int, int], ImageArray]


def whole_rows(image: PillowImage) -> Rows:
    """Rows of an image that Pillow decodes as a whole."""

    def read(start: int, stop: int) -> ImageArray:
        return np.array(image.crop((0, start, image.width, stop)).convert("RGB"))

    return Rows(image.width, image.height, read)


def wants_gdal(image: PillowImage, path: Path) -> bool:
    """Whether an image, of which only the header is read, is for GDAL.

    Raises:
        ImageError: If it is too large for Pillow, and GDAL is not there or reads it otherwise.
    """
    pixels = image.width * image.height
    if pixels < LARGE:
        return False
    unlike = _unlike_pillow(image)
    if unlike is None and _has_rasterio():
        return True
    if pixels <= LARGEST_WHOLE:
        return False
    message = (
        f"expected an image of at most {LARGEST_WHOLE:,} pixels, which is what is decoded as a whole, got "
        f"{image.width}x{image.height}"
    )
    if not _has_rasterio():
        remedy = "Install rasterio, which reads large images part by part: pip install 'rbox-formats[geo]'"
        raise ImageError(message, path=path, remedy=remedy)
    if unlike == "lossy":
        return True
    remedy = "Convert it to an RGB PNG or TIFF, which is read part by part."
    raise ImageError(f"{message} ({unlike})", path=path, remedy=remedy)


def _unlike_pillow(image: PillowImage) -> str | None:
    """Why GDAL's pixels may differ from Pillow's; None where they do not."""
    if image.format not in _DRIVERS:
        return f"a file in the format {image.format}"
    if image.mode not in _MODES:
        return f"of Pillow's mode {image.mode!r}"
    if image.format == "TIFF" and image.getexif().get(_TIFF_ORIENTATION, 1) != 1:
        return "with a rotation noted in the file"
    compression = str(image.info.get("compression", ""))
    if _DRIVERS[image.format] == "JPEG" or "jpeg" in compression or "webp" in compression:
        return "lossy"
    return None


def _has_rasterio() -> bool:
    from importlib.util import find_spec

    return find_spec("rasterio") is not None


@contextmanager
def gdal_rows(path: Path, image: PillowImage) -> Iterator[Rows]:
    """Rows of an image read by GDAL; `image` is the same file as Pillow opened it, header only.

    Raises:
        OSError: Of rasterio, if a part cannot be read.
        ImageError: If the file's strips or tiles are too high to be read in bounded memory.
    """
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    options = {
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no files beside it are read,
        "GDAL_PAM_ENABLED": "NO",  # nor written
        "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES",  # a JPEG cut short is an error, as with Pillow
    }
    with warnings.catch_warnings(), rasterio.Env(**options):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path.resolve(), driver=_DRIVERS[str(image.format)]) as source:
            if (source.width, source.height) != image.size or source.dtypes[0] != "uint8":
                found = f"{source.width}x{source.height} of {source.dtypes[0]}"
                raise ImageError(f"expected {image.width}x{image.height} of 8 bits, got {found} from GDAL", path=path)
            shape = source.block_shapes[0]
            block_row = shape[0] * source.width * source.count
            if block_row > _BLOCK_ROW_BYTES:
                message = (
                    f"expected an image stored in low strips or tiles, got blocks of {shape[0]} rows, {shape[1]} wide"
                )
                remedy = "Store it anew with smaller ones: gdal_translate -co TILED=YES IN.tif OUT.tif"
                raise ImageError(message, path=path, remedy=remedy)
            # Rows that end within a row of blocks are followed by others of the same blocks, which are kept so long.
            with rasterio.Env(GDAL_CACHEMAX=max(_CACHE_BYTES, 2 * block_row)):
                yield Rows(source.width, source.height, _reader(source))


def _reader(source: Any) -> Callable[[int, int], ImageArray]:
    from rasterio.windows import Window

    bands = [1, 2, 3] if source.count >= 3 else [1]
    table = _table(source) if len(bands) == 1 else None

    def read(start: int, stop: int) -> ImageArray:
        pixels = source.read(bands, window=Window(0, start, source.width, stop - start))
        return np.ascontiguousarray(np.moveaxis(pixels, 0, 2)) if table is None else table[pixels[0]]

    return read


def _table(source: Any) -> Any:
    """The RGB of each value of a file with one band of colour, (256, 3) uint8: its palette, or a range of grey."""
    if source.colorinterp[0].name == "palette":
        table = np.zeros((256, 3), dtype=np.uint8)
        for value, colour in source.colormap(1).items():
            table[value] = colour[:3]
        return table
    values = 2 ** int(source.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", 8))
    grey = np.arange(256) * 255 // (values - 1)
    return np.repeat(np.minimum(grey, 255).astype(np.uint8)[:, None], 3, axis=1)
