from __future__ import annotations

import warnings
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def ops() -> ModuleType:
    """mmcv.ops, on the operators of this package."""
    from rbox_baselines import enable_mmcv_ops

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # mmcv is old
        enable_mmcv_ops()
        import mmcv.ops
    return mmcv.ops
