"""Overlaps of boxes, quads and masks, pair by pair or found by a search. Classes and scores play no part here."""

from rbox_metrics._overlaps._iou import box_iou_rotated, quad_iou
from rbox_metrics._overlaps._masks import overlapping_masks
from rbox_metrics._overlaps._search import Index, Pairs, aligned_overlaps, kernels_for, overlapping_pairs, stable_order

__all__ = [
    "Index",
    "Pairs",
    "aligned_overlaps",
    "box_iou_rotated",
    "kernels_for",
    "overlapping_masks",
    "overlapping_pairs",
    "quad_iou",
    "stable_order",
]
