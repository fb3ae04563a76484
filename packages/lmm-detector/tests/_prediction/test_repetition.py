"""Boxes that repeat an earlier one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmm_detector._prediction._repetition import Repeat, find_repeats, without_repeats
from rbox_formats import ClassNames, codecs

NAMES = ClassNames(["ship", "plane"])
SIZE = (1000, 1000)

QUAD = "<loc_1><loc_2><loc_3><loc_4><loc_5><loc_6><loc_7><loc_8>"
OTHER = QUAD.replace("<loc_8>", "<loc_9>")


def test_of_a_text() -> None:
    text = f"ship{QUAD}<sep>{OTHER}<sep>{QUAD}plane{QUAD}ship{OTHER}<sep>{QUAD}<loc_1>"
    decoded = codecs.get("florence2").decode(text, NAMES, SIZE, on_invalid="ignore")
    kept, repeats = without_repeats(decoded)
    assert repeats == (Repeat(2, 0), Repeat(4, 1), Repeat(5, 0))
    assert kept.labels.tolist() == [0, 0, 1]
    assert kept.quads is not None
    np.testing.assert_array_equal(kept.quads, decoded.shapes[[0, 1, 3]])
    np.testing.assert_array_equal(kept.label_spans, decoded.label_spans[[0, 1, 3]])
    np.testing.assert_array_equal(kept.number_spans, decoded.number_spans[[0, 1, 3]])
    assert kept.status == decoded.status
    assert len(kept.boxes) == 3
    # They stand among what was rejected, in the order of the text.
    assert [(text[a:b], why) for a, b, why in kept.rejected] == [
        (QUAD, "a box that repeats box 0"),
        (OTHER, "a box that repeats box 1"),
        (QUAD, "a box that repeats box 0"),
        *((text[a:b], why) for a, b, why in decoded.rejected),
    ]
    assert len(decoded.rejected) == 1


def test_a_text_without_repeats_is_left_alone() -> None:
    decoded = codecs.get("florence2").decode(f"ship{QUAD}<sep>{OTHER}plane{QUAD}", NAMES, SIZE)
    assert without_repeats(decoded) == (decoded, ())


@pytest.mark.parametrize("name", [name for name in codecs.CODECS if name != "skysensegpt"])
def test_of_every_codec(name: str) -> None:
    """The same boxes are written twice, and the first ones are kept."""
    codec = codecs.get(name)
    names = ClassNames(["ship"]) if codec.one_class else NAMES
    boxes = np.array([[300.0, 200, 80, 40, 0.2], [600, 700, 120, 40, 1.0]])
    labels = np.array([0, len(names) - 1])
    once = codec.decode(codec.encode(boxes, labels, names, SIZE), names, SIZE)
    twice = codec.decode(codec.encode(np.tile(boxes, (2, 1)), np.tile(labels, 2), names, SIZE), names, SIZE)
    kept, repeats = without_repeats(twice)
    assert len(twice.labels) == 4
    assert repeats == (Repeat(1, 0), Repeat(3, 2))
    np.testing.assert_array_equal(kept.shapes, once.shapes)
    np.testing.assert_array_equal(kept.labels, once.labels)


rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), max_size=12)


@given(rows=rows)
def test_each_box_is_kept_once_and_first(rows: list[tuple[int, int]]) -> None:
    shapes = np.array([[x, 1.0, 2, 1, 0] for x, _ in rows], dtype=np.float64).reshape(-1, 5)
    repeats = find_repeats(shapes, np.array([label for _, label in rows], dtype=np.int64))
    assert [(i, rows.index(row)) for i, row in enumerate(rows) if rows.index(row) != i] == list(repeats)
