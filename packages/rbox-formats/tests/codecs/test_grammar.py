"""One regular expression for each codec: it matches what is written, and what it matches is read."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rbox_formats import ClassNames, codecs
from rbox_formats.codecs import Codec
from rbox_formats.datasets import dota
from rbox_formats.errors import CodecError

SIZE = (1000, 500)

boxes = st.lists(
    st.tuples(
        st.floats(-300, 1300), st.floats(-300, 800), st.floats(0, 1500), st.floats(0, 1500), st.floats(-1.6, 1.6)
    ),
    max_size=6,
)


@settings(max_examples=4)
@given(values=boxes)
def test_it_matches_what_is_written(codec: Codec, names: ClassNames, values: list[tuple[float, ...]]) -> None:
    """Of boxes in and around the image; what is written is read in full, in the order that `order` says."""
    shapes, labels = np.array(values).reshape(-1, 5), np.arange(len(values)) % len(names)
    text = codec.encode(shapes, labels, names, SIZE)
    assert re.fullmatch(codec.grammar(names), text)
    decoded = codec.decode(text, names, SIZE, on_invalid="raise")
    order = codec.order(shapes, labels, names, SIZE)
    assert decoded.status == ("boxes" if len(order) else "empty")
    assert decoded.labels.tolist() == labels[order].tolist()


@pytest.mark.each_syntax
@settings(max_examples=1, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_what_it_matches_is_read(codec: Codec, names: ClassNames, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(re.compile(codec.grammar(names)), fullmatch=True).filter(lambda t: len(t) < 5000))
    decoded = codec.decode(text, names, SIZE, on_invalid="raise")
    assert decoded.status == ("empty" if text in ("", codec.empty_answer) else "boxes")
    assert decoded.rejected == ()


@pytest.mark.slow
@pytest.mark.each_syntax
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_much_that_it_matches_is_read(codec: Codec, names: ClassNames, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(re.compile(codec.grammar(names)), fullmatch=True).filter(lambda t: len(t) < 5000))
    assert codec.decode(text, names, SIZE, on_invalid="raise").status in ("boxes", "empty")


def test_it_matches_no_other_name_and_no_broken_text(codec: Codec, names: ClassNames, valid: str) -> None:
    grammar = re.compile(codec.grammar(names))
    assert grammar.fullmatch(valid)
    if not codec.one_class:
        assert not grammar.fullmatch(valid.replace("ship", "shop"))
        assert not grammar.fullmatch(valid.replace("a+b (c).d|e*", "aab (c)_d"))
    for at in range(1, len(valid)):
        cut = valid[:at]
        if grammar.fullmatch(cut):
            assert codec.decode(cut, names, SIZE, on_invalid="raise").status == "boxes"


@pytest.mark.parametrize(
    "name, options, inside, outside",
    [
        # (what a number may be, what it may not be), in the place of the 7s.
        ("florence2", {}, ["0", "9", "10", "999"], ["1000", "00", "07", "-1", "7.0", ""]),
        ("falcon", {}, ["0", "1000"], ["1001", "2000", "-1"]),
        ("paligemma", {}, ["0000", "0007", "1023"], ["1024", "7", "007", "2000"]),
        ("kosmos2", {}, ["0000", "1023"], ["1024", "7"]),
        ("cogvlm", {}, ["000", "999"], ["7", "07", "1000"]),
        ("shikra", {}, ["0.000", "0.999", "1.000"], ["1.001", "1", "0.1", "2.000", "-0.100"]),
        ("rex-omni", {}, ["0", "999"], ["1000"]),
        ("qwen2-vl", {}, ["0", "1000"], ["1001"]),
        ("teochat", {}, ["0", "99", "100"], ["101", "200"]),
        ("vrsbench", {"version": "hbb"}, ["-5", "0", "102"], ["1000000", "--5", "5.0"]),
        ("plain", {"decimals": 1}, ["0.0", "999.9", "1000.0"], ["1000", "1000.1", "5"]),
    ],
)
def test_it_holds_the_numbers_to_their_limits(
    name: str, options: dict[str, Any], inside: list[str], outside: list[str]
) -> None:
    codec, names = codecs.get(name, **options), ClassNames(["ship"])
    text = codec.encode(np.array([[500.0, 250, 80, 40, 0.0]]), np.array([0]), names, SIZE)
    (start, end) = codec.decode(text, names, SIZE).number_spans[0, 1]
    before, behind = codec.syntax.token
    for numbers, matches in ((inside, True), (outside, False)):
        for number in numbers:
            other = text[: start + before] + number + text[end - behind :]
            assert bool(re.fullmatch(codec.grammar(names), other)) is matches, other


@pytest.mark.parametrize(
    "name, angle, matches",
    [
        *(("geochat", angle, True) for angle in (1, 89, 90)),
        *(("geochat", angle, False) for angle in (91, 180, -1)),
        *(("vrsbench", angle, True) for angle in (-90, -1, 0, 89)),
        *(("vrsbench", angle, False) for angle in (90, -91, 360)),
    ],
)
def test_it_holds_the_angle_to_its_range(name: str, angle: int, matches: bool) -> None:
    text = {"geochat": "<p>ship</p> {{<1><2><3><4>|<{}>}}", "vrsbench": "{{<1><2><3><4>|<{}>}}"}[name].format(angle)
    assert bool(re.fullmatch(codecs.get(name).grammar(ClassNames(["ship"])), text)) is matches


def test_it_needs_a_class() -> None:
    with pytest.raises(CodecError, match="expected at least one class name"):
        codecs.get("florence2").grammar(ClassNames([]))


# The engine that guides generation by it.


def compiled(grammar: str, *pieces: str) -> tuple[Any, dict[str, list[int]]]:
    """The grammar's automaton over single characters and these pieces, and the number of each."""
    engine = pytest.importorskip("outlines_core")
    tokens = {piece: [i] for i, piece in enumerate(dict.fromkeys([*map(chr, range(32, 127)), "\n", "\t", *pieces]))}
    return engine.Index(grammar, engine.Vocabulary(len(tokens), tokens)), tokens


def test_an_engine_compiles_it_and_takes_what_is_written(codec: Codec, names: ClassNames, valid: str) -> None:
    """Up to where the text could end: outlines-core 0.2 lets nothing follow there."""
    index, tokens = compiled(codec.grammar(names, at_least_one=True))
    state = index.get_initial_state()
    end = 0
    while not index.is_final_state(state):
        state = index.get_next_state(state, tokens[valid[end]][0])
        end += 1
        assert state is not None, valid[:end]
    assert re.fullmatch(codec.grammar(names), valid[:end])


@pytest.mark.parametrize("version, most", [(1, 280), (2, 380), (3, 380)])
def test_florence2_has_few_states(version: int, most: int) -> None:
    """Some ten for each number of a quad, one for each letter of a name; version 2 has a second quad, behind <sep>."""
    codec = codecs.get("florence2", version=version)
    index, _ = compiled(codec.grammar(dota.V1_0, at_least_one=True), *codec.added_tokens)
    assert 150 < len(index.get_transitions()) < most
