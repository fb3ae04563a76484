"""Scores from token probabilities, against values worked by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmm_detector._prediction._scores import RULES, box_scores, check_rule
from lmm_detector.errors import ConfigError, ModelError
from rbox_formats import ClassNames, codecs
from rbox_formats.codecs import Codec, Decoded
from rbox_testing.samples import sampled

NAMES = ClassNames(["ship", "small-vehicle"])
SIZE = (1000, 1000)
BOXES = np.array(
    [[300.0, 200, 80, 40, 0.2], [620, 710, 130, 40, 1.0], [480, 510, 90, 60, -0.7], [222, 777, 140, 44, 0.4]]
)

CODECS = [codecs.get(name) for name in codecs.CODECS] + [
    codecs.get("florence2", version=1),
    codecs.get("rscovlm", style="plain"),
    codecs.get("vrsbench", version="hbb"),
    codecs.get("plain", decimals=1),
]


def _id(codec: Codec) -> str:
    return "-".join(map(str, codec.to_dict().values()))


def written(codec: Codec) -> tuple[str, Decoded]:
    names = ClassNames(["ship"]) if codec.one_class else NAMES
    text = codec.encode(BOXES, np.arange(4) % len(names), names, SIZE)
    return text, codec.decode(text, names, SIZE, on_invalid="raise")


def by_character(codec: Codec, text: str) -> np.ndarray:
    return np.stack([np.arange(len(text)), np.arange(len(text)) + 1], axis=1)


def by_bpe(codec: Codec, text: str) -> np.ndarray:
    """Places that a BPE tokenizer gives, trained on the text, with the codec's added tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([text, "small vehicle ship 10 20 30 12"], trainer)
    tokenizer.add_tokens(list(codec.added_tokens))
    spans = np.array(tokenizer.encode(text).offsets)
    assert len(spans) < len(text)
    return spans


TOKENIZERS: dict[str, Callable[[Codec, str], np.ndarray]] = {"characters": by_character, "bpe": by_bpe}


def touching(spans: np.ndarray, piece: np.ndarray) -> list[int]:
    """The tokens with a character of a piece, told one by one."""
    characters = set(range(*piece))
    return [i for i, (start, stop) in enumerate(spans.tolist()) if characters & set(range(start, stop))]


@pytest.mark.parametrize("kind", sampled(TOKENIZERS, ["bpe"]))
@pytest.mark.parametrize("codec", CODECS, ids=_id)
def test_one_coordinate_changes_one_score(codec: Codec, kind: str) -> None:
    text, decoded = written(codec)
    spans = TOKENIZERS[kind](codec, text)
    assert box_scores(decoded, spans, np.zeros(len(spans))) is not None
    owners: dict[int, set[tuple[int, int]]] = {}
    for box, coordinates in enumerate(decoded.number_spans):
        for k, piece in enumerate(coordinates):
            for token in touching(spans, piece):
                owners.setdefault(token, set()).add((box, k))
    count = decoded.number_spans.shape[1]
    single = [(token, *next(iter(places))) for token, places in owners.items() if len(places) == 1]
    # No token straddles two coordinates here.
    assert len(single) == len(owners)
    assert {(box, k) for _, box, k in single} == {(box, k) for box in range(len(decoded.labels)) for k in range(count)}
    for token, box, _ in single:
        logs = np.zeros(len(spans))
        logs[token] = math.log(0.25)
        expected = [1.0] * len(decoded.labels)
        expected[box] = (count - 1 + 0.25) / count
        np.testing.assert_allclose(box_scores(decoded, spans, logs), expected, rtol=1e-12)
        expected[box] = 0.25
        for rule in ("minimum", "product"):
            np.testing.assert_allclose(box_scores(decoded, spans, logs, rule), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("codec", CODECS, ids=_id)
def test_every_token_counts_where_it_should(codec: Codec, kind: str) -> None:
    """Against sums over the tokens that have a character in common, found one by one."""
    text, decoded = written(codec)
    spans = TOKENIZERS[kind](codec, text)
    probabilities = np.random.default_rng(0).uniform(0.3, 1, len(spans))

    def product(piece: np.ndarray) -> float:
        return math.prod(probabilities[i] for i in touching(spans, piece))

    mean, geometric, least, whole, labels = [], [], [], [], []
    for label_span, coordinates in zip(decoded.label_spans, decoded.number_spans, strict=True):
        label, each = product(label_span), [product(piece) for piece in coordinates]
        mean.append(sum(each) / len(each) * label)
        geometric.append(math.prod(each) ** (1 / len(each)) * label)
        least.append(min(each) * label)
        whole.append(math.prod(each) * label)
        labels.append(label)
    expected = {"mean": mean, "geometric": geometric, "minimum": least, "product": whole, "label": labels}
    for rule, scores in expected.items():
        np.testing.assert_allclose(box_scores(decoded, spans, np.log(probabilities), rule), scores, rtol=1e-9)
    assert box_scores(decoded, spans, np.log(probabilities), "none") is None
    assert set(expected) | {"none"} == set(RULES)


def test_by_hand() -> None:
    """Coordinates of one, two and three digits: 1/2, 1/2 * 1/4, 1, 1; the label's two tokens 1/2 and 4/5."""
    codec = codecs.get("internvl")
    text = "<ref>ship</ref><box>[[7, 24, 300, 401]]</box>"
    pieces = ["<ref>", "sh", "ip", "</ref>", "<box>", "[[", "7", ", ", "2", "4", ", ", "300", ", ", "401", "]]</box>"]
    assert "".join(pieces) == text
    ends = np.cumsum([len(piece) for piece in pieces])
    spans = np.stack([ends - [len(piece) for piece in pieces], ends], axis=1)
    logs = np.log([0.1, 0.5, 0.8, 0.1, 0.1, 0.1, 0.5, 0.1, 0.5, 0.25, 0.1, 1.0, 0.1, 1.0, 0.1])
    decoded = codec.decode(text, NAMES, SIZE)
    score = {rule: box_scores(decoded, spans, logs, rule) for rule in ("mean", "geometric", "minimum", "product")}
    assert score["mean"] == pytest.approx([(0.5 + 0.125 + 1 + 1) / 4 * 0.4])
    assert score["geometric"] == pytest.approx([(0.5 * 0.125) ** 0.25 * 0.4])
    assert score["minimum"] == pytest.approx([0.125 * 0.4])
    assert score["product"] == pytest.approx([0.5 * 0.125 * 0.4])


def test_boxes_of_one_label_share_it() -> None:
    codec = codecs.get("florence2")
    quad = "".join(f"<loc_{i}>" for i in range(8))
    text = f"ship{quad}<sep>{quad}small vehicle{quad}"
    pieces = [
        "ship",
        *[f"<loc_{i}>" for i in range(8)],
        "<sep>",
        *[f"<loc_{i}>" for i in range(8)],
        "small",
        " vehicle",
    ]
    pieces += [f"<loc_{i}>" for i in range(8)]
    assert "".join(pieces) == text
    ends = np.cumsum([len(piece) for piece in pieces])
    spans = np.stack([ends - [len(piece) for piece in pieces], ends], axis=1)
    logs = np.zeros(len(pieces))
    logs[0], logs[18], logs[19] = np.log([0.5, 0.25, 0.5])
    decoded = codec.decode(text, NAMES, SIZE)
    for rule in ("mean", "geometric", "minimum", "product", "label"):
        assert box_scores(decoded, spans, logs, rule) == pytest.approx([0.5, 0.5, 0.125])


def test_a_token_that_straddles_two_coordinates_counts_for_both() -> None:
    codec = codecs.get("teochat")
    text = "[12, 19, 30, 40]"
    decoded = codec.decode(text, ClassNames(["ship"]), SIZE)
    spans = np.array([[0, 1], [1, 2], [2, 6], [6, 7], [7, 16]])  # "[" "1" "2, 1" "9" ", 30, 40]"
    score = box_scores(decoded, spans, np.log([0.1, 1.0, 0.5, 0.5, 0.25]))
    assert score == pytest.approx([(0.5 + 0.25 + 0.25 + 0.25) / 4])


def test_an_empty_token_counts_with_the_character_that_it_begins() -> None:
    """The first byte of a character of two."""
    codec, names = codecs.get("plain"), ClassNames(["é"])
    text = "é[10,20,30,40,5]"
    decoded = codec.decode(text, names, SIZE)
    spans = np.array([[0, 0], [0, 1], *([i, i + 1] for i in range(1, len(text))), [len(text), len(text)]])
    logs = np.zeros(len(spans))
    logs[0], logs[-1] = np.log([0.5, 0.1])
    assert box_scores(decoded, spans, logs) == pytest.approx([0.5])


def test_a_text_without_boxes_has_no_scores() -> None:
    decoded = codecs.get("florence2").decode("", NAMES, SIZE)
    scores = box_scores(decoded, np.zeros((0, 2), dtype=np.int64), np.zeros(0))
    assert scores is not None
    assert scores.shape == (0,)
    assert box_scores(decoded, np.array([[0, 4]]), np.zeros(1), "geometric").shape == (0,)  # type: ignore[union-attr]


log_probabilities = st.floats(allow_nan=True, allow_infinity=True, width=32)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "none"])
@settings(max_examples=40)
@given(data=st.data())
def test_always_between_0_and_1(rule: str, data: st.DataObject) -> None:
    """Whatever the model gave: NaN, infinities and positive logarithms included."""
    codec, text = codecs.get("plain"), "ship[1,2,30,4,5]"
    decoded, spans = codec.decode(text, NAMES, SIZE), by_character(codec, text)
    logs = data.draw(st.lists(log_probabilities, min_size=len(text), max_size=len(text)))
    scores = box_scores(decoded, spans, np.array(logs, dtype=np.float32), rule)
    assert scores is not None
    assert scores.dtype == np.float64
    assert ((scores >= 0) & (scores <= 1)).all()


@settings(max_examples=40)
@given(data=st.data())
def test_a_likelier_token_never_lowers_a_score(data: st.DataObject) -> None:
    text, decoded = written(codecs.get("internvl"))
    spans = by_character(codecs.get("internvl"), text)
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    logs = -rng.exponential(0.2, len(text))
    more = logs.copy()
    more[data.draw(st.integers(0, len(text) - 1))] *= data.draw(st.floats(0, 1))
    for rule in RULES:
        if rule != "none":
            assert (box_scores(decoded, spans, more, rule) >= box_scores(decoded, spans, logs, rule) - 1e-12).all()


@pytest.mark.parametrize(
    "spans, logs, message",
    [
        ([[0, 2]], [0.0, 0.0], "expected a probability for each of 1 tokens, got 2"),
        ([[4, 6], [0, 4]], [0.0, 0.0], r"expected tokens in the order of the text, got \[4, 6\] before \[0, 4\]"),
        ([[0, 2]], [0.0], "expected tokens for all of the text, got none for characters 5 to 7"),
    ],
)
def test_bad_tokens(spans: list[list[int]], logs: list[float], message: str) -> None:
    decoded = codecs.get("teochat").decode("[12, 19, 30, 40]", ClassNames(["ship"]), SIZE)
    with pytest.raises(ModelError, match=message):
        box_scores(decoded, np.array(spans), np.array(logs))


def test_rules_are_checked_early() -> None:
    check_rule("label", codecs.get("florence2"))
    check_rule("mean", codecs.get("teochat"))
    check_rule("label", codecs.get("skysensegpt"))  # one class at a time, but named
    with pytest.raises(ConfigError, match=r"expected a rule for scores among mean, .*got 'median'"):
        check_rule("median", codecs.get("florence2"))
    with pytest.raises(ConfigError, match="whose prompt names the class"):
        check_rule("label", codecs.get("teochat"))
    decoded: Any = codecs.get("florence2").decode("", NAMES, SIZE)
    with pytest.raises(ConfigError, match="got 'median'"):
        box_scores(decoded, np.zeros((0, 2), dtype=np.int64), np.zeros(0), "median")
