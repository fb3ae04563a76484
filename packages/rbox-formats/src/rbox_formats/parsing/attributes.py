"""Attributes that annotation tools store with an object; one of them may be the angle of its box."""

from __future__ import annotations

import math
import re
from typing import Any

__all__ = ["ROTATION", "angle_named", "looks_like_angle"]

ROTATION = "rotation"
"""CVAT's name for the angle of a box that its COCO and Pascal VOC exports write unturned: degrees, clockwise on the
screen, about the box's centre.

Source: cvat-ai/cvat, cvat/apps/dataset_manager/bindings.py (attribute of rectangles); Datumaro's writers of COCO
(`attributes`) and Pascal VOC (`<attributes>`).
"""

# Words in a name that mean that its value may be a box's angle.
_TURNED = ("angle", "angles", "orientation", "rot", "rotate", "rotation", "theta", "yaw")
_WORDS = frozenset([*_TURNED, "azimuth", "degree", "degrees", "direction", "heading", "radians"])
_WORD = re.compile("[A-Z]?[a-z]+|[A-Z]+")


def looks_like_angle(name: str, value: Any) -> bool:
    """Return whether an attribute may be an object's angle: its name says so, and its number is not zero.

    >>> looks_like_angle("boxAngle", 30.0), looks_like_angle("rotation", "0.0"), looks_like_angle("rectangle", 4)
    (True, False, False)
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return False
    words = {word.lower() for word in _WORD.findall(name)}
    return math.isfinite(number) and number != 0 and not words.isdisjoint(_WORDS)


def angle_named(name: str) -> str:
    """Return how `ImageRecord.passed_over` names such an attribute."""
    return f"attribute {name!r} that looks like an angle"
