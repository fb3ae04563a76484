"""The registries of mmdet and of MMRotate: a config of either names a part of ours without the other's prefix."""

from __future__ import annotations

from typing import Any, TypeVar

from mmdet.registry import MODELS
from mmrotate.registry import MODELS as ROTATED_MODELS

T = TypeVar("T", bound=type[Any])


def registered(kind: T) -> T:
    """Register a class, in both."""
    return ROTATED_MODELS.register_module()(MODELS.register_module()(kind))
