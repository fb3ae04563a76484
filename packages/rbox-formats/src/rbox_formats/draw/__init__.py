"""Pictures of images with their boxes, truth beside predictions, sheets of many, and bars.

Coordinates are continuous: pixel i covers i to i + 1, so that a box keeps its place at every scale.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from rbox_formats.draw._charts import bar_chart, histogram
from rbox_formats.draw._colours import FAINT_INK, INK, PAPER, Colour, class_colour
from rbox_formats.draw._fitted import fitted
from rbox_formats.draw._labels import load_font, shortened
from rbox_formats.draw._legend import draw_legend
from rbox_formats.draw._marked import marked_page
from rbox_formats.draw._pages import contact_sheet, panels, side_by_side
from rbox_formats.draw._record import draw_record
from rbox_formats.files import replacing

__all__ = [
    "FAINT_INK",
    "INK",
    "PAPER",
    "Colour",
    "bar_chart",
    "class_colour",
    "contact_sheet",
    "draw_legend",
    "draw_record",
    "fitted",
    "histogram",
    "load_font",
    "marked_page",
    "panels",
    "save",
    "shortened",
    "side_by_side",
]


def save(image: Image.Image, path: str | Path) -> None:
    """Write a PNG, whole or not at all; folders that are missing are made.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from rbox_formats import draw
    >>> with TemporaryDirectory() as folder:
    ...     draw.save(Image.new("RGB", (100, 80)), Path(folder) / "new" / "picture.png")
    ...     print([path.name for path in Path(folder).glob("*/*")])
    ['picture.png']
    """
    with replacing(path) as temporary:
        image.save(temporary, format="PNG")
