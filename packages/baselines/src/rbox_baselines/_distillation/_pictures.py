"""Feature maps as colours: their three principal components, those of the teacher for both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rbox_formats import files
from torch import Tensor

#: The side of an image in the picture, in pixels.
_SIDE = 256


def colours(maps: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return maps as colours (N, h, w, 3) uint8, by the principal components of the first.

    Args:
        maps: (N, C, h, w) each, of the same channels. From the 1st to the 99th percentile of the first, a component
            becomes a colour from 0 to 255.
    """
    rows = [each.transpose(0, 2, 3, 1).astype(np.float64) for each in maps]
    first = rows[0].reshape(-1, rows[0].shape[-1])
    mean = first.mean(0)
    _, vectors = np.linalg.eigh(np.cov((first - mean).T, bias=True).reshape(first.shape[1], -1))
    basis = vectors[:, ::-1][:, :3]  # eigh has the largest last
    # The sign of a component is arbitrary: its largest entry is made positive, so that pictures can be compared.
    basis = basis * np.sign(basis[np.abs(basis).argmax(0), np.arange(basis.shape[1])])
    low, high = np.percentile((first - mean) @ basis, (1, 99), axis=0)
    found = []
    for each in rows:
        scaled = ((each - mean) @ basis - low) / np.maximum(high - low, 1e-12)
        scaled = np.pad(scaled, [(0, 0)] * 3 + [(0, 3 - scaled.shape[-1])])
        found.append((scaled.clip(0, 1) * 255).round().astype(np.uint8))
    return found


def draw(images: Tensor, teacher: Tensor, student: Tensor, out: Path) -> None:
    """Write a picture with a row for each image: the image, the teacher's last map, and the student's.

    Args:
        images: (N, 3, H, W) from 0 to 255, red first.
        teacher: (N, C, h, w).
        student: (N, C, h, w), in the teacher's channels.
        out: The PNG file.
    """
    from PIL import Image

    pixels = images.cpu().permute(0, 2, 3, 1).numpy().round().astype(np.uint8)
    maps = colours([each.float().cpu().numpy() for each in (teacher, student)])
    sheet = Image.new("RGB", (3 * _SIDE, len(pixels) * _SIDE))
    for row, tiles in enumerate(zip(pixels, *maps, strict=True)):
        for column, tile in enumerate(tiles):
            resized = Image.fromarray(tile).resize((_SIDE, _SIDE), Image.Resampling.NEAREST)
            sheet.paste(resized, (column * _SIDE, row * _SIDE))
    with files.replacing(out) as temporary:
        sheet.save(temporary, format="PNG")
