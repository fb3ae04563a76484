"""What all tests have in common: the examples that they draw, the order of their files, and shapes, where asked for."""

from __future__ import annotations

import gc
import os
import signal
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import jaxtyping
import pytest
from hypothesis import settings

# The same examples each time, so that a run is red for what was changed and not by luck; --hypothesis-profile=random
# draws others, and more. An example's time depends on what else the machine does.
settings.register_profile("same", derandomize=True, deadline=None, max_examples=40)
settings.register_profile("random", deadline=None, print_blob=True)
settings.load_profile("same")

# A shell has what it starts in the background ignore Ctrl-C, and so does all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Where several processes share the tests each has a core, and no threads of PyTorch for another one: tensors are small.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


_collect = gc.collect


def _collect_the_young(_generation: int = 2) -> int:
    return _collect(0)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leave modules and tests, which live as long as the process, out of garbage collection.

    It would look through millions of objects, and libraries ask for one whenever a training begins or a dataset is
    read: up to two seconds. Those that they ask for look at the youngest objects only; Python's own come less often.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000, 10, 50)
        gc.enable()
        gc.collect = _collect_the_young


def pytest_unconfigure() -> None:
    """Give it back: Triton's bindings look at the end for what was left."""
    gc.collect = _collect
    gc.unfreeze()


# `hatch run test-shapes`: every call is held to its shape annotations. It takes some four times as long.
if "RBOX_CHECK_SHAPES" in os.environ:
    from jaxtyping import install_import_hook

    # An int is a float here, as in Python's type hints (PEP 484).
    install_import_hook(
        ["rbox_formats", "rbox_metrics"], "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
    )

# The files of tests that take longest, from a quarter of a minute to a few seconds, the longest first.
LONG = [
    "packages/lmm-detector/tests/_training/test_train.py",
    "packages/lmm-detector/tests/_prediction/test_predict.py",
    "packages/lmm-detector/tests/_training/test_resuming.py",
    "packages/baselines/tests/_training/test_train.py",
    "tests/test_demo.py",
    "tests/test_two_at_once.py",
    "packages/lmm-detector/tests/_training/test_validation.py",
    "packages/lmm-detector/tests/_training/test_vision_warm_up.py",
    "packages/lmm-detector/tests/_training/test_trackers.py",
    "packages/rbox-formats/tests/test_splitting.py",
    "packages/lmm-detector/tests/_families/test_every_family.py",
    "packages/baselines/tests/_configs/test_zoo.py",
    "packages/rbox-metrics/tests/plots/test_draw.py",
    "packages/rbox-metrics/tests/cli/test_compiling.py",
    "tests/test_kills.py",
    "tests/test_serving.py",
    "packages/serve/tests/test_running.py",
    "tests/test_house.py",
    "tests/test_public_names.py",
]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long files first, then those of many tests: no worker is to begin a long one when the others are done.

    What the commands of rbox-baselines keep from the user is no error in its tests either; everything else is.
    """
    root = Path(config.rootpath)
    quiet = [item for item in items if {root / "packages" / "baselines", root / "tests"} & {*item.path.parents}]
    if quiet:
        from rbox_baselines._stack import _mends  # which imports rbox_formats: not before the hook above

        for item in quiet:
            for noise in _mends.NOISE:
                item.add_marker(pytest.mark.filterwarnings(f"ignore:{noise.message}:{noise.category.__name__}"))
    ranks = {root / name: rank for rank, name in enumerate(LONG)}
    counts = Counter(item.path for item in items)
    items.sort(key=lambda item: (ranks.get(item.path, len(ranks)), -counts[item.path], str(item.path)))


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls as users make them: what is checked here would be an error before ours."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
