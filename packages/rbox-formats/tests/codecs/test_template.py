"""A box's template as expressions: the one that reads, the one that holds to limits, the one of all beginnings."""

# ruff: noqa: UP031  # templates are in printf's way
from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rbox_formats.codecs import _template as template


@given(st.integers(-1200, 0), st.integers(0, 100_000), st.data())
def test_whole_numbers_within_limits(low: int, high: int, data: st.DataObject) -> None:
    """As printf writes them, and no others."""
    low = 0 if low > -5 else low
    expression = re.compile(template.number_within("%d", low, high))
    number = data.draw(
        st.integers(low - 5, high + 5) | st.sampled_from([low, high, low - 1, high + 1, 0, high // 10, high // 10 * 10])
    )
    assert bool(expression.fullmatch("%d" % number)) is (low <= number <= high)


@given(st.integers(0, 9999), st.integers(0, 10_050))
def test_padded_numbers_within_limits(high: int, number: int) -> None:
    expression = re.compile(template.number_within("%04d", 0, high))
    assert bool(expression.fullmatch("%04d" % number)) is (number <= high)
    assert number > 999 or not expression.fullmatch("%d" % number)


@given(st.integers(-300, 0), st.integers(0, 2000), st.integers(1, 3), st.data())
def test_decimals_within_limits(low: int, high: int, decimals: int, data: st.DataObject) -> None:
    expression = re.compile(template.number_within(f"%.{decimals}f", low, high))
    number = data.draw(st.integers((low - 2) * 10**decimals, (high + 2) * 10**decimals)) / 10**decimals
    assert bool(expression.fullmatch("%.*f" % (decimals, number))) is (low <= number <= high)
    assert not expression.fullmatch("%d" % int(number))
    assert not expression.fullmatch("%.*f" % (decimals + 1, number))


@pytest.mark.parametrize("high", range(0, 1200, 7))
def test_each_number_up_to_a_limit(high: int) -> None:
    expression = re.compile(template.number_within("%d", 0, high))
    assert [n for n in range(1300) if expression.fullmatch(str(n))] == list(range(high + 1))
    for n in range(0, 100, 9):
        assert not expression.fullmatch(f"0{n}")


@pytest.mark.parametrize(
    "slot, low, high, shown",
    [
        ("%d", 0, 999, "(?:[0-9]|[1-9][0-9]|[1-9][0-9]{2})"),
        ("%d", 0, 1000, "(?:[0-9]|[1-9][0-9]|[1-9][0-9]{2}|1000)"),
        ("%03d", 0, 999, "(?:[0-9]{3})"),
        ("%04d", 0, 1023, "(?:0[0-9]{3}|10[0-1][0-9]|102[0-3])"),
        ("%d", 0, 0, "(?:0)"),
    ],
)
def test_expressions_are_short(slot: str, low: int, high: int, shown: str) -> None:
    assert template.number_within(slot, low, high) == shown


TEMPLATES = ["[%d, %d, %d, %d]", "<loc_%d>" * 8, "%03d,%03d,%03d,%03d", "{<%.2f><%.2f>|<%d>}", "(%d,%d),(%d,%d)<|e|>"]


@pytest.mark.parametrize("box", TEMPLATES)
def test_pieces_make_the_template(box: str) -> None:
    literals, slots = template.literals(box), template.slots(box)
    assert len(literals) == len(slots) + 1
    assert literals[0] + "".join(slot + literal for slot, literal in zip(slots, literals[1:], strict=True)) == box
    assert template.pieces(box) == [
        piece for i, literal in enumerate(literals) for piece in ([template.NUMBER] if i else []) + [literal]
    ]


@pytest.mark.parametrize("box", TEMPLATES)
@settings(max_examples=20)
@given(data=st.data())
def test_what_is_written_is_read(box: str, data: st.DataObject) -> None:
    count = len(template.slots(box))
    numbers = data.draw(st.tuples(*[st.integers(0, 999)] * count))
    text = box % numbers
    match = re.fullmatch(template.reading(box, template.READ_ANY), text)
    assert match is not None
    assert [float(number) for number in match.groups()] == list(numbers)
    assert re.fullmatch(template.strict(box, [(0, 999)] * count), text)


@pytest.mark.parametrize(
    "text, numbers",
    [
        ("[1, 2, 3, 4]", ["1", "2", "3", "4"]),
        ("[1,2,3,4]", ["1", "2", "3", "4"]),
        ("[ 1 ,\n2\t,  3,4 ]", ["1", "2", "3", "4"]),
        ("[-1, 2.5, 3., 4]", ["-1", "2.5", "3.", "4"]),
        ("[1, 2, 3, ]", None),
        ("[1, 2, 3, 4", None),
        ("[1 2, 3, 4]", None),
        ("[1, 2, 3, 1e3]", None),
        ("[1, 2, 3, 1234567890]", None),
        ("[1, 2, 3, +4]", None),
        ("[1, 2, 3, ４]", None),
        ("[1, 2, 3, .4]", None),
    ],
)
def test_spaces_around_numbers_are_read(text: str, numbers: list[str] | None) -> None:
    match = re.fullmatch(template.reading("[%d, %d, %d, %d]", template.READ_ANY), text)
    assert (list(match.groups()) if match else None) == numbers


@pytest.mark.parametrize("text", ["<loc_ 1><loc_2>", "<loc_1 ><loc_2>", "<loc _1><loc_2>", "< loc_1><loc_2>"])
def test_no_spaces_within_tokens(text: str) -> None:
    expression = template.reading("<loc_%d><loc_%d>", template.READ_WHOLE)
    assert re.fullmatch(expression, "<loc_1> <loc_2>")
    assert not re.fullmatch(expression, text)


def test_beginnings_are_all_of_them() -> None:
    expression = re.compile(template.beginnings(["a ", template.Pattern("[0-9]+"), "(b)", template.NUMBER, "]"]))
    whole = "a12(b)-3.5]"
    for end in range(len(whole) + 1):
        assert expression.fullmatch(whole[:end])
    for other in ("b", "a(b)", "a12(c", "a12(b)]", "a12(b)3]]", "12"):
        assert not expression.fullmatch(other)


@given(st.text())
def test_escaping(text: str) -> None:
    assert re.fullmatch(template.escape(text), text)
