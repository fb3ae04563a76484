"""Image files as mmengine's pipelines read them."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmrotate.registry import TRANSFORMS
from rbox_formats import images


@TRANSFORMS.register_module()
class LoadRBoxImage(BaseTransform):
    """Reads an image as everything else here does (`rbox_formats.images.load`): turned as its file notes.

    mmcv's `LoadImageFromFile` reads by OpenCV, which turns some formats and not others, and opens more of them.

    Args:
        to_float32: Whether the pixels become float32.
    """

    def __init__(self, to_float32: bool = False) -> None:
        self.to_float32 = to_float32

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add `img` (height, width, 3), blue first, and its shapes.

        Raises:
            ImageError: If the file is not a whole image.
        """
        pixels = np.ascontiguousarray(images.load(results["img_path"])[..., ::-1])
        shape = pixels.shape[:2]
        pixels = pixels.astype(np.float32) if self.to_float32 else pixels
        return {**results, "img": pixels, "img_shape": shape, "ori_shape": shape}

    def __repr__(self) -> str:
        return f"LoadRBoxImage(to_float32={self.to_float32})"
