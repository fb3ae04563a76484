"""Every public function and class has an example, which `hatch run doctest` runs."""

from __future__ import annotations

import inspect

import pytest
import rbox_metrics
from rbox_metrics import mining, plots, tables

PUBLIC = [
    *((rbox_metrics, name) for name in (*rbox_metrics.__all__, "RotatedMeanAveragePrecision", "diff_iou_rotated")),
    *((module, name) for module in (mining, tables, plots) for name in module.__all__),
]


@pytest.mark.parametrize("module, name", PUBLIC, ids=[f"{module.__name__}.{name}" for module, name in PUBLIC])
def test_each_has_an_example(module: object, name: str) -> None:
    found = getattr(module, name)
    if inspect.isclass(found) or inspect.isfunction(found):
        assert ">>> " in (found.__doc__ or "")
