"""Seeded synthetic aerial scenes with exact rotated boxes: for demos and tests, where no data can be fetched.

Coordinates are continuous: pixel i covers i to i + 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from rbox_formats import datasets, draw, files
from rbox_formats._geometry import rbox_to_quad
from rbox_formats._records import ImageRecord
from rbox_formats.errors import FormatsError
from rbox_formats.progress import track
from rbox_formats.synthetic._config import SceneConfig
from rbox_formats.synthetic._ground import draw_ground
from rbox_formats.synthetic._layout import place_objects
from rbox_formats.synthetic._objects import CLASS_NAMES
from rbox_formats.synthetic._painting import paint
from rbox_formats.typing import Image

__all__ = ["CLASS_NAMES", "TINY", "SceneConfig", "scene", "write_scenes"]

_DEFAULT = SceneConfig()
TINY = SceneConfig(96, 1, 3, 0.21, 0.47)  # for a tiny model: few objects, and large ones


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

    >>> image, record = scene(7, TINY)
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


def write_scenes(
    root: str | Path, split: str | None, seeds: Iterable[int], config: SceneConfig = _DEFAULT, *, format: str = "dota"
) -> list[ImageRecord]:
    """Draws scenes into a dataset: images as PNG, each whole or not there, and annotations that follow them.

    Args:
        root: The dataset's folder, made where it is missing; images and annotations of the same names are replaced.
        split: The part of it, where the format has parts.
        seeds: Of the scenes, one each.
        config: What is drawn.
        format: A name in `datasets.FORMATS`.

    Returns:
        The scenes' records, their labels those of `CLASS_NAMES`.

    Raises:
        FormatsError: If a seed is negative, or the format does not say where images are.
    """
    images = datasets.get(format).images
    if images is None:
        raise FormatsError(f"expected a format that says where images are, got {format!r}")
    folder = images(files.as_path(root), split)
    records = []
    for seed in track(list(seeds), f"drawing {split or 'all'} scenes"):
        image, record = scene(seed, config)
        draw.save(PillowImage.fromarray(image), folder / f"{record.image_id}.png")
        records.append(record)
    datasets.write(format, records, root, split, CLASS_NAMES)
    return records
