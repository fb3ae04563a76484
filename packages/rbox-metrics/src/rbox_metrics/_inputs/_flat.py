"""All boxes of a dataset as flat arrays, on which all scoring works."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from rbox_formats import ImageRecord, quad_to_rbox, rbox_to_quad, tiling
from rbox_formats.errors import FormatsError, quoted
from rbox_formats.masks import Masks

from rbox_metrics._inputs._check import as_array, check_boxes, check_flags, check_indices, check_quads, check_scores
from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import BoxesN, FlagsN, FloatsN, IntsM, IntsN, QuadsN

# How many image ids an error names at most.
_NAMED = 5


@dataclass(frozen=True, eq=False)
class FlatBoxes:
    """The boxes of many images, one after the other, made and checked by `from_arrays`, `from_records` and others.

    >>> from rbox_metrics import from_arrays
    >>> flat = from_arrays([[50, 40, 20, 10, 0.3]], labels=[1], image_index=[0], scores=[0.9])
    >>> len(flat), flat.labels.tolist(), flat.scores.tolist(), flat.corners.shape
    (1, [1], [0.9], (1, 4, 2))

    Attributes:
        boxes: (N, 5) float64 as (cx, cy, w, h, angle), in pixels of their image and radians.
        labels: (N,) int64, the number of each box's class.
        image_index: (N,) int64, the number of each box's image, from 0; the same in ground truth and predictions.
        scores: (N,) float64, or None.
        difficult: (N,) bool; ignored in predictions.
        image_ids: The names of the images, by number, or None if they have none.
        quads: (N, 4, 2) float64, the corners as annotated, or None if only boxes were given.
        image_numbers: (M,) the images' numbers as they were given, if these had large gaps and were replaced.
        masks: The masks of N objects, or None if there are none; an object without one has its corners as mask.
        image_sizes: For each image its (width, height) in pixels, each None if it is unknown; None if all are.
    """

    boxes: BoxesN
    labels: IntsN
    image_index: IntsN
    scores: FloatsN | None
    difficult: FlagsN
    image_ids: tuple[str, ...] | None = None
    quads: QuadsN | None = None
    image_numbers: IntsM | None = None
    masks: Masks | None = None
    image_sizes: tuple[tuple[int | None, int | None], ...] | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def corners(self) -> QuadsN:
        """(N, 4, 2): the quads, or the corners of the boxes where there are none."""
        return rbox_to_quad(self.boxes) if self.quads is None else self.quads

    def numbers(self, which: IntsN) -> list[FloatsN]:
        """Return the columns by which some of the boxes can be sorted: five numbers, then those of the quads."""
        columns = list(self.boxes[which].T)
        return columns if self.quads is None else [*columns, *self.quads[which].reshape(-1, 8).T]

    def name_of(self, index: int) -> str:
        """Return how an error names a box."""
        return f"boxes[{index}]" if self.image_ids is None else _box_name(self.image_ids, self.image_index, index)


def from_arrays(
    boxes: ArrayLike,
    labels: ArrayLike,
    image_index: ArrayLike,
    scores: ArrayLike | None = None,
    difficult: ArrayLike | None = None,
) -> FlatBoxes:
    """Make flat boxes from arrays, and check them.

    >>> flat = from_arrays([[50, 40, 20, 10, 0.3], [9, 9, 4, 4, 0]], labels=[1, 0], image_index=[0, 2])
    >>> len(flat), flat.image_index.tolist(), flat.scores
    (2, [0, 2], None)

    Args:
        boxes: (N, 5) as (cx, cy, w, h, angle), in pixels and radians, or quads (N, 4, 2), whose boxes are their
            minimum-area rectangles.
        labels: (N,) whole numbers, the classes of the boxes.
        image_index: (N,) whole numbers from 0, the images of the boxes, in any order.
        scores: (N,) finite numbers, or None.
        difficult: (N,) bool. Default: no object is difficult.

    Raises:
        MetricsError: If a value is not a number, a side or an image index is negative, a score is infinite, or the
            lengths differ.
    """
    given = as_array(boxes, np.float64, "boxes")
    quads = check_quads(given, "boxes") if given.ndim == 3 else None
    checked = check_boxes(given if quads is None else quad_to_rbox(quads), "boxes")
    n = len(checked)
    index = check_indices(image_index, n, "image_index")
    if n and index.min() < 0:
        raise MetricsError(f"expected image indices from 0, got {index.min()} at image_index[{index.argmin()}]")
    return FlatBoxes(
        boxes=checked,
        labels=check_indices(labels, n, "labels"),
        image_index=index,
        scores=None if scores is None else check_scores(scores, n),
        difficult=np.zeros(n, dtype=bool) if difficult is None else check_flags(difficult, n, "difficult"),
        quads=quads,
    )


def from_records(records: Iterable[ImageRecord], image_ids: Sequence[str] | None = None) -> FlatBoxes:
    """Make flat boxes from records of images; the images are in the order of `image_ids`.

    >>> import numpy as np
    >>> from rbox_formats import ImageRecord
    >>> flat = from_records([ImageRecord("P0706", np.array([[50, 40, 20, 10, 0.3]]), labels=np.array([0]))])
    >>> flat.image_ids, flat.boxes.tolist()
    (('P0706',), [[50.0, 40.0, 20.0, 10.0, 0.3]])

    Args:
        records: At most one per image; they are iterated once.
        image_ids: The ids of all images; an image without a record has no boxes. Default: those of the records, in
            their order.

    Raises:
        MetricsError: If an image comes twice or is not in `image_ids`, only some of the images have scores, or a box
            is not a number or has a negative side.
    """
    found = _records(records)
    names = [record.image_id for record in found]
    ids = tuple(names if image_ids is None else image_ids)
    _require_once(names, "records")
    _require_once(ids, "image_ids")
    number = {image_id: index for index, image_id in enumerate(ids)}
    unknown = [name for name in names if name not in number]
    if unknown:
        remedy = "Predictions and ground truth must be of the same split, with the same image names."
        if any(_image_of(name) in number for name in unknown):
            remedy = (
                "These are windows of the ground truth's images: join them first (rbox-metrics merge --predictions ... "
                "--out merged.jsonl), and score the joined file."
            )
        raise MetricsError(f"expected images that are in the ground truth, got {_some(unknown)}", remedy=remedy)
    sizes = {record.image_id: (record.width, record.height) for record in found}
    found = sorted((record for record in found if len(record)), key=lambda record: number[record.image_id])
    without = [record.image_id for record in found if record.scores is None]
    if without and len(without) != len(found):
        raise MetricsError(f"some images have scores and others do not: there are none on {_some(without)}")
    image_index = np.repeat(
        np.array([number[record.image_id] for record in found], dtype=np.int64), [len(record) for record in found]
    )
    n = len(image_index)
    scores = np.concatenate([np.zeros(0), *(record.scores for record in found)]) if found and not without else None

    def where(index: int) -> str:
        return _box_name(ids, image_index, index)

    quads = None
    if any(record.quads is not None for record in found):
        quads = check_quads(np.concatenate([record.corners for record in found]), "quads", where)
    return FlatBoxes(
        boxes=check_boxes(np.concatenate([np.zeros((0, 5)), *(record.boxes for record in found)]), "boxes", where),
        labels=check_indices(np.concatenate([np.zeros(0, np.int64), *(r.labels for r in found)]), n, "labels"),
        image_index=image_index,
        scores=None if scores is None else check_scores(scores, n, where=where),
        difficult=check_flags(np.concatenate([np.zeros(0, bool), *(r.difficult for r in found)]), n, "difficult"),
        image_ids=ids,
        quads=quads,
        masks=Masks.joined(map(masks_of, found)) if any(record.masks is not None for record in found) else None,
        image_sizes=tuple(sizes.get(image_id, (None, None)) for image_id in ids),
    )


def masks_of(boxes: ImageRecord | FlatBoxes) -> Masks:
    """Return a mask for each object: its own, or its corners as a polygon."""
    return Masks.of_quads(boxes.corners) if boxes.masks is None else boxes.masks


def _box_name(image_ids: Sequence[str], image_index: IntsN, index: int) -> str:
    """Return how an error names a box: its number on its image, and the image. `image_index` must not fall."""
    image = image_index[index]
    return f"box {index - int(np.searchsorted(image_index, image))} of image {quoted(image_ids[image])}"


def _records(records: Iterable[ImageRecord]) -> list[ImageRecord]:
    try:
        found = list(records)
    except TypeError as error:
        raise MetricsError(f"expected records of images, got {type(records).__name__}") from error
    if other := next((record for record in found if not isinstance(record, ImageRecord)), None):
        raise MetricsError(f"expected records of images, got {type(other).__name__} among them")
    return found


def _image_of(name: str) -> str | None:
    """Return the id of the image that a window's name contains; None if it is not the name of a window."""
    try:
        return tiling.locate(name).image_id
    except FormatsError:
        return None


def _require_once(names: Sequence[str], what: str) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise MetricsError(f"expected each image once in the {what}, got {_some(twice)} more than once")


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(repr(name) for name in names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
