"""A slow overlap that has nothing in common with the package's, for the tests that state a protocol anew."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import shapely


def _polygon(box: np.ndarray, origin: np.ndarray) -> shapely.Polygon:
    """Corners as complex numbers: half sides, turned by a factor."""
    x, y, w, h, angle = (float(value) for value in box)
    turn = np.exp(1j * angle)
    corners = [complex(x - origin[0], y - origin[1]) + turn * complex(a * w, b * h) / 2 for a, b in _SIGNS]
    return shapely.Polygon([(corner.real, corner.imag) for corner in corners])


_SIGNS = ((-1, -1), (1, -1), (1, 1), (-1, 1))


@pytest.fixture(scope="session")
def slow_iou() -> Callable[[np.ndarray, np.ndarray], float]:
    """Two boxes (5,) to their IoU."""

    def iou(box1: np.ndarray, box2: np.ndarray) -> float:
        first, second = _polygon(box1, box1), _polygon(box2, box1)
        common = first.intersection(second).area
        return common / (first.area + second.area - common) if first.area and second.area else 0.0

    return iou
