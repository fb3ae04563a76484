"""Masks as a tint of their class's colour, with a border."""

from __future__ import annotations

import numpy as np
from PIL import Image

from rbox_formats.draw._colours import class_colour
from rbox_formats.masks import Masks

_TINT, _BORDER = 0.35, 0.9


def draw_masks(canvas: Image.Image, masks: Masks, labels: np.ndarray, scale: np.ndarray) -> None:
    """Tint the pixels of masks in the colours of their labels; the larger masks first, so that none is hidden.

    Args:
        canvas: The picture, changed in place.
        masks: In pixels of the image.
        labels: (N,) the classes.
        scale: (2,) how many pixels of the picture are one of the image, across and down.
    """
    x_scale, y_scale = scale.tolist()
    for i in np.argsort(-masks.areas, kind="stable").tolist():
        runs = masks[i].scaled(x_scale, y_scale).to_runs(*canvas.size)
        x, y, right, bottom = (int(value) for value in runs.bounds)
        if right == x:
            continue
        inside = runs.moved(1 - x, 1 - y).to_array(right - x + 2, bottom - y + 2)
        core = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
        inside = inside[1:-1, 1:-1]
        opacity = np.where(inside, np.where(core, _TINT, _BORDER), 0.0)
        shown = Image.fromarray((opacity * 255).astype(np.uint8))
        canvas.paste(class_colour(int(labels[i])), (x, y), shown)
