"""Rotated boxes in aerial images: conventions, box-to-text codecs, dataset formats, prediction files."""

from rbox_formats import codecs, datasets, predictions, tiling
from rbox_formats._geometry import (
    canonical_le90,
    hbox_to_rbox,
    quad_area,
    quad_to_rbox,
    rbox_to_hbox,
    rbox_to_quad,
)
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.errors import RboxError

__version__ = "0.1.0"

__all__ = [
    "ClassNames",
    "Dataset",
    "ImageRecord",
    "RboxError",
    "canonical_le90",
    "codecs",
    "datasets",
    "hbox_to_rbox",
    "predictions",
    "quad_area",
    "quad_to_rbox",
    "rbox_to_hbox",
    "rbox_to_quad",
    "tiling",
]
