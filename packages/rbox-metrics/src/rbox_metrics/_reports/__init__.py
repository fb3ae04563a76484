"""The report of an evaluation, and its rows."""

from rbox_metrics._reports._render import best_lines, confusion_rows, error_rows, numbered, sweep_rows
from rbox_metrics._reports._report import Report

__all__ = ["Report", "best_lines", "confusion_rows", "error_rows", "numbered", "sweep_rows"]
