"""Image files: their sizes and pixels, part by part where they are large, and how they are found by name."""

from rbox_formats.images._images import SUFFIXES, check, find, load, open_rows, read_size
from rbox_formats.images._rows import Rows
from rbox_formats.images._sources import by_id, find_images, refuse, stem_of

__all__ = [
    "SUFFIXES",
    "Rows",
    "by_id",
    "check",
    "find",
    "find_images",
    "load",
    "open_rows",
    "read_size",
    "refuse",
    "stem_of",
]
