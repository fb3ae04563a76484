"""The settings of synthetic scenes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rbox_formats._records import ClassNames
from rbox_formats.errors import FormatsError, listed
from rbox_formats.synthetic._objects import CLASS_NAMES, KNOWN_CLASSES

Season = Literal["summer", "winter"]


@dataclass(frozen=True)
class SceneConfig:
    """The settings of a scene. The defaults suit 256 px; `TINY` is a scene for a tiny model.

    >>> from rbox_formats import synthetic
    >>> image, record = synthetic.scene(0, synthetic.SceneConfig(size=128))
    >>> image.shape, record.size
    ((128, 128, 3), (128, 128))

    Attributes:
        size: The side of the square image, px.
        min_objects: The smallest number of objects; there are fewer only if no room is left.
        max_objects: The largest number of objects.
        min_scale: The smallest length of an object, as a fraction of the side.
        max_scale: The largest length of an object, as a fraction of the side. Vehicles use the lower part of the range
            from `min_scale` on, planes and ships the upper part.
        touching: The probability that an object (except the first) is side by side with an earlier one of its class, so
            that their boxes share a line. If none has room beside it, the object is placed on its own.
        cut: The probability that an object is cut by the border. Its centre is inside the image, and its box is still
            that of the whole object. All other objects are wholly inside.
        zooms: The factors of all lengths; each scene uses one of them.
        clutter: The largest number of things that are not objects: houses, trees, pads, crates, rocks, buoys, wakes.
            They touch no object.
        variety: From 0 to 1, how far scenes differ in light, colour, haze, blur and noise.
        season: "summer", or "winter": snow, ice and low light.
        class_names: The classes that are drawn, among `CLASS_NAMES` and "large-vehicle"; labels index them.
        masks: Whether the records have masks: of each object, the pixels of the image that it covers by half or more.
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
    masks: bool = False

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
