"""Seeded synthetic aerial scenes with exact rotated boxes: for demos and tests, where no data can be fetched.

Coordinates are continuous: pixel i covers i to i + 1.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from rbox_formats import datasets, draw, files
from rbox_formats._geometry import rbox_to_quad
from rbox_formats._records import ClassNames, ImageRecord
from rbox_formats.errors import FormatsError
from rbox_formats.progress import track
from rbox_formats.synthetic._config import SceneConfig, Season
from rbox_formats.synthetic._ground import draw_ground
from rbox_formats.synthetic._layout import place_clutter, place_objects
from rbox_formats.synthetic._look import seen
from rbox_formats.synthetic._objects import CLASS_NAMES, KNOWN_CLASSES
from rbox_formats.synthetic._painting import mask, paint
from rbox_formats.typing import Image

__all__ = ["CLASS_NAMES", "TINY", "VARIED", "WINTER", "SceneConfig", "Season", "scene", "write_scenes"]

_DEFAULT = SceneConfig()
TINY = SceneConfig(96, 1, 3, 0.21, 0.47)  # for a tiny model: few objects, and large ones
#: For a tiny model that is to detect in scenes that it has not seen: many looks, three scales, clutter, empty scenes.
VARIED = SceneConfig(96, 0, 5, 0.16, 0.45, touching=0.2, cut=0.1, zooms=(0.8, 1.0, 1.25), clutter=4, variety=1.0)
#: The same in another domain: other ground, and a class more.
WINTER = replace(VARIED, season="winter", class_names=ClassNames([*CLASS_NAMES, "large-vehicle"]))


def scene(seed: int, config: SceneConfig = _DEFAULT, *, image_id: str | None = None) -> tuple[Image, ImageRecord]:
    """Draw one scene and its annotations; the same seed and configuration give the same bytes.

    Args:
        seed: At least 0.
        config: The settings of the scene.
        image_id: The record's name. Default: `scene_<seed>`, with four digits.

    Returns:
        The image (size, size, 3) uint8, and its record with boxes, quads, labels (indices into `config.class_names`),
        size, and masks where the settings ask for them.

        No two boxes overlap. A box's w is the object's length along its heading; a storage tank is a circle,
        and its box is upright.

    Raises:
        FormatsError: If the seed is negative.

    >>> image, record = scene(7, TINY)
    >>> image.shape, record.image_id, record.boxes.shape, [CLASS_NAMES[label] for label in record.labels]
    ((96, 96, 3), 'scene_0007', (3, 5), ['ship', 'ship', 'ship'])
    """
    if seed < 0:
        raise FormatsError(f"expected a seed of at least 0, got {seed}")
    ground_rng, layout_rng, grain_rng, look_rng, clutter_rng = np.random.default_rng(seed).spawn(5)
    zoom = config.zooms[look_rng.integers(len(config.zooms))]
    config = replace(config, min_scale=zoom * config.min_scale, max_scale=zoom * config.max_scale, zooms=(1.0,))
    ground = draw_ground(ground_rng, config)
    objects = place_objects(layout_rng, config, ground.water)
    things = [*place_clutter(clutter_rng, config, ground.water, objects), *objects]
    image = seen(paint(ground, things, things, grain_rng), look_rng, config.variety)
    boxes = np.array([item.box for item in objects], dtype=np.float64).reshape(-1, 5)
    names = list(config.class_names)
    record = ImageRecord(
        image_id=f"scene_{seed:04d}" if image_id is None else image_id,
        boxes=boxes,
        quads=rbox_to_quad(boxes),
        labels=np.array([names.index(KNOWN_CLASSES[item.label]) for item in objects], dtype=np.int64),
        width=config.size,
        height=config.size,
        masks=[mask(item, config.size) for item in objects] if config.masks else None,
    )
    return image, record


def write_scenes(
    root: str | Path, split: str | None, seeds: Iterable[int], config: SceneConfig = _DEFAULT, *, format: str = "dota"
) -> list[ImageRecord]:
    """Draw scenes into a dataset: images as PNG, each written whole or not at all, with their annotations.

    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import synthetic
    >>> with TemporaryDirectory() as folder:
    ...     print(len(synthetic.write_scenes(folder, "train", [0, 1], synthetic.SceneConfig(size=128))))
    2

    Args:
        root: The dataset's folder, made if it is missing; images and annotations of the same names are replaced.
        split: The part of the dataset, or None.
        seeds: One seed per scene.
        config: The settings of the scenes.
        format: A name in `datasets.FORMATS`.

    Returns:
        The scenes' records, with labels that index `config.class_names`.

    Raises:
        FormatsError: If a seed is negative, or the format has no place for images.
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
    datasets.write(format, records, root, split, config.class_names)
    return records
