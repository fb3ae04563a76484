"""Metrics computed from a matching: a file for each kind of result.

In this room, a truth is one object of the ground truth.
"""

from rbox_metrics._scores._averages import eleven_points_of_one, precision_recall_f1, ratio
from rbox_metrics._scores._calibration import Calibration, calibration, calibration_of
from rbox_metrics._scores._confusion import Confusion, confusion_matrix, confusion_of
from rbox_metrics._scores._curves import ClassCurve, Curves, curves_of, precision_recall_curves, protocol_outcomes
from rbox_metrics._scores._error_breakdown import (
    BACKGROUND,
    ERROR_KINDS,
    FALSE_POSITIVE_KINDS,
    TRUTH_KINDS,
    ErrorBreakdown,
    Errors,
    breakdown_of,
    error_breakdown,
)
from rbox_metrics._scores._figures import figures_at, least_overlaps, matches
from rbox_metrics._scores._lmmrotate import LMMROTATE_F1_THRESHOLDS, LMMROTATE_MAP_NC_THRESHOLDS
from rbox_metrics._scores._placement import Placement, placement_of
from rbox_metrics._scores._results import AtThreshold, ClassFigures, CocoFigures
from rbox_metrics._scores._sweep import GRID, Best, Sweep, sweep_of, sweep_scores
from rbox_metrics._scores._turned import Turned, turned_of

__all__ = [
    "BACKGROUND",
    "ERROR_KINDS",
    "FALSE_POSITIVE_KINDS",
    "GRID",
    "LMMROTATE_F1_THRESHOLDS",
    "LMMROTATE_MAP_NC_THRESHOLDS",
    "TRUTH_KINDS",
    "AtThreshold",
    "Best",
    "Calibration",
    "ClassCurve",
    "ClassFigures",
    "CocoFigures",
    "Confusion",
    "Curves",
    "ErrorBreakdown",
    "Errors",
    "Placement",
    "Sweep",
    "Turned",
    "breakdown_of",
    "calibration",
    "calibration_of",
    "confusion_matrix",
    "confusion_of",
    "curves_of",
    "eleven_points_of_one",
    "error_breakdown",
    "figures_at",
    "least_overlaps",
    "matches",
    "placement_of",
    "precision_recall_curves",
    "precision_recall_f1",
    "protocol_outcomes",
    "ratio",
    "sweep_of",
    "sweep_scores",
    "turned_of",
]
