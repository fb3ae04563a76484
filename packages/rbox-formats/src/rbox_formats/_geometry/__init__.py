"""Boxes and quads as numbers: conventions, conversions, transformations, clipping. No files and no classes."""

from rbox_formats._geometry._clipping import area_inside, clip_to_rbox, intersection_over_foreground
from rbox_formats._geometry._conventions import CONVENTIONS, LE90, LE135, OC, OC_OLD, Convention, convert
from rbox_formats._geometry._inputs import as_shapes, check_choice
from rbox_formats._geometry._minimum_rectangle import around_points
from rbox_formats._geometry._polygons import crosses_itself, quad_around, upright_quad
from rbox_formats._geometry._shapes import (
    canonical_le90,
    canonical_quad,
    hbox_to_rbox,
    quad_area,
    quad_to_hbox,
    quad_to_rbox,
    rbox_area,
    rbox_to_hbox,
    rbox_to_quad,
)
from rbox_formats._geometry._transforms import flip, rotate, rotate90, scale, translate

__all__ = [
    "CONVENTIONS",
    "LE90",
    "LE135",
    "OC",
    "OC_OLD",
    "Convention",
    "area_inside",
    "around_points",
    "as_shapes",
    "canonical_le90",
    "canonical_quad",
    "check_choice",
    "clip_to_rbox",
    "convert",
    "crosses_itself",
    "flip",
    "hbox_to_rbox",
    "intersection_over_foreground",
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
    "translate",
    "upright_quad",
]
