"""Boxes of any source as flat arrays, and the checks of what users pass in."""

from rbox_metrics._inputs._adapters import from_dicts, from_supervision, from_ultralytics
from rbox_metrics._inputs._check import (
    as_array,
    check_aligned,
    check_backend,
    check_boxes,
    check_fraction,
    check_indices,
    check_iou_thresholds,
    check_max_dets,
    check_number,
    check_quads,
    check_scores,
    check_whole,
    check_windows,
    require_plain,
)
from rbox_metrics._inputs._classes import map_classes, read_class_mapping
from rbox_metrics._inputs._flat import FlatBoxes, from_arrays, from_records, masks_of
from rbox_metrics._inputs._tensors import first_tensor, like

__all__ = [
    "FlatBoxes",
    "as_array",
    "check_aligned",
    "check_backend",
    "check_boxes",
    "check_fraction",
    "check_indices",
    "check_iou_thresholds",
    "check_max_dets",
    "check_number",
    "check_quads",
    "check_scores",
    "check_whole",
    "check_windows",
    "first_tensor",
    "from_arrays",
    "from_dicts",
    "from_records",
    "from_supervision",
    "from_ultralytics",
    "like",
    "map_classes",
    "masks_of",
    "read_class_mapping",
    "require_plain",
]
