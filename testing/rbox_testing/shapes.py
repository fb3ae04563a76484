"""Whether two outlines are the same, by shapely."""

from __future__ import annotations

import numpy as np
import shapely


def apart(quad1: np.ndarray, quad2: np.ndarray) -> float:
    """Return how far two outlines lie apart: the Hausdorff distance of quads (4, 2), in their unit.

    Their common area would not tell: GEOS finds none between some polygons whose edges all but coincide, such as a
    rectangle and itself moved by 2e-15.
    """
    return float(shapely.hausdorff_distance(shapely.LinearRing(quad1), shapely.LinearRing(quad2)))
