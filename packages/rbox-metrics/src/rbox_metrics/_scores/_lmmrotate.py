"""LMMRotate's F1, computed as in its code, to reproduce its published numbers and to compare with them.

Source: lmmrotate/modules/f1_metric.py, VisionXLab/mllm-mmrotate at 9475a93. What it does, with its peculiarities:

- It counts in a matrix with a row for each true class, a column for each detected class, and background as the last row
  and column. Every pair of a detection and a truth that overlap enough counts once. So duplicates are hits, and a
  detection on truths of two classes counts in both rows.
- A detection without such a truth counts in the row of background. A truth that no detection of its own class overlaps
  counts as missed, even if a detection of another class counts for it too.
- Precision and recall are means over all classes and background, for which both are 0: even perfect detections of C
  classes have C / (C + 1). F1 is the harmonic mean of the two means.
- The number of classes is the greatest label in the ground truth plus 1. A detection with the next label counts in the
  column of background; with a greater label the script fails, and the metrics here are NaN.
- Difficult truths are ignored.
"""

from __future__ import annotations

import numpy as np

from rbox_metrics._matching import Paired
from rbox_metrics._scores._averages import counts_passing
from rbox_metrics.typing import FloatsS, IntsN

# The score thresholds that it tries; it reports the best.
LMMROTATE_F1_THRESHOLDS = tuple(k / 10 for k in range(10))

# The score thresholds that its playground/eval_mmrotate_detector_mapnc.py tries for mAP_nc; it reports the best.
LMMROTATE_MAP_NC_THRESHOLDS = (0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.7)


def f1_lmmrotate(paired: Paired, iou_threshold: float, passed: IntsN, settings: int) -> tuple[FloatsS, ...]:
    """Return mean precision, mean recall and their F1 at each score threshold.

    Args:
        paired: Truths and detections, with the overlaps across classes.
        iou_threshold: The least overlap that counts.
        passed: (D,) how many of the rising score thresholds each detection reaches.
        settings: How many score thresholds there are.

    Returns:
        Three arrays (S,).
    """
    truths, labels = paired.truths, paired.detections.labels
    ordinary = ~truths.difficult
    classes = int(truths.labels[ordinary].max(initial=-1)) + 1
    if classes == 0 or labels.max(initial=0) > classes:
        return tuple(np.full((3, settings), np.nan))

    def by_threshold(passed: np.ndarray, columns: np.ndarray) -> np.ndarray:
        return counts_passing(passed, columns, settings, classes + 1)

    same, others = (
        pairs.select((pairs.iou >= iou_threshold) & ordinary[pairs.truth]) for pairs in (paired.pairs, paired.others)
    )
    hits = by_threshold(passed[same.detection], labels[same.detection])
    columns = hits + by_threshold(passed[others.detection], labels[others.detection])
    rows = hits + by_threshold(passed[others.detection], truths.labels[others.truth])

    stray = np.ones(len(labels), dtype=bool)
    stray[same.detection] = stray[others.detection] = False
    background = by_threshold(passed[stray], labels[stray])
    columns = columns + background
    rows[:, -1] += background.sum(axis=1)
    # Detections with the next label, which are in the row and in the column of background.
    hits[:, -1] += background[:, -1]

    reached = np.zeros(len(truths), dtype=np.int64)
    np.maximum.at(reached, same.truth, passed[same.detection])
    found = by_threshold(reached[ordinary], truths.labels[ordinary])
    missed = np.bincount(truths.labels[ordinary], minlength=classes + 1) - found
    rows = rows + missed
    columns[:, -1] += missed.sum(axis=1)

    precision = (hits / np.maximum(columns, 1)).mean(axis=1)
    recall = (hits / np.maximum(rows, 1)).mean(axis=1)
    with np.errstate(invalid="ignore"):
        return precision, recall, 2 * precision * recall / (precision + recall)
