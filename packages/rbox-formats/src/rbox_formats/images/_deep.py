"""Convert images of more than 8 bits per band, or of bands other than red, green and blue, to RGB.

In an image of 16 or 32 bits, integers or floats, the range between the 2nd and the 98th percentile of each band is
mapped to 0 to 255, clipped and rounded. The percentiles are those of the image's own finite pixels, without the file's
no-data value; for a large image, those of every k-th row and column, about a million pixels. Bands of 8 bits stay
unchanged. The first three bands become red, green and blue; if there are fewer, the first becomes grey.

Two environment variables change that for a process and the processes that it starts. The commands set them by the
options `--bands` and `--stretch`.

- `RBOX_BANDS`: one number or three, from 1: "1", or "4,3,2".
- `RBOX_STRETCH`: percentiles, such as "1%,99%"; a range of values for all images, such as "0,10000"; or "none", which
  takes values of 0 to 255 unchanged. A range or percentiles are also applied to bands of 8 bits.

A file that Pillow does not read, such as a TIFF of five bands, is read by rasterio (the extra `geo`), as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rbox_formats.errors import ImageError, quoted, said
from rbox_formats.images._files import OpenFile
from rbox_formats.images._orientation import TURNS, upright
from rbox_formats.typing import Image as ImageArray

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
else:
    PillowImage = Any  # Pillow is imported where an image is opened

BANDS_VARIABLE = "RBOX_BANDS"
STRETCH_VARIABLE = "RBOX_STRETCH"

# Pillow's modes of one band of numbers.
DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")

_SAMPLES = 2**20
_PERCENTILES = (2.0, 98.0)
_ORIENTATION = 274


class Shown(NamedTuple):
    """How an image's values become colours.

    Attributes:
        bands: The bands that become red, green and blue, or the one that becomes grey, counted from 1; None: the first
            three, or the first.
        percentiles: The percentiles of each image and band that are the ends of the range; None: `limits`.
        limits: The values that are the ends of the range; if both are None, values are unchanged.
        asked: Whether the range was set explicitly; it is then applied to 8 bits, too.
    """

    bands: tuple[int, ...] | None = None
    percentiles: tuple[float, float] | None = _PERCENTILES
    limits: tuple[float, float] | None = None
    asked: bool = False


def shown() -> Shown:
    """Return the settings in the environment variables.

    Raises:
        ImageError: If a variable has another form.
    """
    bands, stretch = (os.environ.get(name, "").strip() for name in (BANDS_VARIABLE, STRETCH_VARIABLE))
    return Shown(parse_bands(bands) if bands else None)._replace(**(parse_stretch(stretch) if stretch else {}))


def shown_by() -> dict[str, str]:
    """Return the values of `--bands` and `--stretch` that are set, by their names.

    The headers of files that depend on these options store them.

    >>> shown_by()
    {}
    """
    names = {"bands": BANDS_VARIABLE, "stretch": STRETCH_VARIABLE}
    return {name: text for name, variable in names.items() if (text := os.environ.get(variable, "").strip())}


def is_default() -> bool:
    """Return whether images are shown in the default way.

    >>> is_default()
    True
    """
    return shown() == Shown()


def parse_bands(text: str) -> tuple[int, ...]:
    """Parse the bands that a text names.

    >>> parse_bands("3,2,1")
    (3, 2, 1)

    Raises:
        ImageError: If the text does not name one band or three.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (1, 3) or not all(p.isascii() and p.isdigit() and 0 < int(p) < 10_000 for p in parts):
        raise ImageError(f"expected one band or three, from 1, such as 4,3,2, got {quoted(text)}")
    return tuple(map(int, parts))


def parse_stretch(text: str) -> dict[str, Any]:
    """Parse the fields of `Shown` that a text gives.

    >>> parse_stretch("2%,98%")["percentiles"], parse_stretch("0,3000")["limits"]
    ((2.0, 98.0), (0.0, 3000.0))

    Raises:
        ImageError: If the text has none of the forms of `RBOX_STRETCH`.
    """
    if text == "none":
        return {"percentiles": None, "limits": None, "asked": True}
    parts = [part.strip() for part in text.split(",")]
    shares = [part.endswith("%") for part in parts]
    try:
        numbers = [float(part.removesuffix("%")) for part in parts]
        low, high = numbers
        fits = np.isfinite(numbers).all() and low < high and shares[0] == shares[1]
        if not fits or (shares[0] and not 0 <= low < high <= 100):
            raise ValueError
    except ValueError:
        raise ImageError(
            f"expected percentiles such as 2%,98%, a range of values such as 0,10000, or none, got {quoted(text)}"
        ) from None
    if shares[0]:
        return {"percentiles": (low, high), "limits": None, "asked": True}
    return {"percentiles": None, "limits": (low, high), "asked": True}


class TiffHead(NamedTuple):
    """The header of a TIFF that Pillow does not read: the stored size, and how the pixels are to be turned."""

    width: int
    height: int
    orientation: int


def tiff_head(path: Path | OpenFile) -> TiffHead | None:
    """Return the header of a TIFF; None for another file, or a broken header."""
    from PIL import TiffImagePlugin

    try:
        with path.open("rb") if isinstance(path, Path) else nullcontext(path) as file:
            file.seek(0)
            start = file.read(8)
            if start[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
                return None
            if start[2:3] == b"+" or start[3:4] == b"+":
                start += file.read(8)
            directory = TiffImagePlugin.ImageFileDirectory_v2(start)
            file.seek(directory.next)
            directory.load(file)  # type: ignore[arg-type]  # it reads and seeks, no more
            width, height = int(directory[256]), int(directory[257])
            orientation = directory.get(_ORIENTATION, 1)
    # Any error of Pillow on a broken header, in a file that neither it nor GDAL could read.
    except Exception:
        return None
    if min(width, height) < 1:
        return None
    return TiffHead(width, height, orientation if orientation in TURNS else 1)


def of_pillow(image: PillowImage, path: Path) -> ImageArray:
    """Return the pixels of an image of one band of numbers that Pillow opened: (height, width, 3) uint8."""
    return _coloured([np.asarray(upright(image))], None, path, shown())


def of_gdal(path: Path, head: TiffHead) -> ImageArray:
    """Return the pixels of a TIFF that Pillow does not read, or of chosen bands: (height, width, 3) uint8.

    Raises:
        ImageError: If rasterio is not installed, a band does not exist, or the file is broken.
    """
    settings = shown()
    with _source(path) as source:
        bands = _chosen(settings, source.count, path)
        layers = [source.read(band) for band in dict.fromkeys(bands)]
        nodata = source.nodata
    by_band = dict(zip(dict.fromkeys(bands), layers, strict=True))
    return np.ascontiguousarray(
        TURNS[head.orientation].pixels(_coloured([by_band[b] for b in bands], nodata, path, settings))
    )


def of_bands(image: PillowImage, path: Path) -> ImageArray:
    """Return the chosen bands of an 8-bit image that Pillow opened: (height, width, 3) uint8."""
    settings = shown()
    turned = upright(image)
    pixels = np.asarray(turned.convert("RGB") if turned.mode in ("1", "P", "PA", "CMYK", "YCbCr") else turned)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    bands = _chosen(settings, pixels.shape[2], path)
    return _coloured([pixels[..., band - 1] for band in bands], None, path, settings)


def _chosen(settings: Shown, count: int, path: Path) -> tuple[int, ...]:
    bands = settings.bands or ((1, 2, 3) if count >= 3 else (1,))
    if max(bands) > count:
        remedy = f"Choose others (--bands, or the environment variable {BANDS_VARIABLE})."
        raise ImageError(f"expected an image with a band {max(bands)}, got {count} bands", path=path, remedy=remedy)
    return bands


@contextmanager
def _source(path: Path) -> Iterator[Any]:
    import warnings
    from importlib.util import find_spec

    if find_spec("rasterio") is None:
        raise ImageError(
            "expected rasterio for a TIFF of bands that Pillow does not read, found none",
            path=path,
            remedy="Install it: pip install 'rbox-formats[geo]'. The file's size is read without, and its labels.",
        )
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    options = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "GDAL_PAM_ENABLED": "NO"}
    with warnings.catch_warnings(), rasterio.Env(**options):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.open(path.resolve(), driver="GTiff") as source:
                yield source
        except RasterioError as error:
            raise ImageError(f"expected a TIFF that GDAL reads, got: {said(error)}", path=path) from error


def _coloured(bands: list[np.ndarray], nodata: float | None, path: Path, settings: Shown) -> ImageArray:
    """Return one band or three (height, width) as RGB: (height, width, 3) uint8."""
    if any(np.iscomplexobj(band) for band in bands):
        raise ImageError("expected real numbers as pixels, got complex ones", path=path)
    layers = [_stretched(band, nodata, settings) for band in bands]
    return np.stack(layers if len(layers) == 3 else layers * 3, axis=2)


def _stretched(band: np.ndarray, nodata: float | None, settings: Shown) -> np.ndarray:
    """Scale a band to 0 to 255, uint8; NaN becomes 0."""
    if band.dtype == np.uint8 and not settings.asked:
        return band
    limits = settings.limits
    if settings.percentiles is not None:
        step = max(1, int(np.ceil((band.size / _SAMPLES) ** 0.5)))
        some = band[::step, ::step]
        valid = np.isfinite(some) if nodata is None or np.isnan(nodata) else np.isfinite(some) & (some != nodata)
        low, high = np.percentile(some[valid].astype(np.float64), settings.percentiles) if valid.any() else (0.0, 1.0)
        limits = float(low), float(high)
    low, high = limits or (0.0, 255.0)
    values = np.nan_to_num(band.astype(np.float64), nan=low, posinf=high, neginf=low)
    shares = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)
