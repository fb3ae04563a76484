"""Read rows of an image file in bounded memory by GDAL, for images too large to decode at once; see `images.open_rows`.

GDAL (through rasterio, in the extra `geo`) reads PNG, BMP and TIFF a few rows at a time and gives the same pixels as
Pillow. For JPEG, in a file of its own or inside a TIFF, the standard leaves rounding to the decoder. So JPEGs are read
by Pillow up to its limit, and have the same pixels with and without rasterio. GDAL does not turn images as their files
note:
that is done here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rbox_formats import files
from rbox_formats.errors import ImageError, said
from rbox_formats.images._opening import LIMIT_VARIABLE, any_size, decoded_size, is_tiled, stored_size, too_large
from rbox_formats.images._orientation import TURNS, Turn, noted, upright
from rbox_formats.typing import Image as ImageArray

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
else:
    PillowImage = Any  # Pillow is imported where an image is opened

# From this many pixels on, GDAL is used if it is installed: 134 MB as Pillow holds RGB (4 bytes a pixel).
LARGE = 2**25
# The limit on pixels per byte of a file too large to be decoded as a whole, against files made to cost time. Deflate
# packs up to 1,032 bytes into one: blank 8-bit images reach that, real ones are far below.
MOST_PIXELS_A_BYTE = 4096

# GDAL's name for each of Pillow's formats. With a named driver, GDAL cannot read the file as one of the formats that
# refer to other files or to the network.
_DRIVERS = {"PNG": "PNG", "BMP": "BMP", "TIFF": "GTiff", "JPEG": "JPEG", "MPO": "JPEG", "JPEG2000": "JP2OpenJPEG"}
# GDAL converts other modes to RGB in its own way.
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA")

_CACHE_BYTES = 2**26
# Blocks are decoded as a whole, a row of blocks at a time, so that the limit is on the bytes of such a row.
_BLOCK_ROW_BYTES = 2**28


class Rows(NamedTuple):
    """An opened image file that gives its rows.

    Attributes:
        width: The width of the image in pixels.
        height: The height of the image in pixels.
        read: A function of (start, stop) that returns the rows from `start` to before `stop`, (stop - start, width, 3)
            uint8, RGB as from `images.load`. It is fast if each call continues after the last one.
    """

    width: int
    height: int
    read: Callable[[int, int], ImageArray]


def whole_rows(image: PillowImage, size: tuple[int, int]) -> Rows:
    """Return rows of an image that Pillow decodes as a whole when first read; `size`: (width, height) after turning."""
    turned: list[PillowImage] = []

    def read(start: int, stop: int) -> ImageArray:
        with any_size():
            if not turned:
                turned.append(upright(image))
            return np.array(turned[0].crop((0, start, size[0], stop)).convert("RGB"))

    return Rows(*size, read)


def wants_gdal(image: PillowImage, path: Path) -> bool:
    """Return whether an image, only its header read, is to be read by GDAL.

    Raises:
        ImageError: If the image is too large for Pillow, and GDAL is not installed or would give other pixels.
    """
    width, height = decoded_size(image)
    reason = too_large(image)
    if width * height < LARGE and reason is None:
        return False
    more = f"If you trust the file, and have the memory, set the environment variable {LIMIT_VARIABLE} higher."
    if reason is not None and width * height > MOST_PIXELS_A_BYTE * (size := path.stat().st_size):
        found = (
            f"{reason}; in a file of {size:,} bytes, and no scene has more than {MOST_PIXELS_A_BYTE:,} pixels a byte"
        )
        raise ImageError(found, path=path, remedy=more)
    unlike = _unlike_pillow(image, path)
    if unlike is None and _has_rasterio():
        return True
    if reason is None:
        return False
    if not _has_rasterio():
        remedy = "Install rasterio, which reads large images part by part: pip install 'rbox-formats[geo]'"
        raise ImageError(reason, path=path, remedy=f"{remedy}\n{more}")
    if unlike == _LOSSY:
        return True
    remedy = "Store it turned, without the note." if unlike == _ON_ITS_SIDE else "Convert it."
    remedy = f"{remedy} An RGB PNG or TIFF (one in tiles, if it is to be turned) is read part by part. {more}"
    raise ImageError(f"{reason} ({unlike})", path=path, remedy=remedy)


_LOSSY, _ON_ITS_SIDE = "lossy", "noted to be turned by a quarter, and not in tiles"


def _unlike_pillow(image: PillowImage, path: Path) -> str | None:
    """Return why GDAL's pixels may differ from Pillow's, or need unbounded memory; None where neither holds."""
    if image.format not in _DRIVERS:
        return f"a file in the format {image.format}"
    if image.mode not in _MODES:
        return f"of Pillow's mode {image.mode!r}"
    if TURNS[noted(image, path)].transposes and not is_tiled(image):
        return _ON_ITS_SIDE  # a row of the turned image is a column of each strip
    compression = str(image.info.get("compression", ""))
    if _DRIVERS[image.format] == "JPEG" or "jpeg" in compression or "webp" in compression:
        return _LOSSY
    return None


def _has_rasterio() -> bool:
    from importlib.util import find_spec

    return find_spec("rasterio") is not None


@contextmanager
def gdal_rows(path: Path, image: PillowImage) -> Iterator[Rows]:
    """Yield rows of an image read by GDAL; `image` is the same file as opened by Pillow, header only.

    Raises:
        OSError: An error of rasterio, if a part cannot be read.
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
            width, height = stored_size(image)
            if (source.width, source.height) != (width, height) or source.dtypes[0] != "uint8":
                found = f"{source.width}x{source.height} of {source.dtypes[0]}"
                raise ImageError(f"expected {width}x{height} of 8 bits, got {found} from GDAL", path=path)
            turn = TURNS[noted(image, path)]
            shape = source.block_shapes[0]
            # The blocks that a row of the turned image lies in; a block may be larger than the image.
            if turn.transposes:
                block_row = shape[1] * max(shape[0], height) * source.count
            else:
                block_row = shape[0] * max(shape[1], width) * source.count
            if block_row > _BLOCK_ROW_BYTES:
                message = (
                    f"expected an image stored in low strips or tiles, got blocks of {shape[0]} rows, {shape[1]} wide"
                )
                remedy = "Store it again with smaller ones: gdal_translate -co TILED=YES IN.tif OUT.tif"
                raise ImageError(message, path=path, remedy=remedy)
            # If the rows end inside a row of blocks, the next ones need the same blocks, which are kept.
            with rasterio.Env(GDAL_CACHEMAX=max(_CACHE_BYTES, 2 * block_row)):
                yield Rows(*turn.size(width, height), _reader(source, turn))


class MapPlace(NamedTuple):
    """Where the pixels of an image lie on a map, as its file says.

    Attributes:
        transform: The numbers a to f in x = a column + b row + c, y = d column + e row + f, from the upper left corner.
        crs: The coordinate reference system, such as "EPSG:32631"; None if the file has none, or one without such a
            number.
    """

    transform: tuple[float, float, float, float, float, float]
    crs: str | None


def read_map_place(path: str | Path) -> MapPlace | None:
    """Return the map position in a GeoTIFF or JPEG 2000, for its stored pixels; None if there is none.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from rbox_formats import images
    >>> with TemporaryDirectory() as folder:
    ...     Image.new("RGB", (100, 80)).save(Path(folder) / "harbour.tif")
    ...     print(images.read_map_place(Path(folder) / "harbour.tif"))
    None

    Raises:
        ImportError: If rasterio is not installed.
        ImageError: If the file is not a TIFF or JPEG 2000 that GDAL reads.
    """
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    file = files.as_path(path, ImageError).resolve()
    driver = _DRIVERS["JPEG2000" if file.suffix.lower() == ".jp2" else "TIFF"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(file, driver=driver) as source:
                transform, crs = source.transform, source.crs
    except RasterioError as error:
        raise ImageError(f"expected a GeoTIFF, got: {said(error)}", path=path) from error
    if transform.is_identity:
        return None
    epsg = crs.to_epsg() if crs else None
    a, b, c, d, e, f = transform[:6]
    return MapPlace((a, b, c, d, e, f), None if epsg is None else f"EPSG:{epsg}")


def _reader(source: Any, turn: Turn) -> Callable[[int, int], ImageArray]:
    from rasterio.windows import Window

    bands = [1, 2, 3] if source.count >= 3 else [1]
    table = _table(source) if len(bands) == 1 else None

    def read(start: int, stop: int) -> ImageArray:
        if turn.mirrors_rows:
            last = source.width if turn.transposes else source.height
            start, stop = last - stop, last - start
        whole = (0, start, source.width, stop - start)
        window = Window(start, 0, stop - start, source.height) if turn.transposes else Window(*whole)
        pixels = source.read(bands, window=window)
        stored = np.moveaxis(pixels, 0, 2) if table is None else table[pixels[0]]
        return np.ascontiguousarray(turn.pixels(stored))

    return read


def _table(source: Any) -> Any:
    """Return the RGB of each value of a one-band file, (256, 3) uint8: its palette, or a range of grey."""
    if source.colorinterp[0].name == "palette":
        table = np.zeros((256, 3), dtype=np.uint8)
        for value, colour in source.colormap(1).items():
            table[value] = colour[:3]
        return table
    values = 2 ** int(source.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", 8))
    grey = np.arange(256) * 255 // (values - 1)
    return np.repeat(np.minimum(grey, 255).astype(np.uint8)[:, None], 3, axis=1)
