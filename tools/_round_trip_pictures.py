"""The smallest IoU after encoding and decoding, by object and image size, a panel for each text format."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path

import numpy as np
from _round_trips import IMAGE_SIZES, OBJECT_SIZES, Group
from rbox_formats import files

#: The smallest IoU of each colour, the colour, and the colour of the numbers on it.
COLOURS = (
    (0.0, "#f3f1ec", "#8a857a"),
    (0.5, "#c5d9ea", "#22364a"),
    (0.75, "#6fa5cc", "#0d1b2a"),
    (0.9, "#1f5f96", "#ffffff"),
)
NAMES = ("below 0.5", "0.5 to 0.75", "0.75 to 0.9", "0.9 and above")
COLUMNS = 4


def draw(groups: list[Group], path: Path) -> None:
    """Write the picture.

    Args:
        groups: The formats, in their order.
        path: A PNG file.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from PIL import Image

    lines = math.ceil(len(groups) / COLUMNS)
    figure = Figure(figsize=(11, 0.7 + 1.75 * lines), dpi=180, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(lines, COLUMNS, sharex=True, sharey=True, squeeze=False).ravel()
    colours = ListedColormap([colour for _, colour, _ in COLOURS])
    bounds = [*(least for least, _, _ in COLOURS), 1.0001]
    for panel, group in zip(panels, groups, strict=False):
        values = np.array([group.rows[size].smallest for size in IMAGE_SIZES])
        panel.imshow(values, cmap=colours, norm=BoundaryNorm(bounds, colours.N), aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            ink = [ink for least, _, ink in COLOURS if value >= least][-1]
            panel.text(column, row, f"{math.floor(value * 100 + 1e-9)}", ha="center", va="center", size=7.5, color=ink)
        lines_of_title = [textwrap.fill(line, 40) for line in group.label.replace(", input", "\ninput").split("\n")]
        panel.set_title("\n".join(lines_of_title), size=8, loc="left", pad=3)
        panel.set_xticks(range(len(OBJECT_SIZES)), map(str, OBJECT_SIZES), size=7.5)
        names = [f"{width}" if width == height else f"{width} × {height}" for width, height in IMAGE_SIZES]
        panel.set_yticks(range(len(IMAGE_SIZES)), names, size=7.5)
        panel.tick_params(length=0, labelbottom=True)
        panel.set_xticks(np.arange(len(OBJECT_SIZES) + 1) - 0.5, minor=True)
        panel.set_yticks(np.arange(len(IMAGE_SIZES) + 1) - 0.5, minor=True)
        panel.grid(which="minor", color="white", linewidth=1)
        panel.spines[:].set_visible(False)
        panel.tick_params(which="minor", length=0)
    for panel in panels[len(groups) :]:
        panel.remove()
    figure.supxlabel("long side of the object, px", size=9)
    figure.supylabel("side of the image, px", size=9)
    patches = [Patch(facecolor=colour, label=name) for (_, colour, _), name in zip(COLOURS, NAMES, strict=True)]
    figure.legend(handles=patches, loc="outside upper center", ncols=4, frameon=False, fontsize=9, title="smallest IoU")
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").quantize(64)
    with files.replacing(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True)
