"""The scenes of the demonstration: drawn at the start, with their ground truth."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from rbox_formats import ImageRecord, datasets, draw, synthetic
from rbox_formats.typing import Image

# Of scenes of 96 px, as the small detector has learnt them, which it has not seen.
_SEEDS = {"airport": 40_000_000, "harbour": 40_000_023, "coast": 40_000_016, "depot": 40_000_019, "empty": 40_000_001}
_REGION, _COLUMNS, _ROWS = range(40_000_100, 40_000_148), 8, 6


class DrawnScene(NamedTuple):
    """A scene.

    Attributes:
        image: The image, a PNG.
        truth: Its ground truth, in DOTA's format.
        size: (width, height) in pixels.
    """

    image: Path
    truth: Path
    size: tuple[int, int]


def draw_scenes(folder: Path) -> dict[str, DrawnScene]:
    """Draw the scenes into a folder, as a dataset in DOTA's format.

    Args:
        folder: The folder, which is made.

    Returns:
        The scenes by their names: small ones, and "region", which takes many windows.
    """
    from PIL import Image as PillowImage

    drawn = [synthetic.scene(seed, synthetic.VARIED, image_id=name) for name, seed in _SEEDS.items()]
    drawn.append(_region())
    for pixels, record in drawn:
        draw.save(PillowImage.fromarray(pixels), folder / "images" / f"{record.image_id}.png")
    records = [record for _, record in drawn]
    datasets.write("dota", records, folder, None, synthetic.CLASS_NAMES)
    return {
        record.image_id: DrawnScene(
            folder / "images" / f"{record.image_id}.png", folder / "labelTxt" / f"{record.image_id}.txt", record.size
        )
        for record in records
    }


def _region() -> tuple[Image, ImageRecord]:
    """Draw scenes side by side, as one."""
    parts = [synthetic.scene(seed, synthetic.VARIED) for seed in _REGION]
    side = synthetic.VARIED.size
    corners = [(side * (place % _COLUMNS), side * (place // _COLUMNS)) for place in range(len(parts))]
    pixels = np.zeros((side * _ROWS, side * _COLUMNS, 3), dtype=np.uint8)
    for (part, _), (x, y) in zip(parts, corners, strict=True):
        pixels[y : y + side, x : x + side] = part
    moved = [record.boxes + np.array([x, y, 0, 0, 0]) for (_, record), (x, y) in zip(parts, corners, strict=True)]
    labels = np.concatenate([record.labels for _, record in parts])
    record = ImageRecord("region", np.concatenate(moved), labels, width=pixels.shape[1], height=pixels.shape[0])
    return pixels, record
