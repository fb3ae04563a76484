"""What a scene is asked to hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rbox_formats._records import ClassNames
from rbox_formats.errors import FormatsError, listed
from rbox_formats.synthetic._objects import CLASS_NAMES, KNOWN_CLASSES

Season = Literal["summer", "winter"]


@dataclass(frozen=True)
class SceneConfig:
    """What is drawn. The defaults suit 256 px; `TINY` is a scene for a tiny model.

    >>> from rbox_formats import synthetic
    >>> image, record = synthetic.scene(0, synthetic.SceneConfig(size=128))
    >>> image.shape, record.size
    ((128, 128, 3), (128, 128))

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
        zooms: By how much lengths are multiplied, one of these for each scene: the scales at which it is seen.
        clutter: Greatest number of things that are no objects: houses, trees, pads, crates, rocks, buoys, wakes. They
            touch no object.
        variety: From 0 to 1, how far scenes differ in light, colour, haze, blur and noise.
        season: "summer", or "winter": snow, ice and low light.
        class_names: The classes that are drawn, among `CLASS_NAMES` and "large-vehicle"; labels count in their order.
    """

    size: int = 256
    min_objects: int = 1
    max_objects: int = 8
    min_scale: float = 0.09
    max_scale: float = 0.3
    touching: float = 0.25
    cut: float = 0.1
    zooms: tuple[float, ...] = (1.0,)
    clutter: int = 0
    variety: float = 0.0
    season: Season = "summer"
    class_names: ClassNames = CLASS_NAMES

    def __post_init__(self) -> None:
        checks = {
            "a size of at least 32 px": self.size >= 32,
            "0 <= min_objects <= max_objects": 0 <= self.min_objects <= self.max_objects,
            "0 < min_scale <= max_scale <= 0.6": 0 < self.min_scale <= self.max_scale <= 0.6,
            "probabilities of touching and cut of at least 0 that add to 1 at most": min(self.touching, self.cut) >= 0
            and self.touching + self.cut <= 1,
            "zooms above 0 that leave max_scale at 0.6 at most": len(self.zooms) > 0
            and min(self.zooms) > 0
            and self.max_scale * max(self.zooms) <= 0.6,
            "a clutter of at least 0": self.clutter >= 0,
            "a variety from 0 to 1": 0 <= self.variety <= 1,
            f"a season among {', '.join(get_args(Season))}": self.season in get_args(Season),
            f"class_names among {listed(KNOWN_CLASSES)}": len(self.class_names) > 0
            and set(self.class_names) <= set(KNOWN_CLASSES),
        }
        for expected, holds in checks.items():
            if not holds:
                raise FormatsError(f"expected {expected}, got {self}")
