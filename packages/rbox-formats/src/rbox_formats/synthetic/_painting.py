"""Paint bodies and shadows of the objects on the ground."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from rbox_formats.masks import RunMask
from rbox_formats.synthetic._ground import Ground
from rbox_formats.synthetic._objects import KINDS, Object, scaled, turn
from rbox_formats.typing import Image as ImageArray

_SUPERSAMPLE = 6  # samples per pixel and axis, for objects
_SHADOW_SUPERSAMPLE = 2
_SHADOW_COLOUR, _SHADOW_STRENGTH = (12, 15, 26), 0.55
_NO_LIGHT = np.zeros(2)
_LIGHTING = 0.3  # how much brighter a face turned to the light is than a level one


def paint(
    ground: Ground, casting: Sequence[Object], standing: Sequence[Object], rng: np.random.Generator
) -> ImageArray:
    """Paint the shadows of `casting` objects and the bodies of `standing` objects on the ground, and add grain."""
    canvas = Image.fromarray(ground.pixels)
    for item in casting:
        shade, corner = _shadow(item, ground.light)
        canvas.paste(_SHADOW_COLOUR, (*corner, corner[0] + shade.width, corner[1] + shade.height), shade)
    for item in standing:
        body, corner = _body(item, ground.light)
        canvas.paste(body.convert("RGB"), corner, body.getchannel("A"))
    grain = rng.normal(0, 2.2, ground.water.shape).astype(np.float32)
    return np.clip(np.asarray(canvas, np.float32) + grain[..., None] + 0.5, 0, 255).astype(np.uint8)


def mask(item: Object, size: int) -> RunMask:
    """Return the pixels of a square image that the object's body covers by half or more."""
    body, (x, y) = _body(item, _NO_LIGHT)
    covered = np.asarray(body.getchannel("A")) >= 128
    return RunMask.of_array(covered).moved(x, y).clipped(0, 0, size, size)


def _patch(item: Object, margin: float) -> tuple[tuple[int, int], int]:
    """Return the upper left pixel and the side of a square that holds the object at any heading."""
    reach = math.hypot(item.length, item.width) / 2 + margin
    x, y = (math.floor(value - reach) for value in item.centre)
    return (x, y), math.ceil(2 * reach) + 1


def _body(item: Object, light: np.ndarray) -> tuple[Image.Image, tuple[int, int]]:
    """Return the object (RGBA) and where its upper left pixel goes."""
    corner, side = _patch(item, 1.0)
    large = Image.new("RGBA", (side * _SUPERSAMPLE, side * _SUPERSAMPLE))
    draw = ImageDraw.Draw(large)
    # The light in the object's own frame, so that its heading decides which sides are lit.
    along, across = turn(light, -item.heading)
    outlines = _outlines(item, corner, _SUPERSAMPLE, shrink=0.5 / _SUPERSAMPLE)
    for part, outline in zip(item.parts, outlines, strict=True):
        lit = 1 + _LIGHTING * (part.lean[0] * along + part.lean[1] * across)
        red, green, blue = scaled(part.colour, lit)
        draw.polygon(outline, fill=(round(red), round(green), round(blue), 255))
    return large.reduce(_SUPERSAMPLE), corner


def _shadow(item: Object, light: np.ndarray) -> tuple[Image.Image, tuple[int, int]]:
    """Return the darkness of the object's shadow (L), swept from the light, and where its upper left pixel goes."""
    length = KINDS[item.label].shadow * item.width
    corner, side = _patch(item, 2 * length + 3)
    large = Image.new("L", (side * _SHADOW_SUPERSAMPLE, side * _SHADOW_SUPERSAMPLE))
    draw = ImageDraw.Draw(large)
    for outline in _outlines(item, corner, _SHADOW_SUPERSAMPLE):
        draw.polygon(outline, fill=round(255 * _SHADOW_STRENGTH))
    swept = large
    for step in range(1, math.ceil(length * _SHADOW_SUPERSAMPLE) + 1):
        x, y = np.rint(-light * min(step, length * _SHADOW_SUPERSAMPLE)).astype(int).tolist()
        swept = ImageChops.lighter(swept, ImageChops.offset(large, x, y))
    blurred = swept.filter(ImageFilter.GaussianBlur(_SHADOW_SUPERSAMPLE * (0.5 + 0.12 * length)))
    return blurred.reduce(_SHADOW_SUPERSAMPLE), corner


def _outlines(
    item: Object, corner: tuple[int, int], supersample: int, shrink: float = 0.0
) -> list[list[tuple[int, int]]]:
    """Return the samples at the corners of the object's parts, on a canvas whose upper left pixel is `corner`."""
    # Pillow takes whole samples and fills the ones on the outline too: half a sample too far on every side, which
    # `shrink` takes off where it matters. All parts go through the map at once: one by one takes five times as long.
    points = item.to_image(np.concatenate([part.points for part in item.parts]), shrink) - corner
    samples = list(map(tuple, np.rint(points * supersample - 0.5).astype(int).tolist()))
    ends = np.cumsum([len(part.points) for part in item.parts]).tolist()
    return [samples[begin:end] for begin, end in pairwise([0, *ends])]
