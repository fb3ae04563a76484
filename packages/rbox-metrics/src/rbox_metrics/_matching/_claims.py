"""Matching as in PASCAL VOC, where each detection claims the truth that it overlaps most.

A claim depends on nothing but the order of those who claim the same truth, so that one pass over the detections gives
what becomes of them at all IoU thresholds, or at all score thresholds. No compiled function here calls another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import no_type_check

import numpy as np

from rbox_metrics._jit import in_parts, jit
from rbox_metrics._matching._matching import FALSE_POSITIVE, IGNORED, TRUE_POSITIVE
from rbox_metrics.typing import Bounds, FlagsT, FloatsN, FloatsR, FloatsS, FloatsSC, IntsC, IntsN, IntsT, OutcomesSN

# In place of a truth that a detection claims.
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
    # At the first so many settings the truth was claimed already. Classes share no truth.
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
        # The precision at each hit, and how many there are.
        precision = np.empty(settings * wanted[c])
        for s in range(settings):
            hits[s] = 0
        # How many are up to so many settings: of all that count, or where all but the difficult do, of those.
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
    """What each detection claims, at S settings of which each is stricter than the one before.

    Attributes:
        target: (D,) the truth that it overlaps most, `NO_TRUTH`, or `DIFFICULT` for a truth that is.
        passed: (D,) how many of the settings it is up to: the first so many.
        settings: The number S.
        beyond: What becomes of it at the others.
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
        best: (D,) as by `best_truths`.
        best_iou: (D,)
        difficult: (T,)
        thresholds: (S,) rising, above 0; an IoU equal to one is enough.
    """
    passed = np.searchsorted(thresholds, best_iou, side="right").astype(np.int32)
    return Claims(_targets(best, difficult), passed, len(thresholds), FALSE_POSITIVE, len(difficult))


def claims_by_score(
    best: IntsN, best_iou: FloatsN, difficult: FlagsT, iou_threshold: float, scores: FloatsN, thresholds: FloatsS
) -> Claims:
    """Return claims at one IoU threshold and rising score thresholds; detections up to a threshold do not count.

    Args:
        best: (D,) as by `best_truths`.
        best_iou: (D,)
        difficult: (T,)
        iou_threshold: Above 0.
        scores: (D,)
        thresholds: (S,) rising.
    """
    target = np.where(best_iou >= iou_threshold, _targets(best, difficult), np.int32(NO_TRUTH))
    passed = np.searchsorted(thresholds, scores, side="left").astype(np.int32)
    return Claims(target, passed, len(thresholds), IGNORED, len(difficult))


def shuffled(claims: Claims, bounds: Bounds, seed: int) -> Claims:
    """Shuffle the claims within each class: Fisher and Yates's shuffle by splitmix64 (Steele et al. 2014).

    The same on every machine, and whatever the number of threads.

    Args:
        claims: By class.
        bounds: (C + 1,) where each class begins.
        seed: From 0.
    """
    target, passed = claims.target.copy(), claims.passed.copy()
    _shuffle(target, passed, bounds, seed)
    return replace(claims, target=target, passed=passed)


def claim(claims: Claims, bounds: Bounds) -> OutcomesSN:
    """Match as PASCAL VOC does: each detection claims the ground truth that it overlaps most, also a difficult one.

    Below the IoU threshold it is a false positive. Else, where that truth is difficult, it is ignored; where no better
    detection claimed it, a true positive; and a false positive where one did, though another truth may be free.

    Source: `tpfp_default` in mmrotate/evaluation/functional/mean_ap.py, open-mmlab/mmrotate 1.0.0rc1.

    Args:
        claims: By class, within each from the detection that claims first to the last. Since settings grow stricter,
            one pass over the detections is enough for all: a claim holds at those that no better detection with the
            same truth was up to.
        bounds: (C + 1,) where each class begins.

    Returns:
        (S, D) int8, in the order of the claims.
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
        (S, C)
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
