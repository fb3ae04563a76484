"""Every codec reads whatever a model may write: mutated and random texts, and a corpus of those worth keeping.

python packages/rbox-formats/tests/fuzz/test_decoders.py    # makes corpus.jsonl anew
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rbox_formats import ClassNames, codecs
from rbox_formats.codecs import CODECS, Codec, Decoded
from rbox_formats.errors import CodecError

CORPUS = Path(__file__).with_name("corpus.jsonl")
SIZE, SEEN = (1000, 700), (980, 672)
NAMES = ClassNames(["ship", "small-vehicle", "plane"])
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in CODECS),
    ("florence2", {"version": 1}),
    ("florence2", {"version": 3}),
    *(("rscovlm", {"shape": shape, "style": style}) for shape in ("quad", "obb", "hbb") for style in ("json", "plain")),
    ("vrsbench", {"version": "hbb"}),
    ("vrsbench", {"version": "obb_v2"}),
    ("plain", {"decimals": 1}),
]
# What models are known to write around or instead of boxes, and what upsets parsers.
STRAYS = [
    *("</s>", "<s>", "<pad>", "<|im_end|>", "There are none.", "None", "none", "[]", "```json", "```", "\n", " ", "\t"),
    *("[", "]", "{", "}", "(", ")", "<", ">", '"', "\\", "'", ",", ";", ":", "|", "-", ".", "0", "999", "1000", "1e9"),
    *("9" * 30, "-1", "NaN", "null", "ship", "Small Vehicle", "tram", "\U0001f6a2", "\ud800", "\u0661", "\x00", "é"),
]


def names_of(codec: Codec) -> ClassNames:
    return ClassNames(NAMES[:1]) if codec.one_class else NAMES


@cache
def encoding(codec: Codec) -> str:
    rng = np.random.default_rng(0)
    boxes = np.column_stack([rng.uniform(100, 600, (5, 2)), rng.uniform(20, 90, (5, 2)), rng.uniform(-1.5, 1.5, 5)])
    labels = np.zeros(5, dtype=np.int64) if codec.one_class else np.array([0, 1, 0, 2, 1])
    return codec.encode(boxes, labels, names_of(codec), SIZE, SEEN)


# Of a text, two places in it and a stray: cut, cut out, doubled, replaced, strayed into, turned round.
MUTATIONS: list[Callable[[str, int, int, str], str]] = [
    lambda text, a, b, stray: text[:a],
    lambda text, a, b, stray: text[a:],
    lambda text, a, b, stray: text[:a] + text[b:],
    lambda text, a, b, stray: text[:b] + text[a:],
    lambda text, a, b, stray: text[:a] + stray + text[b:],
    lambda text, a, b, stray: text[:a] + stray + text[a:],
    lambda text, a, b, stray: text[:a] + text[a:b][::-1] + text[b:],
]


def mutated(text: str, chance: random.Random) -> str:
    for _ in range(chance.randint(1, 4)):
        a = chance.randint(0, len(text))
        b = min(len(text), a + chance.choice([1, 2, 8, 40]))
        text = chance.choice(MUTATIONS)(text, a, b, chance.choice(STRAYS))
    return text


def texts(codec: Codec, count: int, seed: int) -> Iterator[str]:
    """Nine mutated ones to one that is random."""
    chance = random.Random(seed)
    pieces = [*STRAYS, *encoding(codec).replace(">", "> ").split()]
    for i in range(count):
        yield (
            "".join(chance.choices(pieces, k=chance.randint(0, 40)))
            if i % 10 == 9
            else mutated(encoding(codec), chance)
        )


def decode(codec: Codec, text: str) -> Decoded:
    return codec.decode(text, names_of(codec), SIZE, SEEN, on_invalid="ignore", near_match=0.8)


def check(codec: Codec, text: str) -> None:
    found = decode(codec, text)
    count = len(found.labels)
    assert len(found.boxes) == len(found.label_spans) == len(found.number_spans) == count
    assert np.isfinite(found.boxes).all()
    assert (found.status in ("boxes", "truncated")) or count == 0
    spans = [*found.number_spans.reshape(-1, 2).tolist(), *(piece[:2] for piece in found.rejected)]
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(0 <= start <= end <= len(text) for start, end in found.label_spans.tolist())
    # A rejected piece and a box never share a character.
    taken = sorted((spans.min(), spans.max()) for spans in found.number_spans)
    for start, end, _ in found.rejected:
        assert not any(low < end and start < high for low, high in taken)


@pytest.mark.parametrize("name, options", VARIANTS, ids=str)
def test_no_text_upsets_a_decoder(name: str, options: dict[str, Any]) -> None:
    codec = codecs.get(name, **options)
    for text in texts(codec, 60 if options else 200, seed=1):
        check(codec, text)


@pytest.mark.parametrize("name, options", VARIANTS, ids=str)
def test_raising_names_what_ignoring_lists(name: str, options: dict[str, Any]) -> None:
    codec = codecs.get(name, **options)
    for text in texts(codec, 50, seed=3):
        found = codec.decode(text, names_of(codec), SIZE, SEEN, on_invalid="ignore")
        if found.rejected:
            start, end, _ = found.rejected[0]
            with pytest.raises(CodecError, match=f"at characters {start} to {end}: "):
                codec.decode(text, names_of(codec), SIZE, SEEN, on_invalid="raise")


def outcome(found: Decoded) -> dict[str, Any]:
    return {
        "status": found.status,
        "labels": found.labels.tolist(),
        "boxes": np.round(found.boxes, 3).tolist(),
        "rejected": [list(piece) for piece in found.rejected],
    }


def entries() -> dict[str, list[dict[str, Any]]]:
    """Of the corpus, by the codec's name."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in CORPUS.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        found.setdefault(entry["codec"]["name"], []).append(entry)
    return found


@pytest.mark.parametrize("name", codecs.CODECS)
def test_the_corpus(name: str) -> None:
    """Texts that are damaged in ways of their own are read as they were."""
    for entry in entries()[name]:
        expected, text = entry["expected"], entry["text"]
        found = outcome(decode(codecs.from_dict(entry["codec"]), text))
        # An angle may be either end of its range: the rectangle is what counts, and sizes and centres say most of it.
        for ours, theirs in zip(found.pop("boxes"), expected.pop("boxes"), strict=True):
            np.testing.assert_allclose(ours[:4], theirs[:4], atol=2e-3, err_msg=text)
        assert found == expected, text


def make_corpus(each: int = 12) -> None:
    """For each codec, of many mutated texts the shortest with each set of reasons and status, up to `each` of them."""
    lines = []
    for name, options in VARIANTS:
        codec = codecs.get(name, **options)
        shortest: dict[tuple[str, ...], str] = {}
        for text in texts(codec, 5000, seed=4):
            found = decode(codec, text)
            reasons = {piece.reason.split(" '")[0] for piece in found.rejected}
            key = (found.status, str(len(found.labels) > 0), *sorted(reasons))
            if len(text) < len(shortest.get(key, text + " ")) and text.isprintable():
                shortest[key] = text
        for key in sorted(shortest, key=lambda key: (len(key), key))[:each]:
            text = shortest[key]
            entry = {"codec": codec.to_dict(), "text": text, "expected": outcome(decode(codec, text))}
            lines.append(json.dumps(entry, ensure_ascii=False) + "\n")
    CORPUS.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    make_corpus()
