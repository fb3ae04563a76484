"""Image files: their sizes, their pixels, and whether they are whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from rbox_formats._typing import Image as ImageArray
from rbox_formats.errors import ImageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

# A JPEG ends with this marker; what some cameras append after it is short.
_JPEG_END, _JPEG_TAIL_BYTES = b"\xff\xd9", 65536


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turns what Pillow raises into an error that names the file and says what to do."""
    try:
        yield
    except FileNotFoundError as error:
        raise ImageError("expected an image, found no file", path=path) from error
    except (OSError, SyntaxError, ValueError) as error:
        # Pillow's own words for a broken file: OSError ("truncated"), SyntaxError (a broken PNG), ValueError.
        remedy = "Fetch the file again, or take it out of the dataset."
        raise ImageError(f"expected a whole image, got: {error}", path=path, remedy=remedy) from error


def find(folder: Path) -> list[Path]:
    """The image files in a folder, by their suffix, in order of their names; none where there is no folder."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES) if folder.is_dir() else []


def read_size(path: str | Path) -> tuple[int, int]:
    """The (width, height) of an image file in pixels, from its header alone.

    Raises:
        ImageError: If there is no such file, or it is not an image.
    """
    from PIL import Image

    with _named(Path(path)), Image.open(path) as image:
        return image.size


def load(path: str | Path) -> ImageArray:
    """The pixels of an image file.

    Returns:
        (height, width, 3) uint8, RGB; grey images repeat their one channel, transparency is dropped.

    Raises:
        ImageError: If there is no such file, or it is not an image, or cut short.
    """
    from PIL import Image

    with _named(Path(path)), Image.open(path) as image:
        return np.array(image.convert("RGB"))  # a copy: Pillow's own pixels are read-only


def check(path: str | Path) -> None:
    """Looks for a broken file without decoding its pixels: fast enough for a whole dataset before a long run.

    A PNG's chunks are read and their checksums compared; a JPEG must have its end marker; of other formats only the
    header is read.

    Raises:
        ImageError: If there is no such file, or it is not an image, or cut short.
    """
    from PIL import Image

    path = Path(path)
    with _named(path):
        with Image.open(path) as image:
            kind = image.format
            if kind == "PNG":
                image.verify()
        if kind == "JPEG":
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _JPEG_TAIL_BYTES))
                if _JPEG_END not in file.read():
                    raise OSError("the file ends before the image does")
