"""Cut one image into windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rbox_formats import files, tiling
from rbox_formats._records import ImageRecord
from rbox_formats.splitting._settings import SplitSettings
from rbox_formats.tiling import Window
from rbox_formats.typing import Image

# Two 1024 px windows of DOTA took 0.11 and 0.24 s, and the bytes of Pillow's own level 6 (+1 % and -8 %), which took
# nearly twice as long.
_PNG_LEVEL = 3


def split_image(
    record: ImageRecord,
    settings: SplitSettings,
    folder: Path,
    temporary: Path,
    between: Callable[[], None] = lambda: None,
) -> tuple[list[ImageRecord], int]:
    """Write the windows of one image.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import datasets, splitting, synthetic
    >>> config = synthetic.SceneConfig(size=128)
    >>> with TemporaryDirectory() as folder:
    ...     _ = synthetic.write_scenes(folder, None, [0], config)
    ...     record = datasets.read("dota", folder, class_names=config.class_names)[0]
    ...     settings = splitting.SplitSettings(size=64, gap=0)
    ...     windows, unseen = splitting.split_image(record, settings, Path(folder), Path(folder))
    >>> [window.image_id for window in windows][:2], unseen
    (['scene_0000__64__0___0', 'scene_0000__64__64___0'], 1)

    Args:
        record: The image and its objects.
        settings: How the image is cut, and what is stored of each window.
        folder: The folder of the windows' images, each written whole or not at all.
        temporary: A folder on the same file system, in which they are written first.
        between: A function that is called before each window; it may raise an error to stop.

    Returns:
        A record per stored window, row by row, and the number of objects that are in no window.

    Raises:
        ImageError: If the image's file cannot be read.
        DatasetError: If the image's id cannot be a file name.
    """
    parts: dict[Window, ImageRecord] = {}
    unseen = np.ones(len(record), dtype=bool)
    for window in tiling.windows(
        *record.size,
        settings.size,
        settings.overlap,
        scales=settings.scales,
        min_image_share=settings.min_image_share,
    ):
        place = window if settings.resize else window._replace(scale=1.0)
        part = tiling.clip_to_window(
            record, place, settings.iof_threshold, border=settings.border, below=settings.below
        )
        unseen &= ~tiling.belonging(record, place, settings.iof_threshold)
        if settings.keep_empty or len(part):
            parts[place] = part
    for window, pixels in tiling.crops(record.file, parts, padding=settings.padding):
        between()
        name = files.safe_name(f"{tiling.window_name(record.image_id, window)}.{settings.image_format}", folder)
        _save(pixels, temporary / name, settings)
        (temporary / name).replace(folder / name)
        parts[window] = replace(
            parts[window],
            image_id=tiling.window_name(record.image_id, window),
            path=folder / name,
            height=pixels.shape[0],
            width=pixels.shape[1],
            stated_size=None,
            # Not the image's own metadata, which need not be true of a part, such as a resolution.
            metadata={"source": record.image_id, "window": list(window)},
        )
    return list(parts.values()), int(unseen.sum())


def _save(pixels: Image, path: Path, settings: SplitSettings) -> None:
    from PIL import Image as PillowImage

    options: dict[str, Any] = {"compress_level": _PNG_LEVEL}
    if settings.image_format == "jpg":
        options = {"quality": settings.quality, "subsampling": 0}
    PillowImage.fromarray(pixels).save(path, **options)
