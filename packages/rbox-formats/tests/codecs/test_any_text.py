"""Any text at all: nothing is raised, places are those of the text, and the work is linear."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from rbox_formats import ClassNames, codecs
from rbox_formats.codecs import Codec, Decoded
from rbox_testing.samples import sampled
from rbox_testing.work import calls

SIZE = (1000, 500)
MANY = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def check(codec: Codec, names: ClassNames, text: str, near_match: float | None = None) -> Decoded:
    """That what is said of a text is of one piece, and true of it."""
    decoded = codec.decode(text, names, SIZE, on_invalid="ignore", near_match=near_match)
    count = len(decoded.labels)
    assert len(decoded.shapes) == len(decoded.boxes) == len(decoded.label_spans) == len(decoded.number_spans) == count
    assert np.isfinite(decoded.boxes).all()
    assert (decoded.boxes[:, 2:4] >= 0).all()
    assert set(decoded.labels.tolist()) <= set(range(len(names)))
    assert decoded.status in (("boxes", "truncated") if count else ("empty", "truncated", "failed"))
    assert list(decoded.rejected) == sorted(decoded.rejected)
    for start, end, reason in decoded.rejected:
        assert 0 <= start < end <= len(text)
        assert reason
    near = dict(decoded.near_matches)
    before, behind = codec.syntax.token
    values = []
    for label, (start, end), spans in zip(decoded.labels, decoded.label_spans, decoded.number_spans, strict=True):
        for a, b in spans:
            assert 0 <= a < b <= len(text)
            values.append(float(text[a + before : b - behind]))
        if codec.syntax.names == "prompt":
            assert (start, end) == (0, 0)
        elif codec.syntax.names == "before" or "{" not in text:  # JSON has escapes
            written = text[start:end]
            assert names.find(written) == label or near[written] == names[label]
        # The name stands before its boxes, or behind its box.
        assert codec.syntax.names == "prompt" or (end <= spans[0, 0]) == (start < spans[0, 0])
    numbers = np.array(values).reshape(count, -1) if count else np.zeros((0, codec.syntax.count))
    np.testing.assert_array_equal(codec.coordinates.to_shapes(numbers, SIZE, None), decoded.shapes)
    return decoded


@pytest.mark.each_syntax
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_texts_like_its_own(codec: Codec, names: ClassNames, texts: SearchStrategy[str], data: st.DataObject) -> None:
    check(codec, names, data.draw(texts), data.draw(st.sampled_from([None, 0.3, 0.8])))


@pytest.mark.each_syntax
@settings(max_examples=6)
@given(text=st.text(max_size=60))
def test_texts_unlike_its_own(codec: Codec, names: ClassNames, text: str) -> None:
    check(codec, names, text)


@pytest.mark.slow
@pytest.mark.each_syntax
@MANY
@given(data=st.data())
def test_many_texts(codec: Codec, names: ClassNames, texts: SearchStrategy[str], data: st.DataObject) -> None:
    check(codec, names, data.draw(texts), data.draw(st.sampled_from([None, 0.3, 0.8])))


def test_places_are_right_beside_any_characters(codec: Codec, names: ClassNames, valid: str) -> None:
    """Where nothing but what stands around the text is new, all that is found is moved by its length."""
    plain = check(codec, names, valid)
    for before, behind in itertools.product(("", "😀é\n", "\ud83d ", "1 ", "(a) "), ("", " 😀", "</s>\ud83d")):
        if before and codec.syntax.names == "before" and codec.syntax.name_may_grow:
            before += "<s>" if codec.name != "plain" else ";"  # else it would be part of the first name
        if codec.syntax.names == "after" and codec.syntax.name_may_grow:
            end = " ; " if codec.name == "paligemma" else "\n"
            before, behind = before and before + end, behind and end + behind
        moved = check(codec, names, before + valid + behind)
        np.testing.assert_array_equal(moved.labels, plain.labels)
        np.testing.assert_array_equal(moved.shapes, plain.shapes)
        np.testing.assert_array_equal(moved.number_spans, plain.number_spans + len(before))
        if codec.syntax.names != "prompt":
            np.testing.assert_array_equal(moved.label_spans, plain.label_spans + len(before))


@pytest.mark.parametrize(
    "name, text, names, labels, numbers",
    [
        (
            "florence2",
            "</s><s>渔船 é<loc_1><loc_2><loc_1><loc_4><loc_3><loc_4><loc_3><loc_2></s>",
            ["渔船 é"],
            ["渔船 é"],
            "<loc_1> <loc_2> <loc_1> <loc_4> <loc_3> <loc_4> <loc_3> <loc_2>",
        ),
        ("allseeing", "<ref> 😀 </ref><box>[[1, 2, 1, 4, 3, 4, 3, 2]]</box>", ["😀"], ["😀"], "1 2 1 4 3 4 3 2"),
        ("cogvlm", "\ud83d [[001,002,003,004]]", ["\ud83d"], ["\ud83d"], "001 002 003 004"),
        ("gemini", '[{"label": "\\ud83d\\ude00", "box_2d": [1, 2, 3, 4]}]', ["😀"], ["\\ud83d\\ude00"], "1 2 3 4"),
        ("gemini", '[{"box_2d": [1, 2, 3, 4], "label": "a\\"b"}]', ['a"b'], ['a\\"b'], "1 2 3 4"),
        ("paligemma", "<loc0001><loc0002><loc0003><loc0004>  tug \n;", ["tug"], ["tug"], None),
        ("rscovlm", "1,2,-3,4.5,5,6,7,8  small 船 \n", ["small 船"], ["small 船"], "1 2 -3 4.5 5 6 7 8"),
        ("falcon", "<quad><1><2><1><4><3><4><3><2></quad>", ["a"], [""], "<1> <2> <1> <4> <3> <4> <3> <2>"),
        (
            "qwen2-vl",
            "<|object_ref_start|> Small_Vehicle <|object_ref_end|><|box_start|>( 1 ,2), (3,\n4 )<|box_end|>",
            ["small-vehicle"],
            ["Small_Vehicle"],
            "1 2 3 4",
        ),
        (
            "skysensegpt",
            "There are 1 large_vehicles in the image:<rbox>({<1.00><2.00><3.00><4.00>|<5>})</rbox>",
            ["large-vehicle"],
            ["large_vehicle"],
            "1.00 2.00 3.00 4.00 5",
        ),
    ],
)
def test_places(name: str, text: str, names: list[str], labels: list[str], numbers: str | None) -> None:
    codec = codecs.get(name, **({"style": "plain"} if name == "rscovlm" else {}))
    decoded = codec.decode(text, ClassNames(names), SIZE, on_invalid="raise")
    assert [text[a:b] for a, b in decoded.label_spans] == labels
    assert [text[a:b] for a, b in decoded.number_spans[0]] == (
        numbers.split() if numbers else ["<loc0001>", "<loc0002>", "<loc0003>", "<loc0004>"]
    )


# Work.


def work(codec: Codec, names: ClassNames, unit: str, length: int, **options: Any) -> int:
    text = (unit * (length // len(unit) + 1))[:length]
    return calls(lambda: codec.decode(text, names, SIZE, on_invalid="ignore", **options))


def assert_linear(codec: Codec, names: ClassNames, unit: str, length: int, **options: Any) -> None:
    """Eight times as long may not take much more than eight times the work."""
    long, short = (work(codec, names, unit, n, **options) for n in (8 * length, length))
    assert long < 10 * short + 100, (unit, short, long)


UNITS = ["<", "1,", "There are 1 ", "{", "[", '"', "1", " ", "a ", "`", '{"label": "', '"bbox_2d": [1, ', "</", "[[1"]


@pytest.mark.each_syntax
def test_work_is_linear(codec: Codec, names: ClassNames, valid: str) -> None:
    """Of signs that begin something, and of beginnings of the codec's own texts."""
    for unit in (*UNITS[:3], *(valid[:end] for end in range(3, len(valid), 1 + len(valid) // 3)), valid):
        assert_linear(codec, names, unit, 250)


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.each_syntax
@pytest.mark.parametrize("unit", sampled([*UNITS, 0.1, 0.25, 0.5, 0.9, 1.0], [UNITS[0], 0.5]))
def test_long_texts_come_to_an_end(codec: Codec, names: ClassNames, valid: str, unit: str | float) -> None:
    """300,000 characters, a second's work: what a regular expression does inside has no count, but squared it is hours.

    A number stands for so much of a valid text.
    """
    unit = valid[: 1 + int(unit * (len(valid) - 1))] if isinstance(unit, float) else unit
    codec.decode((unit * (300_000 // len(unit) + 1))[:300_000], names, SIZE, on_invalid="ignore")


@pytest.mark.parametrize("unit", ["ship ", "sh<loc_1>", "a", "ab<"])
def test_work_is_linear_with_near_names(unit: str) -> None:
    names = ClassNames([f"class {i}" for i in range(18)])
    assert_linear(codecs.get("florence2"), names, unit, 2_000, near_match=0.8)


def test_memory_is_that_of_the_text(codec: Codec, names: ClassNames) -> None:
    """Numbers of very many digits are no numbers: nothing is made of them."""
    for text in ("9" * 100_000, "[" + "9" * 100_000 + "]", "<loc_" + "9" * 100_000 + ">"):
        assert check(codec, names, text).status in ("failed", "truncated")
