"""Overlaps, suppression and scoring of rotated boxes, exact and fast.

A name loads what it needs when it is first used (PEP 562): numba with the first metric, torch and torchmetrics only
with the functions and classes that work on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rbox_formats import lazy

if TYPE_CHECKING:
    from rbox_metrics._evaluation import (
        INTERVAL_FIGURES,
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
        ERROR_KINDS,
        FALSE_POSITIVE_KINDS,
        LMMROTATE_F1_THRESHOLDS,
        LMMROTATE_MAP_NC_THRESHOLDS,
        TRUTH_KINDS,
        AtThreshold,
        Best,
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
    from rbox_metrics._suppression import merge_scene, merge_windows, nms_rotated, soft_nms_rotated
    from rbox_metrics.errors import MetricsError
    from rbox_metrics.typing import Backend, Binning, Geometry, Mode, ProtocolName
else:
    __getattr__, __dir__ = lazy.attach(
        __name__,
        {
            "ERROR_KINDS": "rbox_metrics._scores",
            "FALSE_POSITIVE_KINDS": "rbox_metrics._scores",
            "INTERVAL_FIGURES": "rbox_metrics._evaluation",
            "LMMROTATE_F1_THRESHOLDS": "rbox_metrics._scores",
            "LMMROTATE_MAP_NC_THRESHOLDS": "rbox_metrics._scores",
            "TRUTH_KINDS": "rbox_metrics._scores",
            "AtThreshold": "rbox_metrics._scores",
            "Backend": "rbox_metrics.typing",
            "Best": "rbox_metrics._scores",
            "Binning": "rbox_metrics.typing",
            "Calibration": "rbox_metrics._scores",
            "ClassCurve": "rbox_metrics._scores",
            "ClassFigures": "rbox_metrics._scores",
            "CocoFigures": "rbox_metrics._scores",
            "Comparison": "rbox_metrics._evaluation",
            "Confusion": "rbox_metrics._scores",
            "Curves": "rbox_metrics._scores",
            "Difference": "rbox_metrics._evaluation",
            "ErrorBreakdown": "rbox_metrics._scores",
            "FlatBoxes": "rbox_metrics._inputs",
            "Geometry": "rbox_metrics.typing",
            "Interval": "rbox_metrics._evaluation",
            "Intervals": "rbox_metrics._evaluation",
            "MetricsError": "rbox_metrics.errors",
            "Mode": "rbox_metrics.typing",
            "Placement": "rbox_metrics._scores",
            "ProtocolName": "rbox_metrics.typing",
            "Report": "rbox_metrics._reports",
            "RotatedMeanAveragePrecision": "rbox_metrics._evaluation._torchmetrics",
            "Sweep": "rbox_metrics._scores",
            "bootstrap": "rbox_metrics._evaluation",
            "box_iou_rotated": "rbox_metrics._overlaps",
            "calibration": "rbox_metrics._scores",
            "compare": "rbox_metrics._evaluation",
            "confusion_matrix": "rbox_metrics._scores",
            "diff_iou_rotated": "rbox_metrics._overlaps._diff_iou",
            "error_breakdown": "rbox_metrics._scores",
            "evaluate": "rbox_metrics._evaluation",
            "evaluate_file": "rbox_metrics._evaluation",
            "from_arrays": "rbox_metrics._inputs",
            "from_dicts": "rbox_metrics._inputs",
            "from_records": "rbox_metrics._inputs",
            "from_supervision": "rbox_metrics._inputs",
            "from_ultralytics": "rbox_metrics._inputs",
            "map_classes": "rbox_metrics._inputs",
            "merge_scene": "rbox_metrics._suppression",
            "merge_windows": "rbox_metrics._suppression",
            "nms_rotated": "rbox_metrics._suppression",
            "precision_recall_curves": "rbox_metrics._scores",
            "quad_iou": "rbox_metrics._overlaps",
            "read_class_mapping": "rbox_metrics._inputs",
            "read_predictions": "rbox_metrics._inputs.predictions",
            "soft_nms_rotated": "rbox_metrics._suppression",
            "sweep_scores": "rbox_metrics._scores",
            "write_dota_submission": "rbox_metrics._evaluation",
            "write_fair1m_submission": "rbox_metrics._evaluation",
        },
    )

__version__ = "0.1.0"

# Without the metric class and the differentiable IoU: with them a star import would need torch, and wait for it.
__all__ = [
    "ERROR_KINDS",
    "FALSE_POSITIVE_KINDS",
    "INTERVAL_FIGURES",
    "LMMROTATE_F1_THRESHOLDS",
    "LMMROTATE_MAP_NC_THRESHOLDS",
    "TRUTH_KINDS",
    "AtThreshold",
    "Backend",
    "Best",
    "Binning",
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
    "Geometry",
    "Interval",
    "Intervals",
    "MetricsError",
    "Mode",
    "Placement",
    "ProtocolName",
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
    "merge_scene",
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
