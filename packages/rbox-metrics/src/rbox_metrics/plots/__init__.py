"""Pictures of reports, for papers, and a sheet of the images with the most errors.

They need matplotlib: `pip install 'rbox-metrics[plot]'`. The sheet does without.
"""

from __future__ import annotations

from rbox_metrics.plots._draw import draw, figures
from rbox_metrics.plots._worst import worst_images

__all__ = ["draw", "figures", "worst_images"]
