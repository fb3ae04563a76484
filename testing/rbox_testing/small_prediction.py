"""A prediction of three objects, on an image of 40 x 30 px."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from rbox_formats import ClassNames, Prediction

NAMES = ClassNames(["plane", "ship"])


def made(path: Path | None, image_id: str = "a", **fields: Any) -> Prediction:
    """Return the prediction, with other fields where they are given."""
    values = {
        "boxes": np.array([[20.0, 10.0, 12.0, 6.0, 0.5], [30.0, 15.0, 8.0, 8.0, 0.0], [5.0, 9.0, 4.0, 2.0, -1.0]]),
        "labels": np.array([1, 0, 1]),
        "scores": np.array([0.9, 0.2, 0.6]),
        "width": 40,
        "height": 30,
        "metadata": {"status": "boxes", "windows": [{"text": "ship<loc_1>"}, {"text": "plane"}]},
    }
    return Prediction(image_id=image_id, path=path, class_names=NAMES, **{**values, **fields})
