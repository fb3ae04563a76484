"""Detectors of rotated boxes over HTTP, of every package that follows `rbox_formats.detection.StepwiseDetector`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rbox_formats import lazy

if TYPE_CHECKING:
    from rbox_serve._app import make_app
    from rbox_serve._settings import Limits, Settings
else:
    __getattr__, __dir__ = lazy.attach(
        __name__,
        {"Limits": "rbox_serve._settings", "Settings": "rbox_serve._settings", "make_app": "rbox_serve._app"},
    )

__version__ = "0.1.0"

__all__ = ["Limits", "Settings", "make_app"]
