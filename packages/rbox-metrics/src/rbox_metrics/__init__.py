"""Overlaps, suppression and scoring of rotated boxes, exact and fast.

Names load what they need when they are first asked for (PEP 562): numba with the first figure, torch and torchmetrics
only with what works on them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rbox_metrics._evaluation import (
        Comparison,
        Difference,
        Interval,
        Intervals,
        bootstrap,
        compare,
        evaluate,
        evaluate_file,
        write_dota_submission,
        write_fair1m_submission,
    )
    from rbox_metrics._evaluation._torchmetrics import RotatedMeanAveragePrecision as RotatedMeanAveragePrecision
    from rbox_metrics._inputs import (
        FlatBoxes,
        from_arrays,
        from_dicts,
        from_records,
        from_supervision,
        from_ultralytics,
        map_classes,
        read_class_mapping,
    )
    from rbox_metrics._inputs.predictions import read_predictions
    from rbox_metrics._overlaps import box_iou_rotated, quad_iou
    from rbox_metrics._overlaps._diff_iou import diff_iou_rotated as diff_iou_rotated
    from rbox_metrics._reports import Report
    from rbox_metrics._scores import (
        AtThreshold,
        Calibration,
        ClassCurve,
        ClassFigures,
        CocoFigures,
        Confusion,
        Curves,
        ErrorBreakdown,
        Placement,
        Sweep,
        calibration,
        confusion_matrix,
        error_breakdown,
        precision_recall_curves,
        sweep_scores,
    )
    from rbox_metrics._suppression import merge_windows, nms_rotated, soft_nms_rotated
    from rbox_metrics.errors import MetricsError


__version__ = "0.1.0"

# Each name and its module.
_MODULES = {
    "AtThreshold": "_scores",
    "Calibration": "_scores",
    "ClassCurve": "_scores",
    "ClassFigures": "_scores",
    "CocoFigures": "_scores",
    "Comparison": "_evaluation",
    "Confusion": "_scores",
    "Curves": "_scores",
    "Difference": "_evaluation",
    "ErrorBreakdown": "_scores",
    "FlatBoxes": "_inputs",
    "Interval": "_evaluation",
    "Intervals": "_evaluation",
    "MetricsError": "errors",
    "Placement": "_scores",
    "Report": "_reports",
    "RotatedMeanAveragePrecision": "_evaluation._torchmetrics",
    "Sweep": "_scores",
    "bootstrap": "_evaluation",
    "box_iou_rotated": "_overlaps",
    "diff_iou_rotated": "_overlaps._diff_iou",
    "calibration": "_scores",
    "compare": "_evaluation",
    "confusion_matrix": "_scores",
    "error_breakdown": "_scores",
    "evaluate": "_evaluation",
    "evaluate_file": "_evaluation",
    "from_arrays": "_inputs",
    "from_dicts": "_inputs",
    "from_records": "_inputs",
    "from_supervision": "_inputs",
    "from_ultralytics": "_inputs",
    "map_classes": "_inputs",
    "merge_windows": "_suppression",
    "nms_rotated": "_suppression",
    "precision_recall_curves": "_scores",
    "quad_iou": "_overlaps",
    "read_class_mapping": "_inputs",
    "read_predictions": "_inputs.predictions",
    "soft_nms_rotated": "_suppression",
    "sweep_scores": "_scores",
    "write_dota_submission": "_evaluation",
    "write_fair1m_submission": "_evaluation",
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
