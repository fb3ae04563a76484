"""Pictures of reports, for papers, a sheet of the images with the most errors, and one of any images.

They need matplotlib: `pip install 'rbox-metrics[plot]'`. The sheets do without.
"""

from __future__ import annotations

from rbox_metrics.plots._draw import draw, figures
from rbox_metrics.plots._sheet import judged_sheet
from rbox_metrics.plots._worst import worst_images

__all__ = ["draw", "figures", "judged_sheet", "worst_images"]
