"""Windows over large images: where they are, which objects each holds, and how to return to the image's coordinates.

The rule is DOTA's (1024 px, gap 200), as in MMRotate's `tools/data/dota/split/img_split.py`: windows are size - gap
apart, and the last one of a row or column is moved back so that it ends with the image. An object belongs to a window
if at least `iof_threshold` of its area lies inside, and keeps its full outline there.

Two things differ. If the image's own border cuts an object, only the part on the image counts, since no window shows
more of it. And an object keeps its difficult flag, where MMRotate writes difficulty 2 for each object that the window
cuts, which its loader reads as not difficult. DOTA_devkit's ImgSplit cuts outlines at the window (`border="clip"`) and
marks objects below the threshold as difficult (`below="difficult"`).
"""

from rbox_formats.tiling._crops import PADDING, crop, crops
from rbox_formats.tiling._objects import Below, Border, belonging, clip_to_window, to_image
from rbox_formats.tiling._windows import (
    NamedWindow,
    Window,
    default_gap,
    locate,
    parse_window_name,
    window_name,
    windows,
)

__all__ = [
    "PADDING",
    "Below",
    "Border",
    "NamedWindow",
    "Window",
    "belonging",
    "clip_to_window",
    "crop",
    "crops",
    "default_gap",
    "locate",
    "parse_window_name",
    "to_image",
    "window_name",
    "windows",
]
