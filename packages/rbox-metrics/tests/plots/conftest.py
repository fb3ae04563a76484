"""Reports to draw."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rbox_formats import ImageRecord
from rbox_metrics import Report, evaluate

NAMES = ("ship", "storage tank", "plane")


@pytest.fixture(scope="session")
def report(crowded_scene: Callable[..., tuple[list[ImageRecord], list[ImageRecord]]]) -> Report:
    """Three classes."""
    return evaluate(*crowded_scene(1, 12), NAMES, full=True)


@pytest.fixture(scope="session")
def other(crowded_scene: Callable[..., tuple[list[ImageRecord], list[ImageRecord]]]) -> Report:
    """Another run, of few different scores, on the same classes."""
    return evaluate(*crowded_scene(2, 12, 4), NAMES, full=True)


@pytest.fixture(scope="session")
def unscored(crowded_scene: Callable[..., tuple[list[ImageRecord], list[ImageRecord]]]) -> Report:
    """A run without scores."""
    return evaluate(*crowded_scene(3, 12, None), NAMES, full=True)


@pytest.fixture(scope="session")
def many(crowded_scene: Callable[..., tuple[list[ImageRecord], list[ImageRecord]]]) -> Report:
    """FAIR1M's thirty-seven classes, and one that is nowhere."""
    names = [f"Kind {number} of $hip_{number}" for number in range(37)]
    return evaluate(*crowded_scene(4, 60, classes=37), [*names, "nowhere"], full=True)


@pytest.fixture(scope="session")
def one_class(crowded_scene: Callable[..., tuple[list[ImageRecord], list[ImageRecord]]]) -> Report:
    return evaluate(*crowded_scene(5, 6, classes=1), ["ship"], full=True)


@pytest.fixture(scope="session")
def nothing_found(crowded_scene: Callable[..., tuple[list[ImageRecord], list[ImageRecord]]]) -> Report:
    """Truths, and no detections."""
    return evaluate(crowded_scene(1, 12)[0], [], NAMES, full=True)


@pytest.fixture(scope="session")
def no_truth(crowded_scene: Callable[..., tuple[list[ImageRecord], list[ImageRecord]]]) -> Report:
    """Detections, and nothing to find: every figure is NaN."""
    truth, detections = crowded_scene(1, 12)
    return evaluate([record.select([]) for record in truth], detections, NAMES, full=True)
