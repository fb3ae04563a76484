"""Pictures of reports for papers, and sheets of images with their right and wrong detections.

The pictures of reports need matplotlib: `pip install 'rbox-metrics[plot]'`. The sheets do not.
"""

from __future__ import annotations

from rbox_metrics.plots._draw import draw, figures
from rbox_metrics.plots._sheet import judged_sheet
from rbox_metrics.plots._worst import worst_images

__all__ = ["draw", "figures", "judged_sheet", "worst_images"]
