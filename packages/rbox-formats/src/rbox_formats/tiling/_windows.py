"""Windows over an image: their places at one or more scales, and their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rbox_formats import files
from rbox_formats.errors import FormatsError, quoted

# Shares of image in windows that differ by less count as equal, if no window has the required share (MMRotate's value).
_SHARE_TOLERANCE = 0.01

# An id, which may contain underscores, then side, x and y; nine digits are enough for any image.
_NAME = re.compile(r"(?P<image_id>.+)__(?P<size>[0-9]{1,9})__(?P<x>[0-9]{1,9})___(?P<y>[0-9]{1,9})", re.DOTALL)


# The names of DOTA's kit: the scale in place of the side.
_SCALED = re.compile(
    r"(?P<image_id>.+)__(?P<scale>[0-9]{1,9}(?:\.[0-9]{1,9})?)__(?P<x>[0-9]{1,9})___(?P<y>[0-9]{1,9})", re.DOTALL
)

SMALLEST_NAMED = 16
"""The shortest side of a window, px. In a name, a smaller whole number, or a decimal, is a scale of DOTA's kit."""

KIT_SIZE = 1024
"""The side of the kit's windows after scaling, px: the kit's default."""


class Window(NamedTuple):
    """A square part of an image, and the scale at which it is shown. It may reach beyond the image's border.

    >>> from rbox_formats import tiling
    >>> window = tiling.Window(x=512, y=0, size=1024, scale=0.5)
    >>> window.corners, window.output_size
    ((512, 0, 1536, 1024), 512)

    Attributes:
        x: Of its left upper corner, in pixels of the image.
        y: Of its left upper corner, in pixels of the image.
        size: Its side, in pixels of the image.
        scale: The number of pixels of the shown window per pixel of the image.
    """

    x: int
    y: int
    size: int
    scale: float = 1.0

    @property
    def output_size(self) -> int:
        """The side of the shown window, in its own pixels."""
        return max(round(self.size * self.scale), 1)

    @property
    def corners(self) -> tuple[int, int, int, int]:
        """(x0, y0, x1, y1) in pixels of the image."""
        return self.x, self.y, self.x + self.size, self.y + self.size


def default_gap(size: int) -> int:
    """Return how far windows of this side overlap by default: DOTA's 200 px at 1024, and in proportion.

    >>> from rbox_formats import tiling
    >>> tiling.default_gap(1024), tiling.default_gap(512)
    (200, 100)
    """
    return round(size * 200 / 1024)


def windows(
    width: int,
    height: int,
    size: int = 1024,
    gap: int = 200,
    *,
    scales: Sequence[float] = (1.0,),
    min_image_share: float = 0.6,
) -> list[Window]:
    """Return the windows that cover an image, scale by scale, row by row.

    At a scale r the image is shown at r times its size, in windows of int(size / r) image pixels that overlap by
    int(gap / r), as in MMRotate. DOTA's recipes are size 1024 and gap 200 at scale 1, and gap 500 at 0.5, 1 and 1.5.

    >>> from rbox_formats import tiling
    >>> [window.corners for window in tiling.windows(1500, 1000, size=1024, gap=200)]
    [(0, 0, 1024, 1024), (476, 0, 1500, 1024)]

    Args:
        width: The width of the image in pixels.
        height: The height of the image in pixels.
        size: The side of the shown windows, in their own pixels.
        gap: The overlap of neighbouring windows, in pixels of the shown windows.
        scales: One or more scales.
        min_image_share: Windows with at most this share of their area on the image are left out (MMRotate's
            `img_rate_thr`), for example at scales at which the image is small. If no window has more, those with the
            largest share stay, so that every pixel is covered for any value.

    Returns:
        At least one window; if the image is smaller than a window, the window reaches beyond the border.

    Raises:
        FormatsError: If the gap is not in [0, size), a size or scale is not positive, a share not in [0, 1], or two
            scales have windows of the same side.
    """
    if min(width, height, size) < 1:
        raise FormatsError(f"expected positive sizes, got an image of {width}x{height} and windows of {size}")
    if not 0 <= gap < size:
        raise FormatsError(f"expected a gap between windows from 0 to {size - 1}, got {gap}")
    if not 0 <= min_image_share <= 1:
        raise FormatsError(f"expected a share of image in a window from 0 to 1, got {min_image_share}")
    found = [
        Window(x, y, side, size / side)
        for side, overlap in _sides(size, gap, scales)
        for y in _starts(height, side, overlap)
        for x in _starts(width, side, overlap)
    ]
    shares = [min(w.size, width - w.x) * min(w.size, height - w.y) / w.size**2 for w in found]
    if max(shares) > min_image_share:
        return [window for window, share in zip(found, shares, strict=True) if share > min_image_share]
    most = max(shares) - _SHARE_TOLERANCE
    return [window for window, share in zip(found, shares, strict=True) if share > most]


def _sides(size: int, gap: int, scales: Sequence[float]) -> list[tuple[int, int]]:
    """Return the side and overlap of the windows of each scale, in pixels of the image."""
    sides: dict[int, int] = {}
    for scale in scales:
        if not 0 < scale < float("inf"):
            raise FormatsError(f"expected a positive scale, got {scale}")
        side, overlap = int(size / scale), int(gap / scale)
        if side < 1 or overlap >= side:
            message = f"expected windows of a pixel or more that overlap by less, got {side} and {overlap} px"
            raise FormatsError(f"{message} at scale {scale}")
        if side in sides:
            raise FormatsError(f"expected scales of different windows, got two of {side} px among {list(scales)}")
        sides[side] = overlap
    if not sides:
        raise FormatsError("expected one scale or more, got none")
    return list(sides.items())


def _starts(length: int, size: int, gap: int) -> list[int]:
    last = max(length - size, 0)
    return [*range(0, last, size - gap), last]


def window_name(image_id: str, window: Window) -> str:
    """Return the name of a window's image: `<image_id>__<size>__<x>___<y>`, as MMRotate's img_split.py has it.

    All three numbers are in pixels of the image. MMRotate adds x and y to detections in the window after undoing its
    own resizing; at scales other than 1, this is correct only for windows stored with the image's own pixels.
    DOTA_devkit's names have the scale instead of the size, and x and y in pixels of the scaled image; `locate` reads
    both.

    >>> window_name("P0706", Window(87, 158, 1024))
    'P0706__1024__87___158'
    """
    return f"{image_id}__{window.size}__{window.x}___{window.y}"


def parse_window_name(name: str, output_size: int | None = None) -> tuple[str, Window]:
    """Return the image id and the window that a name means.

    >>> from rbox_formats import tiling
    >>> tiling.parse_window_name("P0001__1024__824___0")
    ('P0001', Window(x=824, y=0, size=1024, scale=1.0))

    Args:
        name: A name as from `window_name`, without a suffix.
        output_size: The side to which windows were resized. None: they were not resized.

    Returns:
        The image's id, and the window; `to_image` converts detections in it to the image.

    Raises:
        FormatsError: If `name` is not such a name, its image id leaves the folder, or a size is zero.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise FormatsError(f"expected a window's name, as in P0706__1024__87___158, got {quoted(name)}")
    size, x, y = (int(match[key]) for key in ("size", "x", "y"))
    if size < 1 or (output_size is not None and output_size < 1):
        raise FormatsError(f"expected windows of a pixel or more, got {quoted(name)} seen at {output_size}")
    scale = 1.0 if output_size is None else output_size / size
    return files.safe_name(match["image_id"], Path()), Window(x, y, size, scale)


class NamedWindow(NamedTuple):
    """A window by its name; the corner of a window of DOTA's kit may be between pixels of the image.

    >>> from rbox_formats import tiling
    >>> tiling.locate("P0001__1__824___0").image_id
    'P0001'

    Attributes:
        image_id: The id of the image.
        x: The x of its left upper corner, in pixels of the image.
        y: The y of its left upper corner, in pixels of the image.
        size: Its side, in pixels of the image.
        scale: The number of pixels of the shown window per pixel of the image.
        by_scale: Whether the name has a scale, as in DOTA's kit, instead of a size.
    """

    image_id: str
    x: float
    y: float
    size: float
    scale: float
    by_scale: bool

    @property
    def corners(self) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1) in pixels of the image."""
        return self.x, self.y, self.x + self.size, self.y + self.size


def locate(name: str, output_size: int | None = None, seen: int | None = None) -> NamedWindow:
    """Find a window's place by its name, as written by MMRotate, Ultralytics or DOTA's development kit.

    "P0706__1024__87___158" has the side and the corner in pixels of the image. The kit's "P0706__0.5__200___100" has
    the scale at which the image was cut, and the corner in pixels of the scaled image. A number with a point, or below
    `SMALLEST_NAMED`, is a scale.

    >>> locate("P0706__0.5__200___100")
    NamedWindow(image_id='P0706', x=400.0, y=200.0, size=2048.0, scale=0.5, by_scale=True)

    Args:
        name: A window's name, without a suffix.
        output_size: The side to which windows were resized, in pixels. None: they were not resized; those of the kit
            never are.
        seen: The side of the shown window, in its own pixels, if the name has a scale. None: `KIT_SIZE`.

    Returns:
        The window; `to_image` converts detections in it to the image.

    Raises:
        FormatsError: If `name` is not such a name, its image id leaves the folder, or a size or scale is zero.

    Source: CAPTAIN-WHU/DOTA_devkit, ImgSplit_multi_process.py, ResultMerge.py.
    """
    match = _SCALED.fullmatch(name)
    if match is None or (float(match["scale"]) >= SMALLEST_NAMED and "." not in match["scale"]):
        image_id, window = parse_window_name(name, output_size)
        return NamedWindow(image_id, window.x, window.y, window.size, window.scale, False)
    if (scale := float(match["scale"])) <= 0:
        raise FormatsError(f"expected a window's name with a scale above 0, got {quoted(name)}")
    side = output_size or seen or KIT_SIZE
    image_id = files.safe_name(match["image_id"], Path())
    return NamedWindow(image_id, int(match["x"]) / scale, int(match["y"]) / scale, side / scale, scale, True)
