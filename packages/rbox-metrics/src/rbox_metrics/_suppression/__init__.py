"""Decides which of overlapping detections stay: NMS, and the joining of windows."""

from rbox_metrics._suppression._nms import merge_windows, nms_rotated, soft_nms_rotated
from rbox_metrics._suppression._windows import merge_records, merge_scene

__all__ = [
    "merge_records",
    "merge_scene",
    "merge_windows",
    "nms_rotated",
    "soft_nms_rotated",
]
