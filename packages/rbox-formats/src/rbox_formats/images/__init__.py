"""Image files: their sizes and pixels, part by part where they are large, and how they are found by name."""

from rbox_formats.images._deep import BANDS_VARIABLE, STRETCH_VARIABLE, is_default, parse_bands, parse_stretch, shown_by
from rbox_formats.images._files import OpenFile
from rbox_formats.images._images import (
    SUFFIXES,
    as_rgb,
    check,
    find,
    load,
    open_rows,
    read_orientation,
    read_size,
)
from rbox_formats.images._opening import FORMATS, LARGEST_WHOLE, LIMIT_VARIABLE, largest_whole
from rbox_formats.images._orientation import as_stored, upright
from rbox_formats.images._rows import MapPlace, Rows, read_map_place
from rbox_formats.images._sources import by_id, find_broken, find_images, refuse, stem_of
from rbox_formats.images._values import open_nonzero

__all__ = [
    "BANDS_VARIABLE",
    "FORMATS",
    "LARGEST_WHOLE",
    "LIMIT_VARIABLE",
    "STRETCH_VARIABLE",
    "SUFFIXES",
    "MapPlace",
    "OpenFile",
    "Rows",
    "as_rgb",
    "as_stored",
    "by_id",
    "check",
    "find",
    "find_broken",
    "find_images",
    "is_default",
    "largest_whole",
    "load",
    "open_nonzero",
    "open_rows",
    "parse_bands",
    "parse_stretch",
    "read_map_place",
    "read_orientation",
    "read_size",
    "refuse",
    "shown_by",
    "stem_of",
    "upright",
]
