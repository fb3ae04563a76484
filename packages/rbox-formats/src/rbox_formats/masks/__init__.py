"""Masks of objects, as instance segmentation has them: polygons, or run lengths down the columns.

Neither is ever an array of all pixels of an image: what a mask takes grows with its outline. COCO's `segmentation` is
read and written in its three forms (outlines, counts, counts compressed to a text); pixels of a polygon are those of
pycocotools. Coordinates are pixels, with (0, 0) the left upper corner of the left upper pixel.
"""

from rbox_formats.masks._components import instances
from rbox_formats.masks._masks import LARGEST, MOST_RUNS, Mask, Masks, PolygonMask, RunMask, as_mask

__all__ = ["LARGEST", "MOST_RUNS", "Mask", "Masks", "PolygonMask", "RunMask", "as_mask", "instances"]
