"""Every figure of `evaluate` against the protocols written down again, as plain loops over shapely's overlaps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rbox_formats import ImageRecord
from rbox_metrics import AtThreshold, evaluate

Iou = Callable[[np.ndarray, np.ndarray], float]
CLASSES = ("plane", "ship", "tank")


def scene(seed: int, images: int, score_levels: int | None, difficult: float) -> tuple[list, list]:
    """Truths, and detections that are jittered copies of some, of the wrong class at times, or of nothing.

    Boxes are drawn as real numbers, so that no two overlaps tie by chance: which of two equal ones goes first is left
    to other tests. `score_levels`: few make scores tie, None leaves them out.
    """
    rng = np.random.default_rng(seed)

    def boxes(count: int) -> np.ndarray:
        centres, sides = rng.uniform(0, 60, (count, 2)), rng.uniform(5, 25, (count, 2))
        return np.concatenate([centres, sides, rng.uniform(-1.5, 1.5, (count, 1))], axis=1)

    truths, predictions = [], []
    for image in range(images):
        n = rng.integers(0, 8)
        found, labels = boxes(n), rng.integers(0, len(CLASSES), n)
        truths.append(ImageRecord(f"image {image}", found, labels, difficult=rng.random(n) < difficult))
        picks = rng.integers(0, n, rng.integers(0, 10)) if n else np.zeros(0, int)
        copies = found[picks] + rng.normal(0, 1, (len(picks), 5)) * [1, 1, 1, 1, 0.1]
        wrong = rng.random(len(picks)) < 0.2
        stray = boxes(rng.integers(0, 4))
        detected = np.concatenate([copies, stray])
        given_labels = np.concatenate([np.where(wrong, 0, labels[picks]), rng.integers(0, 3, len(stray))]).astype(int)
        scores = None if score_levels is None else rng.integers(0, score_levels, len(detected)) / score_levels
        if rng.random() < 0.9:
            predictions.append(ImageRecord(f"image {image}", detected, given_labels, scores=scores))
    return truths, predictions


@dataclass
class Slow:
    """One class, its detections as (image, place, box, score), its truths as (image, place, box, difficult)."""

    detections: list
    truths: list
    iou: Iou
    lone: set  # images whose truths, of any class, are all difficult: MMRotate forgets them

    def __post_init__(self) -> None:
        pairs = [(d, t) for d in self.detections for t in self.truths if d[0] == t[0]]
        self.overlaps = {(d[:2], t[:2]): self.iou(d[2], t[2]) for d, t in pairs}
        self.positives = sum(not t[3] for t in self.truths)

    def claims(self, threshold: float, scored: bool) -> list[int]:
        """1 true positive, 0 false positive, -1 ignored: by falling score, then image, then place."""
        outcomes, claimed = [], set()
        for d in sorted(self.detections, key=lambda d: (-d[3], d[0], *d[2]) if scored else (d[0], d[1])):
            rivals = [t for t in self.truths if t[0] == d[0] and d[0] not in self.lone]
            best = max(rivals, key=lambda t: self.overlaps[d[:2], t[:2]], default=None)
            if best is None or self.overlaps[d[:2], best[:2]] < threshold:
                outcomes.append(0)
            elif best[3]:
                outcomes.append(-1)
            else:
                outcomes.append(int(best[:2] not in claimed))
                claimed.add(best[:2])
        return outcomes

    def once(self, threshold: float, scored: bool) -> tuple[int, int]:
        """True and false positives, matched one to one."""
        pairs = [(d, t) for d in self.detections for t in self.truths if d[0] == t[0]]
        pairs.sort(key=lambda p: (-p[0][3] if scored else 0, -self.overlaps[p[0][:2], p[1][:2]]))
        pairs = [p for p in pairs if self.overlaps[p[0][:2], p[1][:2]] >= threshold]
        used: set = set()
        for d, t in pairs:
            if not t[3] and ("d", d[:2]) not in used and ("t", t[:2]) not in used:
                used |= {("d", d[:2]), ("t", t[:2])}
        hits = {key for kind, key in used if kind == "d"}
        excused = {d[:2] for d, t in pairs if t[3]} - hits
        return len(hits), len(self.detections) - len(hits) - len(excused)

    def average_precision(self, outcomes: list[int], protocol: str) -> float:
        if not self.positives:
            return math.nan
        curve, hits, misses = [], 0, 0
        for outcome in outcomes:
            hits, misses = hits + (outcome == 1), misses + (outcome == 0)
            curve.append((hits / self.positives, hits / (hits + misses) if hits else 0.0))
        if protocol == "voc07":
            recalls = np.arange(0, 1 + 1e-3, 0.1)
            return sum(max((p for r, p in curve if r >= recall), default=0.0) for recall in recalls) / 11
        area, reached = 0.0, 0.0
        for k, (recall, _) in enumerate(curve):
            area += (recall - reached) * max(p for _, p in curve[k:])
            reached = recall
        return area

    def figures(self, threshold: float, protocol: str) -> dict[str, float]:
        hits, misses = self.once(threshold, scored=False)
        point = (hits / self.positives, hits / max(hits + misses, 1)) if self.positives else (math.nan, math.nan)
        reached = sum(point[0] >= recall for recall in np.arange(0, 1 + 1e-3, 0.1))
        hits, misses = self.once(threshold, scored=True)
        recall = hits / self.positives if self.positives else math.nan
        precision = hits / max(hits + misses, 1) if self.positives else math.nan
        return {
            "ap": self.average_precision(self.claims(threshold, scored=True), protocol),
            "ap_nc": self.average_precision(self.claims(threshold, scored=False), "voc07"),
            "ap_nc_tied": point[1] * reached / 11,
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / (precision + recall) if hits else precision * recall,
        }


def slow_classes(truths: list[ImageRecord], predictions: list[ImageRecord], iou: Iou) -> list[Slow]:
    place = {truth.image_id: k for k, truth in enumerate(truths)}
    predictions = sorted(predictions, key=lambda record: place[record.image_id])
    lone = {place[truth.image_id] for truth in truths if truth.difficult.all()}
    classes = []
    for label in range(len(CLASSES)):
        rows: list[list] = [[], []]
        for which, records in enumerate((predictions, truths)):
            for record in records:
                last = record.difficult if which else (np.ones(len(record)) if record.scores is None else record.scores)
                rows[which] += [
                    (place[record.image_id], k, record.boxes[k], last[k])
                    for k in np.flatnonzero(record.labels == label).tolist()
                ]
        classes.append(Slow(*rows, iou, lone))
    return classes


def known_mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def same(ours: float, theirs: float) -> bool:
    return ours == pytest.approx(theirs, abs=1e-9, nan_ok=True)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    images=st.integers(0, 5),
    score_levels=st.sampled_from([None, 1, 3, 1000]),
    difficult=st.sampled_from([0, 0.3, 1]),
    protocol=st.sampled_from(["voc07", "voc"]),
    threshold=st.sampled_from([0.05, 0.3, 0.5, 0.75]),
)
def test_figures_are_those_of_the_plain_loops(
    slow_iou: Iou, seed: int, images: int, score_levels: int | None, difficult: float, protocol: str, threshold: float
) -> None:
    truths, predictions = scene(seed, images, score_levels, difficult)
    order = np.random.default_rng(seed).permutation(len(predictions))
    report = evaluate(
        truths, [predictions[k] for k in order], CLASSES, protocol=protocol, iou_thresholds=(0.01, threshold)
    )
    at: AtThreshold = report.at[1]
    classes = slow_classes(truths, predictions, slow_iou)
    expected = [c.figures(threshold, protocol) for c in classes]
    for ours, theirs, c in zip(at.classes, expected, classes, strict=True):
        assert (ours.truths, ours.difficult) == (c.positives, len(c.truths) - c.positives)
        assert ours.detections == len(c.detections)
        for name, value in theirs.items():
            assert same(getattr(ours, name), value), (ours.name, name)
    means = {"map": "ap", "map_nc": "ap_nc", "map_nc_tied": "ap_nc_tied", "f1_macro": "f1"}
    for name, of in means.items():
        assert same(getattr(at, name), known_mean([figures[of] for figures in expected])), name
    counts = [c.once(threshold, scored=True) for c in classes]
    hits, misses = sum(hit for hit, _ in counts), sum(miss for _, miss in counts)
    positives = sum(c.positives for c in classes)
    assert same(at.precision_micro, hits / max(hits + misses, 1) if positives else math.nan)
    assert same(at.recall_micro, hits / positives if positives else math.nan)
    assert same(at.f1_micro, 2 * hits / (hits + misses + positives) if positives else math.nan)
