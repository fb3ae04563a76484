"""From one dataset format to another: the classes' new names, and what the new files say when they are read back.

No format is asked what it holds: what was written is read again and compared with the original, object by object. So a
loss is named when it happens and only then, with its size.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from rbox_formats._geometry import clip_to_rbox, intersection_over_foreground, quad_to_rbox, rbox_to_quad
from rbox_formats._records import ClassNames, Dataset, ImageRecord
from rbox_formats.errors import ClassNameError, listed, quoted
from rbox_formats.inspection._checks import corner_distance
from rbox_formats.masks import Mask, PolygonMask
from rbox_formats.typing import FlagsN, QuadsN

SAME_CORNER = 0.01
"""Corners that are no further apart are the same, px: what formats that round to two decimals keep."""


class ClassMap(NamedTuple):
    """New names for a dataset's classes.

    Attributes:
        names: The classes of the result.
        labels: For each class of the source its new label, or None where its objects are left out.
        foreign: Names of the result that the target format's makers do not have; none where they have no list.
    """

    names: ClassNames
    labels: tuple[int | None, ...]
    foreign: tuple[str, ...]


def class_map(
    source: ClassNames, target: ClassNames | None, renamed: Mapping[str, str], dropped: Iterable[str]
) -> ClassMap:
    """The classes of a converted dataset.

    Names that the target format's makers have as well are spelled as they do; when they have all of them, their list is
    the result's, in their order. Otherwise it is the source's list, in its order; classes renamed alike become one.

    Args:
        source: The dataset's classes.
        target: Those of the target format's makers, or None where each dataset has its own.
        renamed: From old names to new ones.
        dropped: Classes whose objects are left out.

    Raises:
        ClassNameError: If a class is renamed or dropped that the source does not have, or is both, or none is left.
    """
    new: dict[int, str | None] = dict(enumerate(source))
    for old, name in [*renamed.items(), *((name, None) for name in dropped)]:
        label = source.find(old)
        if label is None:
            raise ClassNameError(
                f"expected a class among {listed(source)}, got {quoted(old)}",
                remedy="Rename and drop classes of the dataset that is read, by the names that it has.",
            )
        if new[label] != source[label]:
            raise ClassNameError(f"expected one thing to be done with {quoted(old)}, got two")
        new[label] = name
    own = ClassNames(()) if target is None else target
    spelled = {label: _spelled(name, own) for label, name in new.items() if name is not None}
    if not spelled:
        raise ClassNameError("expected a class that is kept, got all of them to drop")
    foreign = tuple(dict.fromkeys(name for name in spelled.values() if own.find(name) is None))
    if target is None or foreign:
        names = ClassNames(())
        for name in spelled.values():
            if names.find(name) is None:
                names = ClassNames([*names, name])
    else:
        names = target
    labels = tuple(names.find(spelled[label]) if label in spelled else None for label in range(len(source)))
    return ClassMap(names, labels, foreign if target else ())


def _spelled(name: str, names: ClassNames) -> str:
    label = names.find(name)
    return name if label is None else names[label]


def relabelled(record: ImageRecord, classes: ClassMap) -> ImageRecord:
    """A record with its labels in the new classes, without the objects of those that are left out."""
    from dataclasses import replace

    table = np.array([-1 if label is None else label for label in classes.labels], dtype=np.int64)
    labels = table[record.labels]
    kept = record if (labels >= 0).all() else record.select(labels >= 0)
    return replace(kept, labels=labels[labels >= 0])


class Clipped(NamedTuple):
    """A record whose objects lie within its image.

    Attributes:
        record: With annotated quads.
        outside: How many objects had a corner outside, and some of them inside.
        gone: How many had nothing inside, and are left out.
    """

    record: ImageRecord
    outside: int
    gone: int


def corners_outside(record: ImageRecord) -> FlagsN:
    """Which objects (N,) have a corner outside of their image; none where its size is unknown."""
    if record.width is None or record.height is None:
        return np.zeros(len(record), dtype=bool)
    corners = record.corners
    return np.asarray(((corners < 0) | (corners > record.size)).any(axis=(1, 2)))


def clipped(record: ImageRecord) -> Clipped:
    """The record with what lies outside of the image cut off: of each object the least rectangle around what is inside.

    Where that rectangle is slanted and reaches out itself, its corners are moved to the border.

    Raises:
        FormatsError: If the image's size is unknown.
    """
    from dataclasses import replace

    size = np.array(record.size, dtype=np.float64)
    outside = corners_outside(record)
    if not outside.any():
        return Clipped(record, 0, 0)
    window = np.array([0.0, 0.0, *size])
    quads = record.corners.copy()
    gone = outside & (intersection_over_foreground(quads, window) <= 0)
    if record.masks is not None:
        gone |= outside & (record.masks.clipped(*window.tolist()).areas <= 0)
    quads[outside] = np.clip(rbox_to_quad(clip_to_rbox(quads[outside], window)), 0, size)
    boxes = np.where(outside[:, None], quad_to_rbox(quads), record.boxes)
    masks = None if record.masks is None else record.masks.clipped(*window.tolist())
    whole = replace(record, quads=quads, boxes=boxes, masks=masks)
    return Clipped(whole.select(~gone), int((outside & ~gone).sum()), int(gone.sum()))


@dataclass
class Losses:
    """What is not as it was, counted over a dataset.

    Attributes:
        images: How many images are not there.
        objects: How many objects are not there, on images that are.
        classes: How many objects have another class.
        moved: How many objects have a corner that is more than `SAME_CORNER` away.
        farthest: How far a corner is away at most, px.
        boxes: How many annotated quads are boxes now.
        turned: How many objects have their corners, in another order.
        difficult: How many objects are no longer difficult, or are now.
        scores: How many objects have no score any more, or another.
        masks: How many objects have no mask any more, or another one.
        metadata: How many images no longer have a piece of metadata, by its name.
    """

    images: int = 0
    objects: int = 0
    classes: int = 0
    moved: int = 0
    farthest: float = 0.0
    boxes: int = 0
    turned: int = 0
    difficult: int = 0
    scores: int = 0
    masks: int = 0
    metadata: Counter[str] = field(default_factory=Counter)

    def lines(self) -> list[str]:
        """Each loss with how often it happened; none where there is no loss."""
        told = {
            "images that are not there": self.images,
            "objects that are not there": self.objects,
            "objects of another class": self.classes,
            "annotated quads that became boxes": self.boxes,
            f"objects with moved corners (by {self.farthest:.3g} px at most)": self.moved,
            "objects with their corners in another order": self.turned,
            "objects that are difficult in only one of the two": self.difficult,
            "objects without their score": self.scores,
            "objects without their mask, or with another one": self.masks,
            **{f"images without their {quoted(name)}": count for name, count in sorted(self.metadata.items())},
        }
        return [f"{what}: {count}" for what, count in told.items() if count]

    def add(self, before: ImageRecord, after: ImageRecord) -> None:
        """Compares one image with what was read back."""
        for name, value in before.metadata.items():
            if str(after.metadata.get(name)) != str(value):
                self.metadata[name] += 1
        pairs = _paired(before, after)
        self.objects += len(before) - len(pairs)
        one, other = before.select(pairs[:, 0]), after.select(pairs[:, 1])
        first, second = _corners(one), _corners(other)
        apart = corner_distance(first, second)
        moved = apart > SAME_CORNER
        self.moved += int(moved.sum())
        self.farthest = max(self.farthest, float(apart.max(initial=0)))
        in_order = np.linalg.norm(first - second, axis=-1).max(axis=-1, initial=0) <= SAME_CORNER
        if one.quads is not None:
            self.boxes += len(one) * (other.quads is None)
            self.turned += int((~moved & ~in_order).sum()) * (other.quads is not None)
        self.classes += int((one.labels != other.labels).sum())
        self.difficult += int((one.difficult != other.difficult).sum())
        if one.scores is not None:
            same = other.scores is not None and np.isclose(one.scores, other.scores, atol=1e-4)
            self.scores += int(np.count_nonzero(~np.broadcast_to(same, len(one))))
        if one.masks is not None:
            self.masks += sum(not same for same in _same_masks(one, other))


def compare(
    source: Iterable[tuple[str, int]], before: Dataset, after: Iterable[ImageRecord], classes: ClassMap
) -> Losses:
    """What was lost between a dataset and what was read back of it.

    Args:
        source: The ids of the images that were written, and which of the dataset's images they are.
        before: The dataset.
        after: What was read back, in any order.
        classes: The classes of `after`, for those of `before`.
    """
    losses = Losses()
    left = dict(source)
    for record in after:
        index = left.pop(record.image_id, None)
        if index is not None:  # else it was there before
            losses.add(relabelled(before[index], classes), record)
    losses.images = len(left)
    return losses


def _same_masks(one: ImageRecord, other: ImageRecord) -> list[bool]:
    """Whether each mask is the same: polygons with the same corners, or else the same pixels."""
    if one.masks is None or other.masks is None:
        return [False] * len(one)

    def same(first: Mask, second: Mask) -> bool:
        if not isinstance(first, PolygonMask) or not isinstance(second, PolygonMask):
            return False
        pairs = [*zip(first.outlines, second.outlines, strict=False)]
        return len(first.outlines) == len(second.outlines) and all(
            a.shape == b.shape and np.allclose(a, b, rtol=0, atol=SAME_CORNER) for a, b in pairs
        )

    width, height = one.width, one.height
    return [
        same(first, second) or np.array_equal(first.to_runs(width, height).runs, second.to_runs(width, height).runs)
        for first, second in zip(one.masks, other.masks, strict=True)
    ]


def _corners(record: ImageRecord) -> QuadsN:
    return rbox_to_quad(record.boxes) if record.quads is None else record.quads


def _paired(before: ImageRecord, after: ImageRecord) -> np.ndarray:
    """Which object is which (K, 2): those at one place in the order, or the nearest where the order is another."""
    n = len(before)
    if n == len(after) and (before.labels == after.labels).all():
        return np.stack([np.arange(n)] * 2, axis=1)
    pairs = []
    free = np.ones(len(after), dtype=bool)
    left = np.ones(n, dtype=bool)
    for same_class in (True, False):
        for i in np.flatnonzero(left):
            its = np.flatnonzero(free & (after.labels == before.labels[i])) if same_class else np.flatnonzero(free)
            if len(its):
                nearest = its[np.linalg.norm(after.boxes[its, :2] - before.boxes[i, :2], axis=1).argmin()]
                free[nearest] = left[i] = False
                pairs.append((i, nearest))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)
