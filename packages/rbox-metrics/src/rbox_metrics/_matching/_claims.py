"""Matching as in PASCAL VOC, where each detection claims the truth that it overlaps most.

The outcome of a claim depends only on the order of the detections that claim the same truth. So one pass over the
detections gives the outcomes at all IoU thresholds, or at all score thresholds. No compiled function here calls
another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import no_type_check

import numpy as np

from rbox_metrics._jit import in_parts, jit
from rbox_metrics._matching._matching import FALSE_POSITIVE, IGNORED, TRUE_POSITIVE
from rbox_metrics.typing import Bounds, FlagsT, FloatsN, FloatsR, FloatsS, FloatsSC, IntsC, IntsN, IntsT, OutcomesSN

# Instead of the number of a truth that a detection claims.
NO_TRUTH = -1
DIFFICULT = -2


@jit
@no_type_check
def _shuffle(target, passed, bounds, seed):
    state = np.uint64(seed)
    for c in range(len(bounds) - 1):
        for k in range(bounds[c + 1] - 1, bounds[c], -1):
            state += np.uint64(0x9E3779B97F4A7C15)
            z = state
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z = z ^ (z >> np.uint64(31))
            j = bounds[c] + np.int64(np.float64(z >> np.uint64(11)) * 2.0**-53 * np.float64(k - bounds[c] + 1))
            target[k], target[j] = target[j], target[k]
            passed[k], passed[j] = passed[j], passed[k]


@jit
@no_type_check
def _claims(begin, end, bounds, target, passed, beyond, claimed, outcomes):
    # The truth was claimed before at the first `claimed[t]` settings. No two classes share a truth.
    for c in range(begin, end):
        for place in range(bounds[c], bounds[c + 1]):
            t, last = target[place], passed[place]
            first = last if t < 0 else min(claimed[t], last)
            for s in range(len(outcomes)):
                if s >= last:
                    outcomes[s, place] = beyond
                elif s >= first:
                    outcomes[s, place] = TRUE_POSITIVE
                else:
                    outcomes[s, place] = IGNORED if t == DIFFICULT else FALSE_POSITIVE
            if t >= 0:
                claimed[t] = max(claimed[t], last)


@jit
@no_type_check
def _averages(begin, end, bounds, target, passed, beyond, wanted, recalls, claimed, result):
    settings = len(result)
    hits, up_to = np.empty(settings, dtype=np.int64), np.empty(settings + 1, dtype=np.int64)
    for c in range(begin, end):
        if wanted[c] == 0:
            continue
        # The precision at each hit, and the number of hits.
        precision = np.empty(settings * wanted[c])
        for s in range(settings):
            hits[s] = 0
        # up_to[k] detections so far pass exactly k settings: those on difficult truths, to be subtracted, where a
        # detection beyond its settings is a false positive; else those on other truths, to be added up.
        for s in range(settings + 1):
            up_to[s] = 0
        for place in range(bounds[c], bounds[c + 1]):
            t, last = target[place], passed[place]
            if (t == DIFFICULT) == (beyond == FALSE_POSITIVE):
                up_to[last] += 1
            if t < 0 or last <= claimed[t]:
                continue
            running = 0
            for s in range(settings - 1, claimed[t] - 1, -1):
                running += up_to[s + 1]
                if s < last:
                    counted = place + 1 - bounds[c] - running if beyond == FALSE_POSITIVE else running
                    precision[s * wanted[c] + hits[s]] = (hits[s] + 1) / counted
                    hits[s] += 1
            claimed[t] = last
        for s in range(settings):
            # From the last hit to the first: the best precision at this recall or a higher one.
            total, best, level = 0.0, 0.0, len(recalls) - 1
            while level >= 0 and recalls[level] > hits[s] / wanted[c]:
                level -= 1
            for h in range(hits[s] - 1, -1, -1):
                best = max(best, precision[s * wanted[c] + h])
                while level >= 0 and recalls[level] > h / wanted[c]:
                    total += best
                    level -= 1
                if len(recalls) == 0:
                    total += best
            total += (level + 1) * best
            result[s, c] = total / (len(recalls) or wanted[c])


@dataclass(frozen=True, eq=False)
class Claims:
    """What each detection claims, at S settings, each stricter than the one before.

    Attributes:
        target: (D,) the truth that it overlaps most, `NO_TRUTH`, or `DIFFICULT` if that truth is difficult.
        passed: (D,) the number of settings, from the first, that the detection passes.
        settings: The number S of settings.
        beyond: The outcome of a detection at the settings that it does not pass.
        truths: How many truths there are.
    """

    target: IntsN
    passed: IntsN
    settings: int
    beyond: int
    truths: int

    def take(self, order: IntsN) -> Claims:
        """Return the claims of the detections in some order."""
        return replace(self, target=self.target[order], passed=self.passed[order])


def claims_by_iou(best: IntsN, best_iou: FloatsN, difficult: FlagsT, thresholds: FloatsS) -> Claims:
    """Return claims at rising IoU thresholds; below its threshold a detection is a false positive.

    Args:
        best: (D,) the truth that each detection overlaps most, from `best_truths`.
        best_iou: (D,) the IoU with that truth.
        difficult: (T,) whether each truth is difficult.
        thresholds: (S,) rising IoU thresholds above 0; an IoU equal to one is enough.
    """
    passed = np.searchsorted(thresholds, best_iou, side="right").astype(np.int32)
    return Claims(_targets(best, difficult), passed, len(thresholds), FALSE_POSITIVE, len(difficult))


def claims_by_score(
    best: IntsN, best_iou: FloatsN, difficult: FlagsT, iou_threshold: float, scores: FloatsN, thresholds: FloatsS
) -> Claims:
    """Return claims at one IoU threshold and rising score thresholds; detections up to a threshold do not count.

    Args:
        best: (D,) the truth that each detection overlaps most, from `best_truths`.
        best_iou: (D,) the IoU with that truth.
        difficult: (T,) whether each truth is difficult.
        iou_threshold: The IoU that is enough, above 0.
        scores: (D,) the detections' scores.
        thresholds: (S,) rising score thresholds.
    """
    target = np.where(best_iou >= iou_threshold, _targets(best, difficult), np.int32(NO_TRUTH))
    passed = np.searchsorted(thresholds, scores, side="left").astype(np.int32)
    return Claims(target, passed, len(thresholds), IGNORED, len(difficult))


def shuffled(claims: Claims, bounds: Bounds, seed: int) -> Claims:
    """Shuffle the claims within each class: Fisher and Yates's shuffle by splitmix64 (Steele et al. 2014).

    The result is the same on every machine, with any number of threads.

    Args:
        claims: The claims, sorted by class.
        bounds: (C + 1,) where each class begins.
        seed: The random seed, from 0.
    """
    target, passed = claims.target.copy(), claims.passed.copy()
    _shuffle(target, passed, bounds, seed)
    return replace(claims, target=target, passed=passed)


def claim(claims: Claims, bounds: Bounds) -> OutcomesSN:
    """Match as PASCAL VOC does: each detection claims the ground truth that it overlaps most, also a difficult one.

    Below the IoU threshold the detection is a false positive. Otherwise it is ignored if the truth is difficult, a true
    positive if no better detection claimed the truth, and a false positive if one did, even if another truth is free.

    Source: `tpfp_default` in mmrotate/evaluation/functional/mean_ap.py, open-mmlab/mmrotate 1.0.0rc1.

    Args:
        claims: The claims by class, within each class from the first to claim to the last. Each setting is stricter
            than the one before, so one pass over the detections is enough: a claim is a true positive at the settings
            that no better detection with the same truth passes.
        bounds: (C + 1,) where each class begins.

    Returns:
        (S, D) int8 outcomes, in the order of the claims.
    """
    outcomes = np.empty((claims.settings, len(claims.target)), dtype=np.int8)
    in_parts(
        _claims,
        len(bounds) - 1,
        outcomes.size,
        bounds,
        claims.target,
        claims.passed,
        claims.beyond,
        _unclaimed(claims),
        outcomes,
        bounds=bounds,
    )
    return outcomes


def _targets(best: IntsN, difficult: FlagsT) -> IntsN:
    return np.where((best >= 0) & np.append(difficult, False)[best], DIFFICULT, best).astype(np.int32)


def claimed_averages(claims: Claims, bounds: Bounds, wanted: IntsC, recalls: FloatsR) -> FloatsSC:
    """Return the average precisions of `claim`'s outcomes, like `average_precisions`, without storing the outcomes.

    Args:
        claims: As in `claim`.
        bounds: As in `claim`.
        wanted: (C,) how many truths there are to find.
        recalls: As in `average_precisions`.

    Returns:
        (S, C) from 0 to 1, NaN for classes without truths to find.
    """
    result = np.full((claims.settings, len(wanted)), np.nan)
    in_parts(
        _averages,
        len(wanted),
        len(claims.target) * claims.settings,
        bounds,
        claims.target,
        claims.passed,
        claims.beyond,
        wanted,
        recalls,
        _unclaimed(claims),
        result,
        bounds=bounds,
    )
    return result


def _unclaimed(claims: Claims) -> IntsT:
    """Return (T,) zeros: at how many settings each object of the ground truth has been claimed so far."""
    return np.zeros(claims.truths, dtype=claims.passed.dtype)
