"""Metrics of a dataset in which each image has a weight: how many times it counts.

No detection is matched with a truth on another image. So drawing images with replacement is the same as giving each
image a weight. Everything is matched and sorted once, and a metric of drawn images is a sum with a weight for each
image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import no_type_check

import numpy as np

from rbox_metrics._jit import in_parts, jit
from rbox_metrics._matching import ANY_SCORE, FALSE_POSITIVE, TRUE_POSITIVE, Paired, Protocol, match_once
from rbox_metrics._scores import (
    eleven_points_of_one,
    least_overlaps,
    matches,
    precision_recall_f1,
    protocol_outcomes,
    ratio,
)
from rbox_metrics.typing import Bounds, FloatsR, FloatsS, IntsG, IntsN, OutcomesSN

# The metrics of `evaluate` that can be computed for weighted images.
INTERVAL_FIGURES = ("map", "map_nc_tied", "f1_micro", "f1_macro")

# How many weights of images, and metrics, are held in memory at a time.
_BLOCK = 4_000_000


# How many resamples are computed side by side: each detection is read once for all of them.
_LANES = 64


@jit
@no_type_check
def _weighted_averages(
    begin, end, outcomes, starts, run_image, bounds, weights, hits, counted, truths, recalls, result
):
    """Compute what `_averages._averages` computes, with the detections of each image counted `weights` times.

    Args:
        begin: The first job; there is one for each class, setting and `_LANES` resamples.
        end: The job after the last.
        outcomes: (S, D) by class, then falling score, then image.
        starts: (G + 1,) where each run of detections with one class, score and image begins.
        run_image: (G,) the image of each run.
        bounds: (C + 1,) class c has the runs bounds[c] to bounds[c + 1].
        weights: (I, R) how many times each image counts in each resample.
        hits: (R, S, C) the weighted true positives.
        counted: (R, S, C) the weighted true and false positives.
        truths: (R, C) the weighted truths to find.
        recalls: As in `average_precisions`.
        result: (R, S, C) NaN, replaced by the average precisions.
    """
    resamples, settings, classes = hits.shape
    hit, count, level = np.empty(_LANES, np.int64), np.empty(_LANES, np.int64), np.empty(_LANES, np.int64)
    total, best = np.empty(_LANES), np.empty(_LANES)
    for job in range(begin, end):
        first, s, c = job // (settings * classes) * _LANES, job // classes % settings, job % classes
        lanes = min(_LANES, resamples - first)
        for r in range(lanes):
            hit[r], count[r] = hits[first + r, s, c], counted[first + r, s, c]
            total[r], best[r], level[r] = 0.0, 0.0, len(recalls) - 1
        for run in range(bounds[c + 1] - 1, bounds[c] - 1, -1):
            start, stop = starts[run], starts[run + 1]
            image = run_image[run]
            if stop - start == 1 and outcomes[s, start] == FALSE_POSITIVE:
                for r in range(lanes):
                    count[r] -= weights[image, first + r]
                continue
            for r in range(lanes):
                # The copies of an image come one after the other, as images of their own would.
                for _ in range(weights[image, first + r]):
                    for place in range(stop - 1, start - 1, -1):
                        if outcomes[s, place] == TRUE_POSITIVE:
                            recall = hit[r] / truths[first + r, c]
                            while level[r] >= 0 and recalls[level[r]] > recall:
                                total[r] += best[r]
                                level[r] -= 1
                            # The precision is highest right after a true positive.
                            best[r] = max(best[r], hit[r] / count[r])
                            if len(recalls) == 0:
                                total[r] += best[r]
                            hit[r] -= 1
                        count[r] -= outcomes[s, place] >= FALSE_POSITIVE
        for r in range(lanes):
            whole = truths[first + r, c]
            if whole > 0:
                # The recalls from 0 to that of the first true positive.
                total[r] += (level[r] + 1) * best[r]
                result[first + r, s, c] = total[r] / (len(recalls) or whole)


@dataclass(frozen=True, eq=False)
class Tables:
    """What metrics of weighted images need, of one run or of K runs, each as if it had images of its own.

    A run is one detector's detections. Image i of run k has the number k I + i; images are in the order of their ids.

    Attributes:
        recalls: The recalls at which precisions are averaged.
        outcomes: (S, D) by the protocol: by class, then falling score, then image.
        starts: (G + 1,) where each run of detections with one class, score and image begins.
        run_image: (G,) the image of each run.
        bounds: (C + 1,) class c has the runs of `starts` from bounds[c] to bounds[c + 1].
        truths: (I, C) truths to find on each image.
        claimed: (S, K I, C) true positives by the protocol.
        counted: (S, K I, C) true and false positives by the protocol.
        once: (2, S, K I, C) true and false positives, matched one to one by score.
        tied: (2, S, K I, C) true and false positives, matched one to one by IoU.
    """

    recalls: FloatsR
    outcomes: OutcomesSN
    starts: Bounds
    run_image: IntsG
    bounds: Bounds
    truths: np.ndarray
    claimed: np.ndarray
    counted: np.ndarray
    once: np.ndarray
    tied: np.ndarray

    @classmethod
    def of(cls, runs: Sequence[Paired], protocol: Protocol, iou_thresholds: Sequence[float], images: int) -> Tables:
        first, classes = runs[0], runs[0].classes
        thresholds = least_overlaps(iou_thresholds, protocol)
        rank = _ranks(first.truths.image_ids, images)
        image = np.concatenate([k * images + rank[run.detections.image_index[run.order]] for k, run in enumerate(runs)])
        label = np.concatenate([run.detections.labels[run.order] for run in runs])
        score = np.concatenate([run.scores[run.order] for run in runs])

        def joined(outcomes: Callable[[Paired], OutcomesSN]) -> OutcomesSN:
            return np.concatenate([outcomes(run) for run in runs], axis=1)

        def per_image(outcomes: OutcomesSN, kind: int) -> np.ndarray:
            cells, size = image * classes + label, len(runs) * images * classes
            rows = [np.bincount(cells[row == kind], minlength=size) for row in outcomes]
            return np.stack(rows).reshape(len(rows), len(runs) * images, classes)

        def matched(outcomes: OutcomesSN) -> np.ndarray:
            return np.stack([per_image(outcomes, kind) for kind in (TRUE_POSITIVE, FALSE_POSITIVE)])

        claimed = joined(lambda run: protocol_outcomes(run, protocol, thresholds))
        hits, misses = matched(claimed)
        tables = {
            "truths": _per_image_truths(first, rank, images),
            "claimed": hits,
            "counted": hits + misses,
            "once": matched(joined(lambda run: matches(run, thresholds))),
            "tied": matched(joined(lambda run: _matches_by_iou(run, thresholds))),
        }
        if len(runs) > 1:
            merged = np.lexsort((image, image % max(images, 1), -score, label))
            image, label, score, claimed = image[merged], label[merged], score[merged], claimed[:, merged]
        new = (np.diff(label, prepend=-1) != 0) | (np.diff(image, prepend=-1) != 0)
        new[1:] |= np.diff(score) != 0
        starts = np.flatnonzero(new)
        return cls(
            recalls=protocol.recalls,
            outcomes=np.ascontiguousarray(claimed),
            starts=np.append(starts, len(label)),
            run_image=image[starts],
            bounds=np.searchsorted(label[starts], np.arange(classes + 1)),
            **tables,
        )


@dataclass(frozen=True, eq=False)
class Figures:
    """For R sets of weights, each of `INTERVAL_FIGURES` as (R,), and average precisions of the classes as (R, C)."""

    figures: dict[str, np.ndarray]
    classes: np.ndarray

    def of(self, name: str) -> FloatsR:
        """Return the values (R,) of one of `INTERVAL_FIGURES`."""
        return self.figures[name]

    def of_class(self, label: int) -> FloatsR:
        """Return the average precisions (R,) of a class."""
        return self.classes[:, label]


def figures_of(tables: Tables, blocks: Iterable[np.ndarray]) -> Figures:
    """Return the metrics of each row of the blocks (R, K I), which say how often each image of each run counts."""
    parts = [_of_block(tables, weights) for weights in blocks]
    return Figures(
        {name: np.concatenate([part.of(name) for part in parts]) for name in INTERVAL_FIGURES},
        np.concatenate([part.classes for part in parts]),
    )


def _of_block(tables: Tables, weights: np.ndarray) -> Figures:
    images = len(tables.truths)
    # An image counts as often as the runs' outputs on it do.
    truths = _weighed(
        weights.reshape(len(weights), tables.claimed.shape[1] // max(images, 1), images).sum(axis=1),
        tables.truths[None],
    )[:, 0]
    hits, counted = _weighed(weights, tables.claimed), _weighed(weights, tables.counted)
    averages = np.full(hits.shape, np.nan)
    in_parts(
        _weighted_averages,
        -(-len(weights) // _LANES) * hits.shape[1] * hits.shape[2],
        len(weights) * tables.outcomes.size,
        tables.outcomes,
        tables.starts,
        tables.run_image,
        tables.bounds,
        np.ascontiguousarray(weights.T, dtype=np.int32),
        hits,
        counted,
        truths,
        tables.recalls,
        averages,
    )
    wanted = truths[:, None]
    hits, misses = (_weighed(weights, table) for table in tables.once)
    _, _, f1 = precision_recall_f1(hits, misses, wanted)
    _, _, micro = precision_recall_f1(hits.sum(axis=2), misses.sum(axis=2), wanted.sum(axis=2))
    hits, misses = (_weighed(weights, table) for table in tables.tied)
    tied = eleven_points_of_one(ratio(hits, hits + misses), ratio(hits, wanted))
    known = wanted > 0
    return Figures(
        {
            "map": _means(averages, known),
            "map_nc_tied": _means(tied, known),
            "f1_micro": np.where(truths.any(axis=1), micro.mean(axis=1), np.nan),
            "f1_macro": _means(f1, known),
        },
        averages.mean(axis=1),
    )


def _weighed(weights: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Multiply (R, I) weights and (S, I, C) counts to (R, S, C) sums, as floats: fast, and exact for such counts."""
    sums = weights.astype(np.float64) @ table.astype(np.float64)
    return np.ascontiguousarray(sums.transpose(1, 0, 2)).astype(np.int64)


def _means(values: np.ndarray, known: np.ndarray) -> FloatsR:
    """Return (R,) of (R, S, C): the mean over the classes with ground truth, then over settings; NaN without any."""
    count = known.sum(axis=2)
    means = np.where(known, values, 0).sum(axis=2) / np.maximum(count, 1)
    return np.where(count > 0, means, np.nan).mean(axis=1)


def _ranks(image_ids: tuple[str, ...] | None, images: int) -> IntsN:
    """Return (I,) the place of each image in the order of the ids, or of their numbers where there are no ids."""
    rank = np.arange(images)
    if image_ids is not None:
        rank[np.argsort(np.array(image_ids, dtype=np.str_), kind="stable")] = np.arange(images)
    return rank


def _per_image_truths(paired: Paired, rank: IntsN, images: int) -> np.ndarray:
    wanted = ~paired.truths.difficult
    cells = rank[paired.truths.image_index[wanted]] * paired.classes + paired.truths.labels[wanted]
    return np.bincount(cells, minlength=images * paired.classes).reshape(images, paired.classes)


def _matches_by_iou(paired: Paired, thresholds: FloatsS) -> OutcomesSN:
    """Match as `matches` does, without regard to scores: what `map_nc_tied` counts."""
    everything = np.full(len(thresholds), ANY_SCORE)
    return match_once(
        paired.ranked_by_iou, paired.place, paired.truths.difficult, paired.scores, thresholds, everything
    )


def image_count(runs: Sequence[Paired]) -> int:
    image_ids = runs[0].truths.image_ids
    if image_ids is not None:
        return len(image_ids)
    return 1 + max(int(flat.image_index.max(initial=-1)) for run in runs for flat in (run.truths, run.detections))


def _blocks(tables: Tables, resamples: int) -> Iterator[int]:
    """Yield the sizes of blocks of resamples that fit in memory."""
    settings, width, classes = tables.claimed.shape
    size = max(1, _BLOCK // max(width, 16 * settings * classes, 1))
    for start in range(0, resamples, size):
        yield min(size, resamples - start)


def as_it_is(tables: Tables) -> list[np.ndarray]:
    """Return one block (1, I) of weights: every image once, of one run."""
    return [np.ones((1, len(tables.truths)), dtype=np.int64)]


def draws(tables: Tables, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield blocks (R, I) that say how often each image was drawn."""
    rng, images = np.random.default_rng(seed), len(tables.truths)
    for size in _blocks(tables, resamples):
        block = np.zeros((size, images), dtype=np.int64)
        for row in block if images else ():
            row += np.bincount(rng.integers(0, images, images), minlength=images)
        yield block


def exchanges(tables: Tables, resamples: int, seed: int, second: bool) -> Iterator[np.ndarray]:
    """Yield blocks (R, 2 I): which outputs of the first and second run count as the first's, or as the `second`'s."""
    rng, images = np.random.default_rng(seed), len(tables.truths)
    for size in _blocks(tables, resamples):
        changed = rng.integers(0, 2, (size, images)) == 1
        yield np.concatenate([changed == second, changed != second], axis=1).astype(np.int64)
