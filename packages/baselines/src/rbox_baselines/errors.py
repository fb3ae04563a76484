"""What can go wrong in rbox_baselines, on top of what rbox_formats and rbox_metrics raise."""

from __future__ import annotations

from rbox_formats.errors import RboxError

__all__ = [
    "BaselinesError",
    "CheckpointError",
    "ConfigError",
    "ExportError",
    "LogError",
    "OperatorError",
    "ResultsError",
    "StackError",
]


class BaselinesError(RboxError):
    """The root of what rbox_baselines raises."""


class ConfigError(BaselinesError):
    """A config is unknown, cannot be read, or asks for what is not there."""


class StackError(BaselinesError):
    """What is installed of mmcv, mmengine, mmdet and mmrotate is missing or does not fit together."""


class OperatorError(BaselinesError):
    """A compiled operator of mmcv was asked for that is not supplied, or not with these arguments."""


class CheckpointError(BaselinesError):
    """A checkpoint cannot be read, or is not of this model or these classes."""


class ResultsError(BaselinesError):
    """A file of results cannot be read, or is not of this dataset."""


class LogError(BaselinesError):
    """A training's log cannot be read, or does not have what is asked of it."""


class ExportError(BaselinesError):
    """A model cannot be exported, or an exported file is not one of ours."""
