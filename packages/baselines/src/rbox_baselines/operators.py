"""Operators of exported programs: importing this registers them with PyTorch, as `rbox::NAME`."""

from __future__ import annotations

from rbox_baselines._export._operators import nms, nms_rotated, roi_align

__all__ = ["nms", "nms_rotated", "roi_align"]
