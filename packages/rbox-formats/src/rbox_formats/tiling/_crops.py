"""Cut the pixels of windows out of an image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path

import numpy as np

from rbox_formats import images
from rbox_formats.errors import ImageError
from rbox_formats.tiling._windows import Window
from rbox_formats.typing import Image

# The RGB colour beyond the image's border, as in DOTA's windows: MMRotate's padding value.
PADDING = (104, 116, 124)

_ROWS_AT_ONCE = 256


def crop(image: Image, window: Window, *, padding: bool = True) -> Image:
    """Return a window's pixels.

    >>> import numpy as np
    >>> from rbox_formats import tiling
    >>> tiling.crop(np.zeros((100, 150, 3), np.uint8), tiling.Window(100, 0, 100)).shape
    (100, 100, 3)

    Args:
        image: (height, width, 3) uint8.
        window: The window.
        padding: Whether the part beyond the image's border is filled with `PADDING`, or left out.

    Returns:
        (output_size, output_size, 3) uint8; smaller at the border without padding. At scales other than 1 it is resized
        bilinearly; a smaller scale averages over all pixels that become one.
    """
    piece = image[window.y : window.y + window.size, window.x : window.x + window.size]
    if padding and piece.shape[:2] != (window.size, window.size):
        padded = np.empty((window.size, window.size, 3), dtype=image.dtype)
        padded[:] = PADDING
        padded[: piece.shape[0], : piece.shape[1]] = piece
        piece = padded
    if window.output_size == window.size:
        return piece
    from PIL import Image as PillowImage

    height, width = (max(round(side * window.scale), 1) for side in piece.shape[:2])
    resized = PillowImage.fromarray(piece).resize((width, height), PillowImage.Resampling.BILINEAR)
    return np.asarray(resized)


def crops(path: str | Path, places: Iterable[Window], *, padding: bool = True) -> Iterator[tuple[Window, Image]]:
    """Yield windows of an image file and their pixels; the file is read once, from top to bottom.

    Where `images.open_rows` reads the image part by part, the memory needed is that of a band as high as the largest
    window and as wide as the image.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from rbox_formats import tiling
    >>> windows = tiling.windows(150, 100, size=100, gap=50)
    >>> with TemporaryDirectory() as folder:
    ...     Image.new("RGB", (150, 100)).save(Path(folder) / "harbour.png")
    ...     for window, pixels in tiling.crops(Path(folder) / "harbour.png", windows):
    ...         print(window.corners, pixels.shape)
    (0, 0, 100, 100) (100, 100, 3)
    (50, 0, 150, 100) (100, 100, 3)

    Args:
        path: The image's file.
        places: Windows of any scales, in any order.
        padding: As in `crop`.

    Yields:
        Each window with its pixels, in the order of their lower ends.

    Raises:
        ImageError: If the file is not a whole image, is too large without rasterio, or the windows of a row are too
            large.
    """
    with images.open_rows(path) as rows:
        order = sorted(places, key=lambda window: (min(window.y + window.size, rows.height), window.y, window.x))
        ends = [min(window.y + window.size, rows.height) for window in order]
        # The first row that is still needed at each window, since no later window begins above it.
        lows = list(accumulate(reversed([min(window.y, rows.height) for window in order]), min))[::-1]
        capacity = max((end - low for end, low in zip(ends, lows, strict=True)), default=0)
        if capacity * rows.width > (limit := images.largest_whole()):
            raise ImageError(
                f"expected windows over at most {limit:,} pixels of the image at once, which is what is held, got "
                f"{capacity} rows of {rows.width}",
                path=path,
                remedy=f"Take smaller windows, or set the environment variable {images.LIMIT_VARIABLE} higher.",
            )
        band = np.empty((capacity, rows.width, 3), dtype=np.uint8)
        first = stop = 0  # the image's rows in the band
        for window, low, end in zip(order, lows, ends, strict=True):
            if end > stop:
                _move_up(band, low - first, max(stop - low, 0))
                first, stop = low, max(stop, low)
                for row in range(stop, end, _ROWS_AT_ONCE):
                    next_row = min(row + _ROWS_AT_ONCE, end)
                    band[row - first : next_row - first] = rows.read(row, next_row)
                stop = end
            piece = crop(band[: end - first], window._replace(y=window.y - first), padding=padding)
            yield window, piece.copy()  # the band's rows move


def _move_up(band: Image, by: int, count: int) -> None:
    """Move `count` rows to the top, in pieces that do not overlap their places: numpy would copy the whole first."""
    at_once = min(by, _ROWS_AT_ONCE)
    for row in range(0, count if by else 0, at_once or 1):
        next_row = min(row + at_once, count)
        band[row:next_row] = band[row + by : next_row + by]
