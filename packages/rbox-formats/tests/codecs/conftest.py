"""Every codec with every choice of its options, and what the tests of all of them share."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from rbox_formats import ClassNames, codecs
from rbox_formats.codecs import Codec

# Each codec's options and their values.
OPTIONS: dict[str, dict[str, tuple[Any, ...]]] = {
    "florence2": {"version": (1, 2, 3)},
    "allseeing": {"empty": (False, True)},
    "rscovlm": {"shape": ("quad", "obb", "hbb"), "style": ("json", "plain"), "clockwise": (True, False)},
    "geochat": {"clockwise": (False, True)},
    "earthdial": {},
    "skysensegpt": {},
    "vrsbench": {"version": ("hbb", "obb_v1", "obb_v2")},
    "falcon": {},
    "plain": {"decimals": (0, 1)},
    "qwen2-vl": {},
    "qwen2.5-vl": {},
    "qwen3-vl": {},
    "internvl": {},
    "paligemma": {},
    "kosmos2": {},
    "cogvlm": {},
    "gemini": {},
    "rex-omni": {},
    "shikra": {},
    "teochat": {},
}
CHOICES = [
    (name, dict(zip(options, values, strict=True)))
    for name, options in OPTIONS.items()
    for values in itertools.product(*options.values())
    if name != "rscovlm" or "quad" in values or True in values  # only quads have a winding
]


# One codec of each syntax, where what the options change besides is no matter.
SYNTAXES = [*((name, {}) for name in codecs.CODECS), ("rscovlm", {"style": "plain"}), ("vrsbench", {"version": "hbb"})]


def _id(choice: tuple[str, dict[str, Any]]) -> str:
    name, options = choice
    return "-".join([name, *(f"{value}" for value in options.values())])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Tests marked `each_syntax` take fewer codecs than the others."""
    if "codec" in metafunc.fixturenames:
        choices = SYNTAXES if metafunc.definition.get_closest_marker("each_syntax") else CHOICES
        metafunc.parametrize("codec", choices, ids=_id, indirect=True, scope="session")


@pytest.fixture(scope="session")
def codec(request: pytest.FixtureRequest) -> Codec:
    """Each codec with each choice of its options, or one of each syntax."""
    name, options = request.param
    return codecs.get(name, **options)


@pytest.fixture(scope="session")
def options() -> dict[str, dict[str, tuple[Any, ...]]]:
    """The choices of each codec's options, by its name."""
    return OPTIONS


@pytest.fixture(scope="session")
def names(codec: Codec) -> ClassNames:
    """As many names as the codec takes, one of them full of what regular expressions are made of."""
    return ClassNames(["ship"] if codec.one_class else ["ship", "small-vehicle", "a+b (c).d|e*"])


@pytest.fixture(scope="session")
def scene(names: ClassNames) -> tuple[np.ndarray, np.ndarray]:
    """Five boxes (5, 5) in an image of 1000 x 500 px, one of them cut by the border, and their labels (5,)."""
    boxes = np.array(
        [
            [300.0, 200.0, 80.0, 40.0, 0.0],
            [600.0, 300.0, 100.0, 50.0, 0.5],
            [400.0, 380.0, 90.0, 30.0, -1.2],
            [120.0, 90.0, 60.0, 60.0, 0.3],
            [990.0, 490.0, 40.0, 20.0, 0.0],
        ]
    )
    return boxes, np.arange(5) % len(names)


@pytest.fixture(scope="session")
def valid(codec: Codec, names: ClassNames, scene: tuple[np.ndarray, np.ndarray]) -> str:
    """What the codec writes of the scene."""
    return codec.encode(*scene, names, (1000, 500))


# What models write where it does not belong, and what unlike tokenizers leave in a text.
STRAY = [
    "</s>",
    "<|im_end|>",
    "<eos>",
    "<s>",
    "<pad>",
    "None",
    "none",
    "[]",
    "There are none.",
    "<",
    "{",
    "[",
    "(",
    ")",
]
STRAY += [
    "]",
    "}",
    ">",
    '"',
    "\\",
    "|",
    ";",
    ",",
    ":",
    "-",
    ".",
    " ",
    "\n",
    "7",
    "1000",
    "99999999999",
    "boat",
    "é",
    "😀",
]
STRAY += ["\ud83d", "<loc_x>", "```", "```json", '"label": "', '"bbox_2d": [1, 2, 3, 4]', "<tag>", "１"]


@pytest.fixture(scope="session")
def pieces(codec: Codec, valid: str) -> list[str]:
    """What the codec's texts are made of: tags, numbers, words and signs."""
    return sorted({*re.findall(r"<[^<>]*>|[0-9]+|[A-Za-z]+|.", valid, re.DOTALL), *(codec.empty_answer or "").split()})


@pytest.fixture(scope="session")
def texts(valid: str, pieces: list[str]) -> SearchStrategy[str]:
    """Texts like the codec's: of its pieces in any order, and valid ones with a few places damaged."""
    any_piece = st.sampled_from(pieces) | st.sampled_from(STRAY)
    place = st.integers(0, len(valid))
    edit = st.tuples(place, st.integers(0, 30), st.lists(any_piece, max_size=3).map("".join))
    return st.lists(any_piece, max_size=40).map("".join) | st.lists(edit, max_size=3).map(lambda e: _edited(valid, e))


def _edited(text: str, edits: list[tuple[int, int, str]]) -> str:
    for start, length, new in edits:
        text = text[:start] + new + text[start + length :]
    return text


Told = tuple[str, list[str], list[tuple[str, str]]]


@pytest.fixture(scope="session")
def told() -> Callable[[Codec, ClassNames, str], Told]:
    """What a text says: its status, its boxes as labels and numbers as written, the rejected pieces with reasons."""

    def tell(codec: Codec, names: ClassNames, text: str) -> Told:
        decoded = codec.decode(text, names, (1000, 1000), on_invalid="ignore")
        assert len(decoded.boxes) == len(decoded.labels) == len(decoded.label_spans) == len(decoded.number_spans)
        numbers = [" ".join(text[a:b] for a, b in spans) for spans in decoded.number_spans]
        boxes = [f"{names[label]} {written}" for label, written in zip(decoded.labels, numbers, strict=True)]
        return decoded.status, boxes, [(text[start:end], reason) for start, end, reason in decoded.rejected]

    return tell
