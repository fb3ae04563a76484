"""Rasters of classes: which pixels are of any, a few rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from rbox_formats import files
from rbox_formats.errors import ImageError
from rbox_formats.images._deep import DEEP_MODES
from rbox_formats.images._opening import any_size, naming, opened, shown_size, too_large
from rbox_formats.images._orientation import upright
from rbox_formats.images._rows import Rows, gdal_rows, wants_gdal, whole_rows


@contextmanager
def open_nonzero(path: str | Path) -> Iterator[Rows]:
    """Open an image file to read which of its pixels are not black, or not zero, a few rows at a time.

    Large files are read in bounded memory, as by `open_rows`; how images are shown (`RBOX_STRETCH`, `RBOX_BANDS`) plays
    no part. A palette's colours count, not its numbers.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from rbox_formats import images
    >>> with TemporaryDirectory() as folder:
    ...     Image.new("L", (100, 80), 1).save(Path(folder) / "buildings.png")
    ...     with images.open_nonzero(Path(folder) / "buildings.png") as rows:
    ...         print(rows.read(0, 10).shape, rows.read(0, 10).all())
    (10, 100) True

    Yields:
        An object with `width`, `height` and `read(start, stop)`, which returns (stop - start, width) bool.

    Raises:
        ImageError: If there is no such file, it is not an image, cut short, or too large without rasterio; the last two
            perhaps only when rows are read.
    """
    path = files.as_path(path, ImageError)
    with ExitStack() as stack:
        with naming(path):
            image = stack.enter_context(opened(path))
            if image.mode in DEEP_MODES:
                if (reason := too_large(image)) is not None:
                    raise ImageError(reason, path=path, remedy="Store it with 8 bits a pixel.")
                with any_size():
                    pixels = np.array(upright(image))
                rows = Rows(pixels.shape[1], pixels.shape[0], lambda start, stop: pixels[start:stop, :, None])
            elif wants_gdal(image, path):
                rows = stack.enter_context(gdal_rows(path, image))
            else:
                rows = whole_rows(image, shown_size(image, path))

        def read(start: int, stop: int) -> np.ndarray:
            with naming(path):
                return np.asarray(rows.read(start, stop).any(axis=2))

        yield rows._replace(read=read)
