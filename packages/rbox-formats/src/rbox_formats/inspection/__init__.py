"""Inspect a dataset: what it holds, and what is suspicious in it."""

from __future__ import annotations

from rbox_formats.inspection._checks import CHECKS
from rbox_formats.inspection._inspection import (
    ANGLE_STEP,
    LONG_SIDES,
    Broken,
    ClassSummary,
    Inspection,
    Inspector,
    OnItsSide,
    Suspicion,
    Turned,
    file_of,
    inspect,
)
from rbox_formats.inspection._picture import headline, summary_picture

__all__ = [
    "ANGLE_STEP",
    "CHECKS",
    "LONG_SIDES",
    "Broken",
    "ClassSummary",
    "Inspection",
    "Inspector",
    "OnItsSide",
    "Suspicion",
    "Turned",
    "file_of",
    "headline",
    "inspect",
    "summary_picture",
]
