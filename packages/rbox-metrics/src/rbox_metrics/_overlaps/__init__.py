"""How much boxes and quads overlap, pair by pair or searched for. Knows no class and no score."""

from rbox_metrics._overlaps._iou import box_iou_rotated, quad_iou
from rbox_metrics._overlaps._search import Index, Pairs, aligned_overlaps, kernels_for, overlapping_pairs, stable_order

__all__ = [
    "Index",
    "Pairs",
    "aligned_overlaps",
    "box_iou_rotated",
    "kernels_for",
    "overlapping_pairs",
    "quad_iou",
    "stable_order",
]
