"""Overlaps, suppression and scoring of rotated boxes, exact and fast.

Names load what they need when they are first asked for (PEP 562): numba with the first figure, torch and torchmetrics
only with what works on them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbox_metrics._adapters import from_dicts, from_supervision, from_ultralytics
    from rbox_metrics._bootstrap import Comparison, Difference, Interval, Intervals, bootstrap, compare
    from rbox_metrics._calibration import Calibration, calibration
    from rbox_metrics._classes import map_classes, read_class_mapping
    from rbox_metrics._confusion import Confusion, confusion_matrix
    from rbox_metrics._curves import ClassCurve, Curves, precision_recall_curves
    from rbox_metrics._diff_iou import diff_iou_rotated as diff_iou_rotated
    from rbox_metrics._error_breakdown import ErrorBreakdown, error_breakdown
    from rbox_metrics._evaluate import evaluate
    from rbox_metrics._files import evaluate_file
    from rbox_metrics._flat import FlatBoxes, from_arrays, from_records
    from rbox_metrics._iou import box_iou_rotated, quad_iou
    from rbox_metrics._nms import merge_windows, nms_rotated, soft_nms_rotated
    from rbox_metrics._placement import Placement
    from rbox_metrics._predictions import read_predictions
    from rbox_metrics._report import AtThreshold, ClassFigures, CocoFigures, Report
    from rbox_metrics._submissions import write_dota_submission, write_fair1m_submission
    from rbox_metrics._sweep import Sweep, sweep_scores
    from rbox_metrics._torchmetrics import RotatedMeanAveragePrecision as RotatedMeanAveragePrecision
    from rbox_metrics.errors import MetricsError


__version__ = "0.1.0"

# Each name and its module.
_MODULES = {
    "AtThreshold": "_report",
    "Calibration": "_calibration",
    "ClassCurve": "_curves",
    "ClassFigures": "_report",
    "CocoFigures": "_report",
    "Comparison": "_bootstrap",
    "Confusion": "_confusion",
    "Curves": "_curves",
    "Difference": "_bootstrap",
    "ErrorBreakdown": "_error_breakdown",
    "FlatBoxes": "_flat",
    "Interval": "_bootstrap",
    "Intervals": "_bootstrap",
    "MetricsError": "errors",
    "Placement": "_placement",
    "Report": "_report",
    "RotatedMeanAveragePrecision": "_torchmetrics",
    "Sweep": "_sweep",
    "bootstrap": "_bootstrap",
    "box_iou_rotated": "_iou",
    "diff_iou_rotated": "_diff_iou",
    "calibration": "_calibration",
    "compare": "_bootstrap",
    "confusion_matrix": "_confusion",
    "error_breakdown": "_error_breakdown",
    "evaluate": "_evaluate",
    "evaluate_file": "_files",
    "from_arrays": "_flat",
    "from_dicts": "_adapters",
    "from_records": "_flat",
    "from_supervision": "_adapters",
    "from_ultralytics": "_adapters",
    "map_classes": "_classes",
    "merge_windows": "_nms",
    "nms_rotated": "_nms",
    "precision_recall_curves": "_curves",
    "quad_iou": "_iou",
    "read_class_mapping": "_classes",
    "read_predictions": "_predictions",
    "soft_nms_rotated": "_nms",
    "sweep_scores": "_sweep",
    "write_dota_submission": "_submissions",
    "write_fair1m_submission": "_submissions",
}

# Not the metric and not the differentiable IoU: a star import would need torch then, and wait for it.
__all__ = [
    "AtThreshold",
    "Calibration",
    "ClassCurve",
    "ClassFigures",
    "CocoFigures",
    "Comparison",
    "Confusion",
    "Curves",
    "Difference",
    "ErrorBreakdown",
    "FlatBoxes",
    "Interval",
    "Intervals",
    "MetricsError",
    "Placement",
    "Report",
    "Sweep",
    "bootstrap",
    "box_iou_rotated",
    "calibration",
    "compare",
    "confusion_matrix",
    "error_breakdown",
    "evaluate",
    "evaluate_file",
    "from_arrays",
    "from_dicts",
    "from_records",
    "from_supervision",
    "from_ultralytics",
    "map_classes",
    "merge_windows",
    "nms_rotated",
    "precision_recall_curves",
    "quad_iou",
    "read_class_mapping",
    "read_predictions",
    "soft_nms_rotated",
    "sweep_scores",
    "write_dota_submission",
    "write_fair1m_submission",
]


def __getattr__(name: str) -> Any:
    """The public names, and submodules that are asked for by name."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Names that are not loaded yet too."""
    return sorted({*globals(), *_MODULES})
