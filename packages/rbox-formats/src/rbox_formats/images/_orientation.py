"""Turn the pixels of a file as it notes.

Cameras and scanners store pixels in the order in which they read them, and note how to turn them for viewing: in the
EXIF data of a JPEG, PNG or WebP file, in a tag of a TIFF. Viewers and annotation tools turn them, and so does every
function of this package: boxes, sizes and windows are those of the turned image. Pillow's `ImageOps.exif_transpose`
does the same.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rbox_formats.images._files import OpenFile
from rbox_formats.typing import Image as ImageArray

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
else:
    PillowImage = Any  # Pillow is imported where an image is opened

UPRIGHT = 1
_TAG = 0x112

_PNG_SIGNATURE, _PNG_EXIF, _PNG_END = b"\x89PNG\r\n\x1a\n", b"eXIf", b"IEND"
_LONGEST_EXIF = 2**16  # as in a JPEG; a longer one is ignored
# Where Pillow keeps what a file notes.
_NOTES = ("exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp")
_METHODS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


class Turn(NamedTuple):
    """How stored pixels are turned for viewing: first rows become columns, then rows and columns are mirrored.

    Attributes:
        transposes: Whether rows become columns.
        mirrors_rows: Whether the last row is then the first.
        mirrors_columns: Whether the last column is then the first.
    """

    transposes: bool
    mirrors_rows: bool
    mirrors_columns: bool

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the size of the turned image from the stored size, and the reverse."""
        return (height, width) if self.transposes else (width, height)

    def pixels(self, stored: ImageArray) -> ImageArray:
        """Turn the pixels of an image, or of whole rows of it (of whole columns, where they become rows)."""
        found = stored.swapaxes(0, 1) if self.transposes else stored
        return found[:: -1 if self.mirrors_rows else 1, :: -1 if self.mirrors_columns else 1]


# By the number in the file, which says where the first stored row and column belong.
TURNS = {
    1: Turn(False, False, False),
    2: Turn(False, False, True),
    3: Turn(False, True, True),
    4: Turn(False, True, False),
    5: Turn(True, False, False),
    6: Turn(True, False, True),
    7: Turn(True, True, True),
    8: Turn(True, True, False),
}


def noted(image: PillowImage, path: Path | OpenFile | None = None) -> int:
    """Return the orientation that an image file notes, from 1 to 8, without decoding it; 1 where it notes none.

    Args:
        image: The image as opened by Pillow.
        path: The file, to find a PNG's note after its pixels, for which Pillow would decode all of them. In a file that
            is open already, on another machine perhaps, it is not looked for: that would read all of it.
    """
    try:
        if image.format == "PNG" and path is not None and "exif" not in image.info:
            return _valid(_in_png(image, path))
        return _valid(image.getexif().get(_TAG))
    # Any error of Pillow on broken EXIF data, which has no readable orientation; viewers ignore it, too.
    except Exception:
        return UPRIGHT


def _valid(value: object) -> int:
    return value if isinstance(value, int) and value in TURNS else UPRIGHT


def _in_png(image: PillowImage, path: Path | OpenFile) -> object:
    """Return the orientation wherever the file notes it; `image.getexif()` of a PNG decodes all pixels first."""
    from PIL import Image

    if not isinstance(path, Path) or (content := _png_exif(path)) is None:
        return Image.Image.getexif(image).get(_TAG)  # a text before the pixels, as ImageMagick writes it
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + content)
    return exif.get(_TAG)


def _png_exif(path: Path) -> bytes | None:
    """Return the EXIF data of a PNG; chunks of pixels are skipped."""
    with path.open("rb") as file:
        if file.read(len(_PNG_SIGNATURE)) != _PNG_SIGNATURE:
            return None
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == _PNG_EXIF and length <= _LONGEST_EXIF:
                return file.read(length)
            if kind == _PNG_END:
                break
            file.seek(length + 4, 1)
    return None


def upright(image: PillowImage) -> PillowImage:
    """Turn the pixels of an image that Pillow opened as it notes; return the image itself where it notes nothing.

    An image that Pillow resized or cropped keeps the note. Turn such an image before, by `ImageOps.exif_transpose`,
    which removes the note.

    >>> from PIL import Image
    >>> from rbox_formats import images
    >>> images.upright(Image.new("RGB", (100, 80))).size
    (100, 80)
    """
    from PIL import Image

    _decode(image)  # of a TIFF this turns the pixels, and takes the note away; a PNG's note may stand at its end
    method = _METHODS.get(noted(image))
    if method is None:
        return image
    turned = image.transpose(Image.Transpose[method])
    for key in _NOTES:
        turned.info.pop(key, None)  # or it would be turned again
    return turned


def _decode(image: PillowImage) -> None:
    """Decode an opened file.

    Pillow (13.0) maps a TIFF of one uncompressed strip into memory by the size of the turned image, so that its rows
    are torn: it does so where it knows the file's name.
    """
    name = getattr(image, "filename", None)
    if name is None or image.format != "TIFF":
        image.load()
        return
    image.filename = ""  # type: ignore[attr-defined]
    try:
        image.load()
    finally:
        image.filename = name  # type: ignore[attr-defined]


def as_stored(shown: tuple[int, int], orientation: int) -> np.ndarray:
    """Return the transform (2, 3) from a place on the turned image of size (width, height) to the stored one.

    >>> from rbox_formats import images
    >>> images.as_stored((80, 100), orientation=6).tolist()
    [[0.0, 1.0, 0.0], [-1.0, 0.0, 80.0]]
    """
    turn, (width, height) = TURNS[orientation], shown
    # Undo each mirroring, then exchange rows and columns again.
    x = [-1.0, 0.0, width] if turn.mirrors_columns else [1.0, 0.0, 0.0]
    y = [0.0, -1.0, height] if turn.mirrors_rows else [0.0, 1.0, 0.0]
    return np.array([y, x] if turn.transposes else [x, y])
