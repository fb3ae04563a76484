"""What can go wrong in lmm_detector, on top of what rbox_formats and rbox_metrics raise."""

from __future__ import annotations

from rbox_formats.errors import RboxError

__all__ = ["ConfigError", "DetectorError", "ModelError", "RunError"]


class DetectorError(RboxError):
    """The root of what lmm_detector raises."""


class ConfigError(DetectorError):
    """A setting is unknown, of the wrong type, or does not fit the others."""


class ModelError(DetectorError):
    """A model cannot be loaded, or cannot do what is asked of it."""


class RunError(DetectorError):
    """An output folder belongs to another run."""
