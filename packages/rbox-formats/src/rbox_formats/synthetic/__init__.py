"""Seeded synthetic aerial scenes with exact rotated boxes: for demos and tests, where no data can be fetched.

Coordinates are continuous: pixel i covers i to i + 1.
"""

from __future__ import annotations

import numpy as np

from rbox_formats._geometry import rbox_to_quad
from rbox_formats._records import ImageRecord
from rbox_formats.errors import FormatsError
from rbox_formats.synthetic._config import SceneConfig
from rbox_formats.synthetic._ground import draw_ground
from rbox_formats.synthetic._layout import place_objects
from rbox_formats.synthetic._objects import CLASS_NAMES
from rbox_formats.synthetic._painting import paint
from rbox_formats.typing import Image

__all__ = ["CLASS_NAMES", "SceneConfig", "scene"]

_DEFAULT = SceneConfig()


def scene(seed: int, config: SceneConfig = _DEFAULT, *, image_id: str | None = None) -> tuple[Image, ImageRecord]:
    """One scene and its annotations; the same seed and configuration give the same bytes.

    Args:
        seed: At least 0.
        config: What is drawn.
        image_id: The record's name, `scene_<seed>` with four digits when not given.

    Returns:
        The image (size, size, 3) uint8, and its record with boxes, quads, labels and size. No two boxes overlap. A
        box's w is the object's length along its heading; a storage tank is a circle, and its box is upright.

    Raises:
        FormatsError: If the seed is negative.

    >>> image, record = scene(7, SceneConfig(96, 1, 3, 0.21, 0.47))
    >>> image.shape, record.image_id, record.boxes.shape, [CLASS_NAMES[label] for label in record.labels]
    ((96, 96, 3), 'scene_0007', (3, 5), ['ship', 'ship', 'ship'])
    """
    if seed < 0:
        raise FormatsError(f"expected a seed of at least 0, got {seed}")
    ground_rng, layout_rng, grain_rng = np.random.default_rng(seed).spawn(3)
    ground = draw_ground(ground_rng, config)
    objects = place_objects(layout_rng, config, ground.water)
    image = paint(ground, objects, objects, grain_rng)
    boxes = np.array([item.box for item in objects], dtype=np.float64).reshape(-1, 5)
    record = ImageRecord(
        image_id=f"scene_{seed:04d}" if image_id is None else image_id,
        boxes=boxes,
        quads=rbox_to_quad(boxes),
        labels=np.array([item.label for item in objects], dtype=np.int64),
        width=config.size,
        height=config.size,
    )
    return image, record
