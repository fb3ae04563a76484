"""Windows over an image: where they lie at one or more scales, and their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rbox_formats import files
from rbox_formats.errors import FormatsError, quoted

# Shares of image in windows that differ by less count as one, where no window has the share asked for (MMRotate's).
_SHARE_TOLERANCE = 0.01

# An id, which may hold underscores of its own, then side, x and y; nine digits hold every image that can be.
_NAME = re.compile(r"(?P<image_id>.+)__(?P<size>[0-9]{1,9})__(?P<x>[0-9]{1,9})___(?P<y>[0-9]{1,9})", re.DOTALL)


# The kit's: the scale in place of the side.
_SCALED = re.compile(
    r"(?P<image_id>.+)__(?P<scale>[0-9]{1,9}(?:\.[0-9]{1,9})?)__(?P<x>[0-9]{1,9})___(?P<y>[0-9]{1,9})", re.DOTALL
)

SMALLEST_NAMED = 16
"""No window has a shorter side, px: a smaller whole number in a name is DOTA's kit's scale, as is one with a point."""

KIT_SIZE = 1024
"""The side of the kit's windows as they are seen, where nobody says another: its own default."""


class Window(NamedTuple):
    """A square piece of an image, and how large it is seen. It may reach beyond the image's border.

    >>> from rbox_formats import tiling
    >>> window = tiling.Window(x=512, y=0, size=1024, scale=0.5)
    >>> window.corners, window.output_size
    ((512, 0, 1536, 1024), 512)

    Attributes:
        x: Of its left upper corner, in pixels of the image.
        y: Of its left upper corner, in pixels of the image.
        size: Its side, in pixels of the image.
        scale: Pixels of the window as it is seen to one pixel of the image.
    """

    x: int
    y: int
    size: int
    scale: float = 1.0

    @property
    def output_size(self) -> int:
        """Its side as it is seen, in pixels of its own."""
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

    At a scale r the image is seen at r times its size, through windows of int(size / r) of its pixels that overlap by
    int(gap / r): MMRotate's rule. DOTA's recipes are size 1024 and gap 200 at scale 1, and gap 500 at 0.5, 1 and 1.5.

    >>> from rbox_formats import tiling
    >>> [window.corners for window in tiling.windows(1500, 1000, size=1024, gap=200)]
    [(0, 0, 1024, 1024), (476, 0, 1500, 1024)]

    Args:
        width: The image's, in pixels.
        height: The image's, in pixels.
        size: The windows' side as they are seen, in pixels.
        gap: How far neighbours overlap, in the same pixels.
        scales: One or more.
        min_image_share: Windows of which no more than this share lies on the image are left out (MMRotate's
            `img_rate_thr`): of several scales those at which an image is small. Where none has more, those that have
            the most stay, so that every pixel is covered whatever the value.

    Returns:
        At least one; in an image that is smaller than its side a window reaches beyond the border.

    Raises:
        FormatsError: If the gap is not in [0, size), a size or scale is not positive, a share not in [0, 1], or two
            scales have windows of one side.
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

    All three numbers are in pixels of the image. MMRotate adds x and y to what was detected in the window, after it has
    undone its own resizing: at scales other than 1 that is right where windows were stored with the image's own pixels.
    DOTA_devkit's names have the scale in the place of the size, and x and y in pixels of the scaled image: `locate`
    reads both.

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
        name: As `window_name` gives it: without a suffix, from whatever source.
        output_size: The side to which windows were resized. None: they were not.

    Returns:
        The image's id, and the window; `to_image` takes what was detected in it to the image.

    Raises:
        FormatsError: If it is no such name, its image id would lead out of a folder, or a size is zero.
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
    """A window as its name places it; of the kit's, the corner need not be whole pixels of the image.

    >>> from rbox_formats import tiling
    >>> tiling.locate("P0001__1__824___0").image_id
    'P0001'

    Attributes:
        image_id: The image's.
        x: Of its left upper corner, in pixels of the image.
        y: Of its left upper corner, in pixels of the image.
        size: Its side, in pixels of the image.
        scale: Pixels of the window as it is seen to one pixel of the image.
        by_scale: Whether the name is DOTA's kit's, with a scale, and not one with a size.
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
        name: Without a suffix, from whatever source.
        output_size: The side to which windows were resized, in pixels. None: they were not; the kit's never are.
        seen: The side of a window named by its scale as it is seen, where it is known.

    Returns:
        The window; `to_image` takes what was detected in it to the image.

    Raises:
        FormatsError: If it is no such name, its image id would lead out of a folder, or a size or scale is zero.

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
