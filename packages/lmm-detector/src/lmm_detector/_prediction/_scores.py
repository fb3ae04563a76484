"""Scores of boxes from the probabilities that the model gave to the tokens that it wrote.

A text has no scores of its own; LMMRotate gives every box 1, with which average precision depends on the boxes' order
alone. The probabilities are the model's own, those before any constraint on the text: where only one token is allowed,
a constrained probability is 1 and says nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rbox_formats.codecs import Codec, Decoded
from rbox_formats.typing import NumbersN, NumberSpansN, ScoresN, SpansN

from lmm_detector.errors import ConfigError, ModelError

Rule = Callable[[NumbersN, ScoresN], ScoresN]


def _mean(coordinates: NumbersN, label: ScoresN) -> ScoresN:
    """Return the mean of the coordinates' probabilities, times the label's.

    A coordinate's probability is shared by its neighbours: a model that is sure to within two bins still gives the one
    that it writes a third. The mean keeps one such coordinate from deciding, as it would in a product; and it is linear
    in each, so that a box with seven sure coordinates and one at random stays above one with eight half-sure ones.
    """
    return np.exp(coordinates).mean(axis=1) * np.exp(label)


def _geometric(coordinates: NumbersN, label: ScoresN) -> ScoresN:
    """Return the geometric mean of the coordinates' probabilities, times the label's.

    The likelihood of the box with its length taken out, as log-likelihoods are averaged to compare texts of unequal
    lengths; one impossible coordinate makes it zero.
    """
    return np.exp(coordinates.mean(axis=1) + label)


def _minimum(coordinates: NumbersN, label: ScoresN) -> ScoresN:
    """Return the least probable coordinate, times the label: a box is as good as its worst side."""
    return np.exp(coordinates.min(axis=1) + label)


def _product(coordinates: NumbersN, label: ScoresN) -> ScoresN:
    """All of them: the probability of writing just this box, given what stands before it; tiny where K is large."""
    return np.exp(coordinates.sum(axis=1) + label)


def _label(coordinates: NumbersN, label: ScoresN) -> ScoresN:
    """Return the label alone, as Pix2Seq takes the probability of the class token (Chen et al., arXiv 2109.10852)."""
    return np.exp(label)


#: How a box's score comes of the log-probabilities of its coordinates (N, K) and of its label (N,). "none": no scores.
RULES: dict[str, Rule | None] = {
    "mean": _mean,
    "geometric": _geometric,
    "minimum": _minimum,
    "product": _product,
    "label": _label,
    "none": None,
}


def check_rule(rule: str, codec: Codec) -> None:
    """Make sure, before any long work, that a rule can score a codec's texts.

    Raises:
        ConfigError: If there is no such rule, or it asks for labels that the texts do not hold.
    """
    if rule not in RULES:
        raise ConfigError(f"expected a rule for scores among {', '.join(RULES)}, got {rule!r}")
    if rule == "label" and codec.syntax.names == "prompt":
        raise ConfigError(
            f"expected texts with labels for the rule 'label', got codec {codec.name!r}, whose prompt names the class",
            remedy="Take another rule, such as 'mean'.",
        )


def box_scores(decoded: Decoded, token_spans: SpansN, log_probs: ScoresN, rule: str = "mean") -> ScoresN | None:
    """Return the score of each box of a text.

    A coordinate's probability is the product of those of its tokens: one token where the format has coordinate tokens,
    each digit where it has not. So is a label's; all boxes that follow one label share it, and where the prompt names
    the class it is 1. A token counts for a coordinate or label if they have a character in common, all of it: one that
    straddles two, such as "2, 1" in "12, 19", counts for both, since neither was written without it. A token that
    writes nothing yet, the first byte of a character of several, counts with the character that begins where it stands.
    What ends a coordinate or a label (a comma, the first token of a box) does not count.

    Args:
        decoded: What the text says; N boxes of K coordinates.
        token_spans: (T, 2) first character of each token in that text and one past the last, in rising order. Tokens
            that are not part of the text (padding, or special ones where they were skipped) are left out.
        log_probs: (T,) the natural logarithm of the probability that the model gave to each token. Above 0, as
            rounding may give, it counts as 0, and NaN, which only a broken model gives, as minus infinity.
        rule: One of `RULES`.

    Returns:
        (N,) float64 in 0..1, or None with the rule "none".

    Raises:
        ConfigError: If there is no such rule.
        ModelError: If spans and log-probabilities are not of as many tokens, the spans not in rising order, or a
            coordinate or label is without a token.
    """
    if rule not in RULES:
        raise ConfigError(f"expected a rule for scores among {', '.join(RULES)}, got {rule!r}")
    if (combine := RULES[rule]) is None:
        return None
    if len(token_spans) != len(log_probs):
        raise ModelError(f"expected a probability for each of {len(token_spans)} tokens, got {len(log_probs)}")
    begins = token_spans[:, 0]
    # An empty token belongs to the character that begins where it stands.
    ends = np.maximum(token_spans[:, 1], begins + 1)
    if (np.diff(begins) < 0).any() or (np.diff(ends) < 0).any():
        place = int(np.argmax((np.diff(begins) < 0) | (np.diff(ends) < 0)))
        pair = token_spans[place : place + 2].tolist()
        raise ModelError(f"expected tokens in the order of the text, got {pair[0]} before {pair[1]} at token {place}")
    logs = np.minimum(np.nan_to_num(log_probs.astype(np.float64), nan=-np.inf, neginf=-np.inf), 0.0)
    coordinates = _sums(decoded.number_spans, begins, ends, logs)
    label = _sums(decoded.label_spans, begins, ends, logs)
    return np.clip(combine(coordinates, label), 0.0, 1.0)


def _sums(spans: SpansN | NumberSpansN, begins: np.ndarray, ends: np.ndarray, logs: ScoresN) -> np.ndarray:
    """Return the sum of the log-probabilities of the tokens of each span (..., 2); of an empty span 0."""
    start, stop = spans[..., 0], spans[..., 1]
    first = np.searchsorted(ends, start, side="right")
    last = np.where(stop > start, np.searchsorted(begins, stop, side="left"), first)
    bare = (stop > start) & (last <= first)
    if bare.any():
        place = spans[bare][0].tolist()
        raise ModelError(f"expected tokens for all of the text, got none for characters {place[0]} to {place[1]}")
    # Sums of slices, and not differences of a running sum, which minus infinity would make NaN.
    pairs = np.stack([first.ravel(), last.ravel()], axis=1).ravel()
    sums = np.add.reduceat(np.append(logs, 0.0), pairs)[::2] if len(pairs) else np.zeros(0)
    return np.where(last > first, sums.reshape(start.shape), 0.0)
