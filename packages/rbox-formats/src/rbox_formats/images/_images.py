"""Image files: their sizes, their pixels, and whether they are whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rbox_formats import files
from rbox_formats.errors import ImageError
from rbox_formats.images import _deep, _orientation, _rows
from rbox_formats.images._files import OpenFile
from rbox_formats.images._opening import (
    LIMIT_VARIABLE,
    UnreadTiffError,
    any_size,
    largest_whole,
    naming,
    open_named,
    opened,
    shown_size,
    too_large,
)
from rbox_formats.images._rows import Rows, whole_rows
from rbox_formats.typing import Image as ImageArray

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
else:
    PillowImage = Any  # Pillow is imported where an image is opened

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".jp2")

# A JPEG ends with this marker; what some cameras append after it is short.
_JPEG_END, _JPEG_TAIL_BYTES = b"\xff\xd9", 65536


def find(folder: Path) -> list[Path]:
    """Return the image files in a folder, by their suffix, in order of their names; empty where there is no folder.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from rbox_formats import images
    >>> with TemporaryDirectory() as folder:
    ...     Image.new("RGB", (100, 80)).save(Path(folder) / "harbour.png")
    ...     print([path.name for path in images.find(Path(folder))])
    ['harbour.png']
    """
    return [path for path in files.visible(folder) if path.suffix.lower() in SUFFIXES]


def read_size(path: str | Path | OpenFile) -> tuple[int, int]:
    """Read the (width, height) of an image file in pixels, from its header alone.

    It is the size after turning as the file notes, that of the pixels that `load` returns.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from rbox_formats import images
    >>> with TemporaryDirectory() as folder:
    ...     Image.new("RGB", (100, 80)).save(Path(folder) / "harbour.png")
    ...     print(images.read_size(Path(folder) / "harbour.png"))
    (100, 80)

    Args:
        path: The file; or one that is open, whose header alone is read: the note after a PNG's pixels, that it is to be
            turned, is then not seen.

    Raises:
        ImageError: If there is no such file, or it is not an image.
    """
    source = path if isinstance(path, OpenFile) else files.as_path(path, ImageError)
    try:
        with naming(source), opened(source, any_mode=True) as image:
            return shown_size(image, source)
    except UnreadTiffError as error:
        return _orientation.TURNS[error.head.orientation].size(error.head.width, error.head.height)


def read_orientation(path: str | Path) -> int:
    """Read how the stored pixels of an image file are to be turned, from its header: EXIF's number, 1 to 8.

    It is 1 if the header has no orientation. The other functions turn the pixels themselves.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from rbox_formats import images
    >>> with TemporaryDirectory() as folder:
    ...     Image.new("RGB", (100, 80)).save(Path(folder) / "harbour.png")
    ...     print(images.read_orientation(Path(folder) / "harbour.png"))
    1

    Raises:
        ImageError: If there is no such file, or it is not an image.
    """
    try:
        with naming(path := files.as_path(path, ImageError)), opened(path, any_mode=True) as image:
            return _orientation.noted(image, path)
    except UnreadTiffError as error:
        return error.head.orientation


def load(path: str | Path) -> ImageArray:
    """Read the pixels of an image file.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from rbox_formats import images
    >>> with TemporaryDirectory() as folder:
    ...     Image.new("RGB", (100, 80)).save(Path(folder) / "harbour.png")
    ...     print(images.load(Path(folder) / "harbour.png").shape)
    (80, 100, 3)

    Returns:
        (height, width, 3) uint8, RGB. Grey images repeat their one channel, transparency is dropped, and the image is
        turned as the file notes (EXIF's orientation, TIFF's tag), as viewers and annotation tools show it. For images
        of more than 8 bits, the range from the 2nd to the 98th percentile of each band is mapped to 0 to 255, and the
        first three bands are red, green and blue, unless the environment variables `RBOX_STRETCH` and `RBOX_BANDS` say
        otherwise.

    Raises:
        ImageError: If there is no such file, it is not an image, is cut short, has more pixels than `LARGEST_WHOLE`, or
            needs rasterio, which is not installed.
    """
    path = files.as_path(path, ImageError)
    try:
        return _load(path)
    except UnreadTiffError as error:
        return _load_by_gdal(path, error.head)


def _load_by_gdal(path: Path, head: _deep.TiffHead) -> ImageArray:
    if head.width * head.height > (limit := largest_whole()):
        raise ImageError(
            f"expected an image of at most {limit:,} pixels, which is what is decoded as a whole, got "
            f"{head.width}x{head.height}",
            path=path,
            remedy="Convert it to 8 bits and three bands: gdal_translate -scale -ot Byte -b 1 -b 2 -b 3 IN.tif OUT.tif",
        )
    with naming(path):
        return _deep.of_gdal(path, head)


def _load(path: Path) -> ImageArray:
    with open_named(path) as image, any_size():
        if (reason := too_large(image)) is not None:
            remedy = (
                f"If you trust the file, and have the memory, set the environment variable {LIMIT_VARIABLE} higher."
            )
            raise ImageError(reason, path=path, remedy=remedy)
        if image.mode in _deep.DEEP_MODES:
            return _deep.of_pillow(image, path)
        if not _deep.is_default():
            return _deep.of_bands(image, path)
        return as_rgb(image)


def as_rgb(image: PillowImage) -> ImageArray:
    """Return the pixels of an image that Pillow holds, turned as it notes: (height, width, 3) uint8, RGB.

    >>> from PIL import Image
    >>> from rbox_formats import images
    >>> images.as_rgb(Image.new("L", (100, 80))).shape
    (80, 100, 3)
    """
    turned = _orientation.upright(image)
    return np.array(turned if turned.mode == "RGB" else turned.convert("RGB"))  # a copy: Pillow's own are read-only


@contextmanager
def open_rows(path: str | Path) -> Iterator[Rows]:
    """Open an image file to read it a few rows at a time, with the pixels that `load` gives.

    A large image is read in bounded memory by rasterio (the extra `geo`). Without rasterio, or if the image is small,
    or if rasterio's pixels would differ from those of `load` (JPEG), it is decoded as a whole, up to `LARGEST_WHOLE`
    pixels. Larger JPEGs are read by rasterio, too, whose decoder may round colours differently.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from rbox_formats import images
    >>> with TemporaryDirectory() as folder:
    ...     Image.new("RGB", (100, 80)).save(Path(folder) / "harbour.png")
    ...     with images.open_rows(Path(folder) / "harbour.png") as rows:
    ...         print(rows.width, rows.height, rows.read(0, 10).shape)
    100 80 (10, 100, 3)

    Yields:
        An object with `width`, `height` and `read(start, stop)`, which returns rows (stop - start, width, 3).

    Raises:
        ImageError: If there is no such file, it is not an image of 8 bits a channel, cut short, or too large without
            rasterio; the last two perhaps only when rows are read.
    """
    path = files.as_path(path, ImageError)
    with ExitStack() as stack:
        with naming(path):
            try:
                image = stack.enter_context(opened(path))
                whole = image.mode in _deep.DEEP_MODES or not _deep.is_default()
            except UnreadTiffError:
                whole = True
            if whole:
                rows = _array_rows(load(path))
            elif _rows.wants_gdal(image, path):
                rows = stack.enter_context(_rows.gdal_rows(path, image))
            else:
                rows = whole_rows(image, shown_size(image, path))

        def read(start: int, stop: int) -> ImageArray:
            with naming(path):
                return rows.read(start, stop)

        # An error in the block that uses the rows, such as a full disk, is not an error of the image.
        yield rows._replace(read=read)


def _array_rows(pixels: ImageArray) -> Rows:
    """Return rows of an image that is in memory, whose values are scaled by the whole image."""
    return Rows(pixels.shape[1], pixels.shape[0], lambda start, stop: pixels[start:stop].copy())


def check(path: str | Path) -> None:
    """Check a file for damage without decoding its pixels: fast enough for a whole dataset before a long run.

    A PNG's chunks are read and their checksums compared; a JPEG must have its end marker; of other formats only the
    header is read.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from rbox_formats import images
    >>> with TemporaryDirectory() as folder:
    ...     Image.new("RGB", (100, 80)).save(Path(folder) / "harbour.png")
    ...     images.check(Path(folder) / "harbour.png")

    Raises:
        ImageError: If there is no such file, or it is not an image, or cut short.
    """
    path = files.as_path(path, ImageError)
    try:
        _check(path)
    except UnreadTiffError:
        return  # a TIFF with a whole header


def _check(path: Path) -> None:
    with open_named(path) as image:
        if image.format == "PNG":
            image.verify()
        elif image.format == "JPEG":
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _JPEG_TAIL_BYTES))
                if _JPEG_END not in file.read():
                    raise OSError("the file ends before the image does")
