"""The errors of rbox_metrics."""

from __future__ import annotations

from rbox_formats.errors import RboxError

__all__ = ["MetricsError"]


class MetricsError(RboxError):
    """Raised if boxes, scores or options cannot be used for a metric.

    >>> from rbox_metrics import box_iou_rotated
    >>> try:
    ...     box_iou_rotated([[50, 40, -20, 10, 0]], [[50, 40, 20, 10, 0]])
    ... except MetricsError as error:
    ...     print(error)
    expected sides of zero or more, got [50.0, 40.0, -20.0, 10.0, 0.0] at boxes1[0]
    """
