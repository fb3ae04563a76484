"""Ground truth and detections side by side: the overlaps and orders from which every metric is computed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from rbox_formats import ClassNames, ImageRecord
from rbox_formats.masks import Masks

from rbox_metrics._inputs import FlatBoxes, from_records, masks_of
from rbox_metrics._matching._matching import falling_within, rank_pairs, sort_within, tied_runs
from rbox_metrics._overlaps import Pairs, overlapping_masks, overlapping_pairs, stable_order
from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import Bounds, FloatsN, FloatsT, Geometry, IntsC, IntsM, IntsN


@dataclass(frozen=True, eq=False)
class Paired:
    """A dataset's truths and detections, and which of them overlap.

    Only `by_input` and the indices of the detections depend on the order in which images, files or boxes were given.

    Attributes:
        truths: The truths, sorted by image id, then by the numbers of their boxes and quads.
        detections: The detections, in the order in which they were given.
        names: The classes, in the order of the labels.
        geometry: Whether the overlaps are those of boxes, of quads or of masks.
        scores: (D,) the detections' scores, 1 where they have none.
        pairs: Detections and truths on the same image of the same class, by detection, then falling IoU.
        starts: (D + 1,) where each detection's pairs begin.
        others: Detections and truths on the same image of different classes, by detection, then falling IoU; empty
            unless `of` was called with `across`.
        order: (D,) detections by class, then falling score, then image id, then their boxes' numbers.
        bounds: (C + 1,) in `order` and `by_input` class c has the places bounds[c] to bounds[c + 1].
    """

    truths: FlatBoxes
    detections: FlatBoxes
    names: ClassNames
    geometry: Geometry
    scores: FloatsN
    pairs: Pairs
    starts: Bounds
    others: Pairs
    order: IntsN
    bounds: Bounds

    @classmethod
    def of(
        cls, truths: FlatBoxes, detections: FlatBoxes, names: ClassNames, geometry: Geometry, least: float, across: bool
    ) -> Paired:
        """Find overlaps of `least` (above 0) or more in one search, between different classes too if `across`."""
        classes = len(names)
        image_rank = _image_ranks(truths)
        truths = _select(truths, _by_content(truths, image_rank))
        groups = [
            flat.image_index if across else flat.image_index * classes + flat.labels for flat in (detections, truths)
        ]
        if geometry in ("mask", "boundary"):
            truths, detections, sizes = _with_runs(truths, detections)
            found = overlapping_masks(
                masks_of(detections),
                groups[0],
                masks_of(truths),
                groups[1],
                least,
                crowds=truths.difficult,
                sizes=sizes,
                boundary=geometry == "boundary",
            )
        else:
            shapes = [flat.boxes if geometry == "rbox" else flat.corners for flat in (detections, truths)]
            found = overlapping_pairs(shapes[0], groups[0], shapes[1], groups[1], least)
        same = detections.labels[found.detection] == truths.labels[found.truth]
        pairs, others = (found.select(same), found.select(~same)) if across else (found, found.select(np.arange(0)))
        starts = _starts(pairs, len(detections))
        scores = np.ones(len(detections)) if detections.scores is None else detections.scores
        per_class = np.bincount(detections.labels, minlength=classes)
        return cls(
            truths=truths,
            detections=detections,
            names=names,
            geometry=geometry,
            scores=scores,
            pairs=sort_within(starts, pairs),
            starts=starts,
            others=sort_within(_starts(others, len(detections)), others),
            order=_by_score(detections, scores, image_rank),
            bounds=np.concatenate([np.zeros(1, np.int64), np.cumsum(per_class)]),
        )

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.names)

    @cached_property
    def truth_counts(self) -> IntsC:
        """(C,) truths of each class to be found, without the difficult ones."""
        return np.bincount(self.truths.labels[~self.truths.difficult], minlength=self.classes)

    @cached_property
    def difficult_counts(self) -> IntsC:
        """(C,) the difficult ones."""
        return np.bincount(self.truths.labels[self.truths.difficult], minlength=self.classes)

    @cached_property
    def place(self) -> IntsN:
        """(D,) where in `order` each detection stands."""
        place = np.empty(len(self.order), dtype=np.int64)
        place[self.order] = np.arange(len(self.order))
        return place

    @cached_property
    def by_input(self) -> IntsN:
        """(D,) detections by class, then by image in the order of the truth, then in the order of the input."""
        images = self.detections.image_index
        order = np.argsort(images, kind="stable") if (np.diff(images) < 0).any() else np.arange(len(images))
        return order[stable_order(self.detections.labels[order], self.classes)]

    @cached_property
    def rank(self) -> IntsN:
        """(D,) how many detections of the same image and class come before each in `order`."""
        group = (self.detections.image_index * self.classes + self.detections.labels)[self.order]
        grouped = np.argsort(group, kind="stable")
        _, first, count = np.unique(group[grouped], return_index=True, return_counts=True)
        rank = np.empty(len(group), dtype=np.int64)
        rank[self.order[grouped]] = np.arange(len(group)) - np.repeat(first, count)
        return rank

    @cached_property
    def ranked(self) -> Pairs:
        """Pairs of the same class by image, then falling score, then falling IoU."""
        return self._ranked(self.scores)

    @cached_property
    def ranked_by_iou(self) -> Pairs:
        """Pairs of the same class by image, then falling IoU."""
        return self._ranked(np.ones(len(self.scores)))

    def _ranked(self, scores: FloatsN) -> Pairs:
        return rank_pairs(self.pairs, scores, self.detections, self.truths)

    @cached_property
    def areas(self) -> tuple[FloatsN, FloatsT]:
        """(D,) and (T,) the areas of detections and truths, in square pixels."""
        detections, truths = (_areas(flat, self.geometry) for flat in (self.detections, self.truths))
        return detections, truths


def pair(
    truth: Iterable[ImageRecord] | FlatBoxes,
    predictions: Iterable[ImageRecord] | FlatBoxes,
    class_names: Iterable[str],
    *,
    geometry: Geometry = "rbox",
    least: float = 0.1,
    across: bool = True,
) -> Paired:
    """Check ground truth and detections, and find which of them overlap.

    Args:
        truth: The ground truth, as records (such as an `rbox_formats.Dataset`) or as flat arrays.
        predictions: The detections, as records or as flat arrays. Records may come in any order, and images may be
            missing.
        class_names: The classes, in the order of the labels.
        geometry: What is compared: boxes ("rbox"), quads as annotated ("quad"), masks ("mask"), or masks and their
            boundaries ("boundary").
        least: The least overlap that is kept, above 0.
        across: Whether to find overlaps between different classes too.

    Raises:
        MetricsError: If the predictions have an image that is not in the ground truth, an image comes twice, a label is
            out of range, a box or score is not a number, or flat arrays have different image ids.
    """
    names = ClassNames(class_names)
    truths, detections = _flat(truth, predictions)
    _check_labels(truths, len(names), "truth")
    _check_labels(detections, len(names), "predictions")
    return Paired.of(truths, detections, names, geometry, least, across)


def _flat(
    truth: Iterable[ImageRecord] | FlatBoxes, predictions: Iterable[ImageRecord] | FlatBoxes
) -> tuple[FlatBoxes, FlatBoxes]:
    """Return both as flat arrays that number the images in the same way."""
    truths = truth if isinstance(truth, FlatBoxes) else from_records(truth)
    if isinstance(predictions, FlatBoxes):
        detections = predictions
    elif truths.image_ids is None:
        raise MetricsError(
            "expected predictions as flat arrays, like the ground truth, got records",
            remedy="Turn both into flat arrays by from_records(records, image_ids).",
        )
    else:
        detections = from_records(predictions, truths.image_ids)
    if None not in (truths.image_ids, detections.image_ids) and truths.image_ids != detections.image_ids:
        raise MetricsError(
            "ground truth and predictions have different images, or the same in another order",
            remedy="Make the predictions' flat arrays by from_records(predictions, truth.image_ids).",
        )
    if truths.image_ids is None:
        return _renumbered(truths, detections)
    count = len(truths.image_ids)
    if len(detections) and detections.image_index.max() >= count:
        raise MetricsError(f"expected image indices below {count}, got {detections.image_index.max()}")
    return truths, detections


def _renumbered(truths: FlatBoxes, detections: FlatBoxes) -> tuple[FlatBoxes, FlatBoxes]:
    """Renumber images whose numbers have large gaps, since arrays with an entry per image would be too long."""
    most = max(int(flat.image_index.max(initial=-1)) for flat in (truths, detections))
    if most <= 4 * (len(truths) + len(detections)) + 1000:
        return truths, detections
    numbers, index = np.unique(np.concatenate([truths.image_index, detections.image_index]), return_inverse=True)
    parts = np.split(index, [len(truths)])
    renumbered = (
        replace(flat, image_index=part, image_numbers=numbers)
        for flat, part in zip((truths, detections), parts, strict=True)
    )
    return tuple(renumbered)  # type: ignore[return-value]  # two of them


def _check_labels(boxes: FlatBoxes, classes: int, what: str) -> None:
    bad = (boxes.labels < 0) | (boxes.labels >= classes)
    if bad.any():
        first = int(bad.argmax())
        raise MetricsError(
            f"expected labels of {classes} classes, from 0, in the {what}, got {boxes.labels[first]} "
            f"at {boxes.name_of(first)}"
        )


def _image_ranks(truths: FlatBoxes) -> IntsM | None:
    """Return the rank of each image's id among all ids; None where there are no ids, and the numbers give the order."""
    if truths.image_ids is None:
        return None
    rank = np.empty(len(truths.image_ids), dtype=np.int64)
    rank[np.argsort(np.array(truths.image_ids, dtype=np.str_), kind="stable")] = np.arange(len(rank))
    return rank


def _with_runs(truths: FlatBoxes, detections: FlatBoxes) -> tuple[FlatBoxes, FlatBoxes, np.ndarray]:
    """Return both with masks as runs inside their images, and the sizes (D, 2) of the detections' images, 0 unknown.

    A size is that of the ground truth's image, or that of the predictions' where the ground truth has none.
    """
    count = max((int(flat.image_index.max(initial=-1)) for flat in (truths, detections)), default=-1) + 1
    unknown = ((None, None),) * count
    known = zip(truths.image_sizes or unknown, detections.image_sizes or unknown, strict=False)
    sizes = [of_truth if None not in of_truth else of_detections for of_truth, of_detections in known]
    inside = (
        replace(
            flat,
            masks=Masks(
                mask.to_runs(*sizes[image])
                for mask, image in zip(masks_of(flat), flat.image_index.tolist(), strict=True)
            ),
        )
        for flat in (truths, detections)
    )
    in_pixels = np.array([(width or 0, height or 0) for width, height in sizes], dtype=np.int64).reshape(-1, 2)
    truths, detections = inside
    return truths, detections, in_pixels[detections.image_index]


def _images(flat: FlatBoxes, image_rank: IntsM | None) -> IntsN:
    return flat.image_index if image_rank is None else image_rank[flat.image_index]


def _by_content(flat: FlatBoxes, image_rank: IntsM | None) -> IntsN:
    """Return the order by image, then by the numbers of box and quad, then by label and flag."""
    images = _images(flat, image_rank)
    order, starts = _grouped(images)
    x, y = flat.boxes[order, 0], flat.boxes[order, 1]
    order = order[falling_within(starts, -x, -y)]
    boxes, images = flat.boxes[order], images[order]
    tied = (np.diff(images) == 0) & (np.diff(boxes[:, :2], axis=0) == 0).all(axis=1)
    members, run = tied_runs(tied, len(order))
    chosen = order[members]
    keys = (flat.difficult[chosen], flat.labels[chosen], *flat.numbers(chosen)[:1:-1], run)
    order[members] = chosen[np.lexsort(keys)]
    return order


def _by_score(detections: FlatBoxes, scores: FloatsN, image_rank: IntsM | None) -> IntsN:
    """Return the order by class, then by falling score, then by image and box.

    Scores of few decimals tie by the thousand. Sorting by image comes first, in linear time, and the others keep it, so
    that only ties within an image are sorted by the numbers of their boxes.
    """
    images = _images(detections, image_rank)
    by_image = np.arange(len(images))
    if (np.diff(images) < 0).any():
        by_image = stable_order(images, int(images.max()))
    by_class, starts = _grouped(detections.labels[by_image])
    order = by_image[by_class]
    sorted_scores = scores[order]
    order = order[falling_within(starts, sorted_scores, np.zeros(len(order)))]
    columns = (detections.labels, scores, images)
    tied = np.logical_and.reduce([np.diff(column[order]) == 0 for column in columns])
    members, run = tied_runs(tied, len(order))
    chosen = order[members]
    order[members] = chosen[np.lexsort((*detections.numbers(chosen)[::-1], run))]
    return order


def _grouped(groups: IntsN) -> tuple[IntsN, Bounds]:
    """Return the order of rising groups, which are numbered from 0, and where each begins in it."""
    starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(groups))])
    return stable_order(groups, len(starts) - 2), starts


def _starts(pairs: Pairs, count: int) -> Bounds:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(pairs.detection, minlength=count))])


def _select(flat: FlatBoxes, which: IntsN) -> FlatBoxes:
    columns: dict[str, Any] = {
        name: None if (column := getattr(flat, name)) is None else column[which]
        for name in ("boxes", "labels", "image_index", "scores", "difficult", "quads", "masks")
    }
    return replace(flat, **columns)


def _areas(flat: FlatBoxes, geometry: Geometry) -> FloatsN:
    if geometry == "rbox":
        return flat.boxes[:, 2] * flat.boxes[:, 3]
    if geometry in ("mask", "boundary"):
        return masks_of(flat).areas
    from rbox_formats import quad_area

    return quad_area(flat.corners)
