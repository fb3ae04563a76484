"""Texts that arrive in pieces: the same boxes as from the whole text, each as soon as it is complete."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from rbox_formats import ClassNames, codecs
from rbox_formats.codecs import Codec, Decoded, StreamedBox
from rbox_testing.work import calls

SIZE = (1000, 500)
FEW = settings(max_examples=2, suppress_health_check=[HealthCheck.too_slow])


def assert_same(streamed: Decoded, whole: Decoded) -> None:
    """In every field."""
    assert streamed.status == whole.status
    assert streamed.rejected == whole.rejected
    assert streamed.near_matches == whole.near_matches
    for field in ("shapes", "labels", "label_spans", "number_spans", "boxes"):
        np.testing.assert_array_equal(getattr(streamed, field), getattr(whole, field), err_msg=field)


def assert_boxes_of(boxes: list[StreamedBox], whole: Decoded) -> None:
    """That these are the first ones of a whole text."""
    assert len(boxes) <= len(whole.labels)
    for i, found in enumerate(boxes):
        np.testing.assert_allclose(found.box, whole.boxes[i], atol=1e-9)
        if whole.quads is None:
            assert found.quad is None
        else:
            np.testing.assert_array_equal(found.quad, whole.quads[i])
        assert found.label == whole.labels[i]
        assert list(found.label_span) == whole.label_spans[i].tolist()
        np.testing.assert_array_equal(found.number_spans, whole.number_spans[i])


def check(
    codec: Codec, names: ClassNames, chunks: list[str], near_match: float | None = None
) -> list[list[StreamedBox]]:
    """Feeds the chunks and compares with the whole; returns the boxes of each chunk."""
    whole = codec.decode("".join(chunks), names, SIZE, on_invalid="ignore", near_match=near_match)
    stream = codec.stream(names, SIZE, near_match=near_match)
    given_so_far = [stream.feed(chunk) for chunk in chunks]
    assert_boxes_of(list(itertools.chain(*given_so_far)), whole)
    assert_same(stream.close(), whole)
    assert stream.feed("anything") == []
    assert_same(stream.close(), whole)
    return given_so_far


def cut(text: str, places: list[int]) -> list[str]:
    ends = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(ends)]


@pytest.mark.each_syntax
@FEW
@given(data=st.data())
def test_any_chunks_of_any_text(
    codec: Codec, names: ClassNames, texts: SearchStrategy[str], data: st.DataObject
) -> None:
    text = data.draw(texts)
    places = data.draw(st.lists(st.integers(0, 400), max_size=12))
    check(codec, names, cut(text, places))
    check(codec, names, cut(text, places), near_match=0.5)


@pytest.mark.each_syntax
@FEW
@given(data=st.data())
def test_character_by_character(
    codec: Codec, names: ClassNames, texts: SearchStrategy[str], data: st.DataObject
) -> None:
    check(codec, names, list(data.draw(texts)))


@pytest.mark.slow
@pytest.mark.each_syntax
@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_chunks_of_very_many_texts(
    codec: Codec, names: ClassNames, texts: SearchStrategy[str], data: st.DataObject
) -> None:
    text = data.draw(texts)
    check(codec, names, cut(text, data.draw(st.lists(st.integers(0, 400), max_size=12))))
    check(codec, names, list(text))


@pytest.mark.each_syntax
def test_each_box_comes_with_the_character_that_completes_it(codec: Codec, names: ClassNames, valid: str) -> None:
    """As many as the text so far would give, but where a name behind a box could go on."""
    given_so_far = check(codec, names, list(valid))
    counts = np.cumsum([len(boxes) for boxes in given_so_far])
    if codec.name == "paligemma" or codec.to_dict().get("style") == "plain":
        ends = [i for i, character in enumerate(valid) if character in ";\n"]
        assert [i for i, boxes in enumerate(given_so_far) if boxes] == ends
        return
    assert counts[-1] == 5
    for end, count in enumerate(counts, start=1):
        if given_so_far[end - 1]:
            before, now = (codec.decode(valid[:at], names, SIZE, on_invalid="ignore").labels for at in (end - 1, end))
            assert (len(before), len(now)) == (count - 1, count)


@pytest.mark.each_syntax
def test_nothing_counts_behind_the_end(codec: Codec, names: ClassNames, valid: str) -> None:
    for end in ("</s>", "<|im_end|>", "<end_of_turn>", "<end_of_utterance>", "<|user|>", "</answer>"):
        for chunks in ([valid + end + valid], [valid + end[:2], end[2:] + valid], [valid, *end, valid]):
            given_so_far = check(codec, names, chunks)
            assert sum(map(len, given_so_far)) == 5


@pytest.mark.each_syntax
def test_the_end_may_come_within_a_box(codec: Codec, names: ClassNames, valid: str) -> None:
    for at in range(0, len(valid), 37):
        text = valid[:at] + "</s>" + valid[at:]
        check(codec, names, [text[: at + 2], text[at + 2 :]])


def test_nothing_at_all(codec: Codec, names: ClassNames) -> None:
    for chunks in ([], [""], ["", " ", ""]):
        check(codec, names, chunks)
        assert codec.stream(names, SIZE).close().status == "empty"


@pytest.mark.parametrize("version", [1, 2, 3])
def test_an_answer_of_none_that_is_cut(version: int) -> None:
    codec, names = codecs.get("florence2", version=version), ClassNames(["ship"])
    for end in range(len("There are none.") + 1):
        check(codec, names, list("There are none."[:end]))


OBJECT = '{"bbox_2d": [1, 2, 30, 40], "label": "ship"}'
INNER = OBJECT.replace('"', '\\"')


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n[\n\t{OBJECT}",
        f"```json\n[\n\t{OBJECT},\n\t{OBJECT}\n]\n```",
        f'[{{"label": "{INNER}", "bbox_2d": [1, 2, 30, 40]}}, {OBJECT}]',
        f'[{{"bbox_2d": [1, 2, 30, 40], "label": "{{"}}, {OBJECT}]',
        f'[{{"bbox_2d": [1, 2, 30, 40], "label": "}}"}}, {OBJECT}]',
        f'[{{"a": {OBJECT}, "bbox_2d": [5, 6, 70, 80], "label": "ship"}}]',
        f"[{{{{{OBJECT}}}}}, [[{OBJECT}]]]",
        f'{{"bbox_2d": [1, 2, 30, 40], "label": "sh{OBJECT}',
        f'[{{"bbox_2d": [1, 2, 30, 40], "bbox_2d": [5, 6, 70, 80], "label": "ship", "label": "plane"}}, {OBJECT}',
        f'{{"label": "\\"label\\": \\"ship\\"", "bbox_2d": [1, 2, 3, 4]}}{OBJECT}',
        '{"note": "\\"bbox_2d\\": [9, 9, 9, 9]", "bbox_2d": [1, 2, 30, 40], "label": "ship"}',
        f'{{"bbox_2d": [1, 2, 30, 40], "label": "ship</s>"}}{OBJECT}',
        f"{OBJECT}<|im_{OBJECT}<|im_end|>{OBJECT}",
        f'{{"label": "\\\\", "bbox_2d": [1, 2, 30, 40]}}{OBJECT}',
    ],
)
def test_objects_within_objects(text: str) -> None:
    codec, names = codecs.get("qwen2.5-vl"), ClassNames(["ship"])
    check(codec, names, list(text))
    for at in range(0, len(text), 5):
        check(codec, names, [text[:at], text[at:]])


@pytest.mark.parametrize(
    "name, text",
    [
        ("allseeing", "<ref>ship</ref><box>[[[[1, 2, 3, 4, 5, 6, 7, 8], [1, 2, [1, 2, 3, 4, 5, 6, 7, 8]]]]</box>"),
        ("internvl", "<ref>ship</ref><box>[[[1, 2, 3, 4]], [1, 2, [5, 6, 7, 8], [[9]]</box>"),
        ("earthdial", "[[[1, 2, 3, 4, 5]]]][[1, 2, [[1, 2, 3, 4, 5]] [ [[1, 2, 3, 4, 5]]"),
        ("teochat", "[[1, 2, 3, 4]], [1, [1, 2, 3, 4], 2]"),
        ("geochat", "<p>ship</p> {{<1><2><3><4>|<5>}}{<1>{<1><2><3><4>|<5>}"),
        ("cogvlm", "ship [[[1,2,3,4]]] [[1,2,[[1,2,3,4;5,6,7,8;9]] ship [[[[1,2,3,4"),
        ("shikra", "ship[0.1,0.2,0.3,0.4;0.1,[0.1,0.2,0.3,0.4;0.5] ship[0.1,0.2,0.3,0.40"),
        ("plain", "ship[[1,2,3,4,5]][1,[1,2,3,4,5];ship;[1,2,3,4,5]"),
        ("kosmos2", "<phrase>ship<object><patch_index_0001><patch_index_0002></delimiter_of_multi_objects/><patch_"),
        ("rscovlm", "1,2,3,4,5,6,7,8 ship\n9,1,2,3,4,5,6,7,8 ship\n1,2,3,4,5,6,7,8 ship yard"),
        ("florence2", "ship" + "<loc_1>" * 8 + "<sep>"),
    ],
)
def test_brackets_within_brackets(name: str, text: str) -> None:
    codec = codecs.get(name, **({"style": "plain"} if name == "rscovlm" else {}))
    check(codec, ClassNames(["ship"]), list(text))
    for at in range(0, len(text), 2):
        check(codec, ClassNames(["ship"]), [text[:at], text[at:]])


def test_no_box_waits_for_long() -> None:
    """Behind many characters without a box, the next one comes an eighth of them later at most."""
    codec, names = codecs.get("plain"), ClassNames(["ship"])
    stream = codec.stream(names, SIZE)
    for character in "no boxes here " * 1000:
        assert stream.feed(character) == []
    late = 0
    for character in ";ship[1,2,3,4,5];" + " " * 14_000:
        if stream.feed(character):
            break
        late += 1
    assert 0 < late < 14_000 / 8 + 20  # 14,000 characters have come before


def work(codec: Codec, names: ClassNames, unit: str, length: int) -> tuple[int, int]:
    """Of a text of a unit over and over, in small chunks: the calls, and the characters that are looked at."""
    text = (unit * (length // len(unit) + 1))[:length]
    looked_at = 0

    def decode() -> None:
        nonlocal looked_at
        stream, looked_at = codec.stream(names, SIZE), 0
        scan = stream._parser.scan

        def counted(text: str, *arguments: Any, **options: Any) -> Any:
            nonlocal looked_at
            looked_at += len(text)
            return scan(text, *arguments, **options)

        stream._parser.scan = counted  # type: ignore[method-assign]
        for at in range(0, length, 16):
            stream.feed(text[at : at + 16])
        stream.close()

    return calls(decode), looked_at


def assert_linear(codec: Codec, names: ClassNames, unit: str) -> None:
    """Eight times as long may not take much more than eight times the work."""
    for short, long in zip(work(codec, names, unit, 1_000), work(codec, names, unit, 8_000), strict=True):
        assert long < 12 * short + 100, (unit, short, long)


@pytest.mark.parametrize("unit", ["words ", "opened"])
@pytest.mark.each_syntax
def test_work_is_linear(codec: Codec, names: ClassNames, valid: str, unit: str) -> None:
    """Of words, and of what begins a text over and over."""
    assert_linear(codec, names, valid[: len(valid) // 8] if unit == "opened" else unit)


@pytest.mark.parametrize("name", ["florence2", "plain", "gemini"])
def test_work_is_linear_in_boxes(name: str) -> None:
    codec, names = codecs.get(name), ClassNames(["ship"])
    assert_linear(codec, names, codec.encode(np.array([[500.0, 250, 80, 40, 0.3]]), np.array([0]), names, SIZE))
