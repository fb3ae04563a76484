"""Overlaps, suppression and scoring of rotated boxes, exact and fast."""

from rbox_metrics._evaluate import evaluate
from rbox_metrics._files import evaluate_file
from rbox_metrics._flat import FlatBoxes, from_arrays, from_records
from rbox_metrics._iou import box_iou_rotated
from rbox_metrics._nms import merge_windows, nms_rotated
from rbox_metrics._report import AtThreshold, ClassFigures, Report
from rbox_metrics.errors import MetricsError

__version__ = "0.1.0"

__all__ = [
    "AtThreshold",
    "ClassFigures",
    "FlatBoxes",
    "MetricsError",
    "Report",
    "box_iou_rotated",
    "evaluate",
    "evaluate_file",
    "from_arrays",
    "from_records",
    "merge_windows",
    "nms_rotated",
]
