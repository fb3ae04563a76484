"""How a scene is seen: light, colour cast, contrast, haze, blur and noise of the camera."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from rbox_formats.typing import Image as ImageArray

_HAZE = (196.0, 204.0, 212.0)


def seen(image: ImageArray, rng: np.random.Generator, variety: float) -> ImageArray:
    """Return the scene (size, size, 3) as one of many cameras sees it in one of many lights; no pixel moves.

    Args:
        image: The painted scene.
        rng: The random generator.
        variety: How strongly the look changes, from 0 (unchanged) to 1.
    """
    if variety == 0:
        return image
    exposure, contrast = np.exp(variety * rng.normal(0, 0.16)), 1 + variety * rng.uniform(-0.35, 0.25)
    cast = np.exp(variety * rng.normal(0, 0.05, 3)).astype(np.float32)
    haze, blur = variety * rng.uniform(0, 0.25), variety * max(0.0, rng.uniform(-0.8, 0.9))
    noise = variety * rng.uniform(0, 7)
    pixels = image.astype(np.float32)
    mean = pixels.mean(axis=(0, 1))
    pixels = ((pixels - mean) * np.float32(contrast) + mean) * (np.float32(exposure) * cast)
    pixels += np.float32(haze) * (np.asarray(_HAZE, np.float32) - pixels)
    if blur > 0.1:
        picture = Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))
        pixels = np.asarray(picture.filter(ImageFilter.GaussianBlur(blur)), np.float32)
    # Half of the noise is that of single channels, which shows as colour.
    grain = rng.standard_normal((*image.shape[:2], 4), dtype=np.float32) * np.float32(noise * 0.7)
    return np.clip(pixels + grain[..., :1] + grain[..., 1:] + 0.5, 0, 255).astype(np.uint8)
