"""What a scene is asked to hold."""

from __future__ import annotations

from dataclasses import dataclass

from rbox_formats.errors import FormatsError


@dataclass(frozen=True)
class SceneConfig:
    """What is drawn. The defaults suit 256 px; `TINY` is a scene for a tiny model.

    Attributes:
        size: Side of the square image, px.
        min_objects: Least number of objects; fewer are drawn only where no room is left.
        max_objects: Greatest number of objects.
        min_scale: Least length of an object as a fraction of the side.
        max_scale: Greatest length; vehicles take the lower part of the range, planes and ships the upper.
        touching: Probability that an object (any but the first) lies side by side with an earlier one of its class,
            their boxes sharing a line. Where none has room beside it the object is placed on its own.
        cut: Probability that an object is cut by the border. Its centre is inside the image, and its box is the whole
            object's all the same. All other objects are wholly inside.
    """

    size: int = 256
    min_objects: int = 1
    max_objects: int = 8
    min_scale: float = 0.09
    max_scale: float = 0.3
    touching: float = 0.25
    cut: float = 0.1

    def __post_init__(self) -> None:
        checks = {
            "a size of at least 32 px": self.size >= 32,
            "0 <= min_objects <= max_objects": 0 <= self.min_objects <= self.max_objects,
            "0 < min_scale <= max_scale <= 0.6": 0 < self.min_scale <= self.max_scale <= 0.6,
            "probabilities of touching and cut of at least 0 that add to 1 at most": min(self.touching, self.cut) >= 0
            and self.touching + self.cut <= 1,
        }
        for expected, holds in checks.items():
            if not holds:
                raise FormatsError(f"expected {expected}, got {self}")
