"""Rotated boxes in aerial images: conventions, box-to-text codecs, dataset formats, prediction files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rbox_formats import (
    _at_once,  # noqa: F401  # first: the others take a while
    lazy,
)
from rbox_formats._geometry import (
    CONVENTIONS,
    LE90,
    LE135,
    OC,
    OC_OLD,
    Convention,
    area_inside,
    canonical_le90,
    canonical_quad,
    clip_to_rbox,
    convert,
    crosses_itself,
    flip,
    hbox_to_rbox,
    intersection_over_foreground,
    quad_area,
    quad_around,
    quad_to_hbox,
    quad_to_rbox,
    rbox_area,
    rbox_to_hbox,
    rbox_to_quad,
    rotate,
    rotate90,
    scale,
    translate,
)
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.errors import RboxError

if TYPE_CHECKING:
    from rbox_formats import codecs, datasets, detection, masks, predictions, tiling
    from rbox_formats.detection import Detector, Prediction, load_detector
else:
    # Programs that need only boxes do not load twenty text formats and twenty dataset formats.
    __getattr__, __dir__ = lazy.attach(
        __name__,
        {
            "Detector": "rbox_formats.detection",
            "Prediction": "rbox_formats.detection",
            "load_detector": "rbox_formats.detection",
        },
        ("codecs", "datasets", "detection", "masks", "predictions", "tiling"),
    )

__version__ = "0.1.0"

__all__ = [
    "CONVENTIONS",
    "LE90",
    "LE135",
    "OC",
    "OC_OLD",
    "ClassNames",
    "Convention",
    "Dataset",
    "Detector",
    "ImageRecord",
    "Prediction",
    "RboxError",
    "area_inside",
    "canonical_le90",
    "canonical_quad",
    "clip_to_rbox",
    "codecs",
    "convert",
    "crosses_itself",
    "datasets",
    "detection",
    "flip",
    "hbox_to_rbox",
    "intersection_over_foreground",
    "load_detector",
    "masks",
    "predictions",
    "quad_area",
    "quad_around",
    "quad_to_hbox",
    "quad_to_rbox",
    "rbox_area",
    "rbox_to_hbox",
    "rbox_to_quad",
    "rotate",
    "rotate90",
    "scale",
    "tiling",
    "translate",
]
