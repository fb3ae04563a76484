"""What can go wrong in rbox_metrics."""

from __future__ import annotations

from rbox_formats.errors import RboxError

__all__ = ["MetricsError"]


class MetricsError(RboxError):
    """Boxes, scores or options are not what a metric can work on."""
