"""Windows over large images: where they lie, what of an image's objects each holds, and the way back.

The rule is DOTA's (1024 px, gap 200), as MMRotate's `tools/data/dota/split/img_split.py` has it: windows a step of
size - gap apart, the last one of a row or column moved back so that it ends with the image; an object belongs to a
window if at least `iof_threshold` of its area lies inside, and keeps its full outline there. What differs: of an object
that the image's own border cuts, only the part on the image counts, since no window sees more of it; and MMRotate
writes 2 as the difficulty of an object that the window cuts at all, which its loader takes as ordinary, where an object
here keeps the flag that it has. DOTA_devkit's ImgSplit cuts outlines at the window (`border="clip"`) and marks objects
below the threshold as difficult (`below="difficult"`).
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
