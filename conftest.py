"""Checks the shape annotations of rbox_formats and rbox_metrics on every call that a test makes."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

os.environ["RBOX_CHECK_SHAPES"] = "1"

from hypothesis import settings
from jaxtyping import install_import_hook

# An example's time depends on what else the machine does; tests that are about time measure it themselves.
settings.register_profile("workspace", deadline=None)
settings.load_profile("workspace")

# An int is a float here, as in Python's type hints (PEP 484).
install_import_hook(
    ["rbox_formats", "rbox_metrics"], "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)

# The files of tests that take longest, from half a minute to a quarter of one, the longest first.
LONG = [
    "tests/test_demo.py",
    "packages/lmm-detector/tests/_training/test_train.py",
    "packages/lmm-detector/tests/_runtime/test_ranks.py",
    "packages/lmm-detector/tests/_families/test_every_family.py",
    "packages/lmm-detector/tests/_prediction/test_predict.py",
    "packages/baselines/tests/_engine/test_train.py",
    "packages/baselines/tests/_configs/test_zoo.py",
    "packages/rbox-formats/tests/test_splitting.py",
    "packages/rbox-metrics/tests/cli/test_compiling.py",
    "tests/test_house.py",
    "tests/test_real_input.py",
]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long files first, then those of many tests: no worker is to begin a long one when the others are done.

    What the commands of rbox-baselines keep from the user is no error in its tests either; everything else is.
    """
    from rbox_baselines._stack import _mends  # which imports rbox_formats: not before the hook above

    root = Path(config.rootpath)
    for item in items:
        if {root / "packages" / "baselines", root / "tests"} & {*item.path.parents}:
            for noise in _mends.NOISE:
                item.add_marker(pytest.mark.filterwarnings(f"ignore:{noise.message}:{noise.category.__name__}"))
    ranks = {root / name: rank for rank, name in enumerate(LONG)}
    counts = Counter(item.path for item in items)
    items.sort(key=lambda item: (ranks.get(item.path, len(ranks)), -counts[item.path], str(item.path)))
