"""Datasets of quads that read some images ahead, since numpy needs as long for sixteen images' boxes as for one's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from rbox_formats._geometry import quad_to_rbox
from rbox_formats._records import ClassNames, Dataset, ImageRecord, Unmatched
from rbox_formats.errors import RboxError

AHEAD = 16
"""How many images are read before the first of them is returned."""


@dataclass(frozen=True, kw_only=True)
class QuadDataset(Dataset):
    """A dataset whose boxes are the minimum-area rectangles of its quads.

    An image that is asked for by its index is read alone. While iterating, `AHEAD` images are held; an error is raised
    after the images before it, as if they were read one by one.

    Attributes:
        parse: The function that reads the fields of one image, the arguments of `ImageRecord.from_quads`.
    """

    parse: Callable[[Any], dict[str, Any]]

    @classmethod
    def of(
        cls,
        class_names: ClassNames,
        sources: Sequence[Any],
        parse: Callable[[Any], dict[str, Any]],
        unmatched: Unmatched,
    ) -> QuadDataset:
        """Make a dataset from the function that parses its sources."""
        return cls(class_names, sources, partial(_load, parse=parse), unmatched, parse=parse)

    def __iter__(self) -> Iterator[ImageRecord]:
        for start in range(0, len(self.sources), AHEAD):
            images: list[dict[str, Any]] = []
            failure: RboxError | None = None
            for source in self.sources[start : start + AHEAD]:
                try:
                    images.append(self.parse(source))
                except RboxError as error:
                    failure = error
                    break
            ends = np.cumsum([0, *(len(image["quads"]) for image in images)]).tolist()
            boxes = quad_to_rbox(np.concatenate([np.zeros((0, 4, 2)), *(image["quads"] for image in images)]))
            for image, first, last in zip(images, ends, ends[1:], strict=False):
                # A copy: a part of the array would keep all of it in memory.
                yield ImageRecord(boxes=boxes[first:last].copy(), **image)
            if failure is not None:
                raise failure


def _load(source: Any, parse: Callable[[Any], dict[str, Any]]) -> ImageRecord:
    return ImageRecord.from_quads(**parse(source))
