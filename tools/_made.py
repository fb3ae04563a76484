"""What tools that write pages have in common: whether a picture that was made again shows the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

# Of 255, on average: fonts and curves differ by a shade between versions of Pillow and matplotlib.
_SHADES_OFF = 3.0


def same_picture(one: Path, other: Path) -> bool:
    """Return whether two pictures have one size and show the same."""
    with Image.open(one) as first, Image.open(other) as second:
        a, b = (np.asarray(image.convert("RGB"), float) for image in (first, second))
    return a.shape == b.shape and float(np.abs(a - b).mean()) <= _SHADES_OFF
