"""The florence2 text: the facts of its source, broken answers, and round trips."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rbox_formats import ClassNames, codecs, quad_to_rbox, rbox_to_quad
from rbox_formats.codecs import Decoded, DecodeWarning
from rbox_formats.errors import CodecError
from rbox_testing.work import calls

NAMES = ClassNames(["ship", "plane", "small-vehicle", "Roundabout"])
SIZE = (1024, 1024)
V2 = codecs.get("florence2")


def locs(*bins: int) -> str:
    return "".join(f"<loc_{b}>" for b in bins)


QUAD = locs(10, 20, 10, 40, 50, 40, 50, 20)
OTHER = locs(110, 20, 110, 40, 150, 40, 150, 20)


def decode(text: str, **options: object) -> Decoded:
    return V2.decode(text, NAMES, SIZE, on_invalid="ignore", **options)  # type: ignore[arg-type]


# What is in the facts about LMMRotate.


def test_a_bin_is_read_as_its_centre() -> None:
    """The source's own example: bin 135 of 1024 px is 138.752."""
    quads = decode("ship" + locs(135, 777, 135, 790, 150, 790, 150, 777)).quads
    assert quads is not None
    assert quads[0, 0].tolist() == pytest.approx([138.752, 777.5 * 1.024])


def test_corners_go_counter_clockwise_from_the_topmost_then_leftmost() -> None:
    clockwise = np.array([[[300.0, 300.0], [100.0, 300.0], [100.0, 200.0], [300.0, 200.0]]])
    text = V2.encode(clockwise, np.array([0]), NAMES, (1000, 1000))
    assert text == "ship" + locs(100, 200, 100, 300, 300, 300, 300, 200)


def test_classes_by_name_then_boxes_by_row_and_column() -> None:
    """Sorted by code point with '-' as ' ': capitals first; written in lower case."""
    corners = {name: np.array([[x, y], [x, y + 5], [x + 5, y + 5], [x + 5, y]]) for name, x, y in _PLACES}
    quads = np.stack(list(corners.values())).astype(float)
    labels = np.array([0, 0, 0, 1, 2, 3])
    text = V2.encode(quads, labels, NAMES, (1000, 1000))
    order = ["roundabout", "plane", "ship a", "ship b", "ship c", "small vehicle"]
    square = {name: locs(x, y, x, y + 5, x + 5, y + 5, x + 5, y) for name, x, y in _PLACES}
    ships = "<sep>".join(square[name] for name in order[2:5])
    assert text == (
        f"roundabout{square['roundabout']}plane{square['plane']}ship{ships}small vehicle{square['small vehicle']}"
    )
    np.testing.assert_array_equal(V2.order(quads, labels, NAMES, (1000, 1000)), [5, 3, 1, 2, 0, 4])


_PLACES = [
    ("ship c", 10, 90),
    ("ship a", 90, 10),
    ("ship b", 10, 50),
    ("plane", 1, 1),
    ("small vehicle", 0, 0),
    ("roundabout", 500, 500),
]


def test_corners_outside_are_clamped_one_by_one() -> None:
    quad = np.array([[[-50.0, 500.0], [-50.0, 600.0], [2000.0, 600.0], [2000.0, 500.0]]])
    text = V2.encode(quad, np.array([0]), NAMES, (1000, 1000))
    assert text == "ship" + locs(0, 500, 0, 600, 999, 600, 999, 500)


def test_axes_have_bins_of_their_own() -> None:
    quad = np.array([[[1000.0, 0.0], [1000.0, 250.0], [1999.0, 250.0], [1999.0, 0.0]]])
    assert V2.encode(quad, np.array([0]), NAMES, (2000, 500)) == "ship" + locs(500, 0, 500, 500, 999, 500, 999, 0)


@pytest.mark.parametrize("version, between, empty", [(1, "", ""), (2, "<sep>", ""), (3, "<sep>", "There are none.")])
def test_versions(version: int, between: str, empty: str) -> None:
    codec = codecs.get("florence2", version=version)
    quads = decode("ship" + QUAD + "<sep>" + OTHER).quads
    assert quads is not None
    assert codec.encode(quads, np.array([0, 0]), NAMES, SIZE) == "ship" + QUAD + between + OTHER
    assert codec.encode(np.zeros((0, 5)), np.zeros(0, dtype=np.int64), NAMES, SIZE) == empty
    assert codec.empty_answer == (empty or None)


# Texts that are not as they should be: boxes that come out, status, reasons.

TABLE = {
    "": (0, "empty", []),
    "</s>": (0, "empty", []),
    "<s></s><pad><pad>": (0, "empty", []),
    "There are none.": (0, "empty", []),
    "There are none.</s>": (0, "empty", []),
    "ship" + QUAD: (1, "boxes", []),
    "<s>ship" + QUAD + "</s><pad>": (1, "boxes", []),
    "ship " + QUAD.replace("><", "> <"): (1, "boxes", []),  # a tokenizer that puts spaces between special tokens
    "ship" + QUAD + OTHER: (2, "boxes", []),  # version 1 has no separator
    "ship" + QUAD + "<sep><sep>" + OTHER + "<sep></s>": (2, "boxes", []),
    "ship" + QUAD + locs(1, 2, 3, 4, 5): (1, "truncated", ["5 coordinates"]),
    "ship" + QUAD + "<sep>": (1, "truncated", []),
    "ship" + QUAD + "<loc_1><lo": (1, "truncated", ["1 coordinates", "cut short"]),
    "ship" + QUAD + "large veh": (1, "boxes", ["name without"]),
    "ship" + QUAD + "small veh": (1, "truncated", ["name without"]),
    "ship" + QUAD + "small veh</s>": (1, "boxes", ["name without"]),
    "small v": (0, "truncated", ["name without"]),
    "ship" + locs(1, 2, 3, 4, 5, 6, 7) + "<sep>" + QUAD: (1, "boxes", ["7 coordinates"]),
    "ship" + QUAD + "<sep>" + locs(1, 2, 3) + "plane" + OTHER: (2, "boxes", ["3 coordinates"]),
    "ship" + QUAD + locs(9): (1, "truncated", ["1 coordinates"]),
    "ship" + QUAD + locs(9) + "</s>": (1, "boxes", ["1 coordinates"]),
    "ship" + locs(1, 2, 3, 4, 5, 6, 7, 1500) + QUAD: (1, "boxes", ["the number 1500, which is not in 0 to 999"]),
    "ship" + locs(1, 2, 3) + "<loc_x>" + QUAD: (1, "boxes", ["3 coordinates", "unknown tag"]),
    "tram" + QUAD + "ship" + OTHER: (1, "boxes", ["unknown class 'tram'"]),
    QUAD + "ship" + OTHER: (1, "boxes", ["without a class name"]),
    "ship" + QUAD + "There are none.": (1, "boxes", ["name without"]),
    "I see a harbour.": (0, "failed", ["name without"]),
    locs(1, 2, 3): (0, "failed", ["without a class name"]),
    "<loc_99999999999999999999>": (0, "failed", ["unknown tag"]),
    "<<<>>": (0, "failed", ["cut short", "cut short", "unknown tag", "name without"]),
    "ship" + "<loc_１>" * 8: (0, "failed", ["name without", *["unknown tag"] * 8]),  # digits, but not ours
}


@pytest.mark.parametrize("text", TABLE, ids=lambda text: repr(text)[:60])
def test_broken_texts(text: str) -> None:
    boxes, status, reasons = TABLE[text]
    decoded = decode(text)
    assert len(decoded.boxes) == len(decoded.labels) == len(decoded.number_spans) == boxes
    assert decoded.status == status
    assert len(decoded.rejected) == len(reasons)
    for piece, reason in zip(decoded.rejected, reasons, strict=True):
        assert reason in piece.reason
        assert 0 <= piece.start < piece.end <= len(text)


def test_what_is_wrong_can_warn_or_raise() -> None:
    text = "ship" + QUAD + "<sep>" + locs(1, 2, 3) + "</s>"
    with pytest.warns(DecodeWarning, match="3 coordinates where a box has 8"):
        V2.decode(text, NAMES, SIZE)
    start = text.index("<sep>") + 5
    with pytest.raises(CodecError, match=f"at characters {start} to {start + 21}"):
        V2.decode(text, NAMES, SIZE, on_invalid="raise")


def test_near_names_are_taken_only_when_asked_for_and_said() -> None:
    text = "shop" + QUAD
    assert decode(text).labels.tolist() == []
    assert decode(text, near_match=0.8).labels.tolist() == []  # 3 letters of 4 are the same
    near = decode(text, near_match=0.7)
    assert near.labels.tolist() == [0]
    assert near.near_matches == (("shop", "ship"),)
    with pytest.warns(DecodeWarning, match="'shop' for 'ship'"):
        V2.decode(text, NAMES, SIZE, near_match=0.7)


def test_near_names_are_said_only_where_a_box_was_taken() -> None:
    assert decode("shop" + locs(1, 2, 3), near_match=0.7).near_matches == ()


def test_what_cannot_be_written_is_refused() -> None:
    box = np.array([[50.0, 50, 20, 10, 0]])
    with pytest.raises(CodecError, match="expected class names without '<'"):
        V2.encode(box, np.array([0]), ClassNames(["a<b"]), SIZE)
    with pytest.raises(CodecError, match=r"expected finite boxes, got .*nan"):
        V2.encode(box * np.nan, np.array([0]), NAMES, SIZE)


def test_spans_are_of_the_names_and_of_each_coordinate() -> None:
    text = "<s> ship" + QUAD + "<sep>" + OTHER + "small vehicle" + QUAD + "</s>"
    decoded = decode(text)
    assert [text[a:b] for a, b in decoded.label_spans] == ["ship", "ship", "small vehicle"]
    assert [text[a:b] for a, b in decoded.number_spans[1]] == [
        f"<loc_{b}>" for b in (110, 20, 110, 40, 150, 40, 150, 20)
    ]


@given(st.text(alphabet="<>loc_sep/ 0123456789shiplane\n", max_size=200))
def test_no_text_breaks_decoding(text: str) -> None:
    decoded = decode(text)
    assert len(decoded.boxes) == len(decoded.labels) == len(decoded.label_spans)


@pytest.mark.parametrize("unit", ["<", "<loc_1>", "<loc_1", "ship<", "<sep>", "a ", "<loc_1> " * 7 + "<sep>"])
def test_work_is_linear(unit: str) -> None:
    """A text eight times as long may not take much more than eight times the work."""
    short, long = (calls(partial(decode, unit * repeats)) for repeats in (500, 4_000))
    assert long < 10 * short + 100


boxes_in_image = st.lists(
    st.tuples(st.floats(300, 700), st.floats(300, 700), st.floats(20, 300), st.floats(10, 200), st.floats(-1.5, 1.5)),
    min_size=1,
    max_size=6,
)


@given(boxes_in_image, st.integers(1, 3))
def test_round_trip(values: list[tuple[float, ...]], version: int) -> None:
    """Every corner comes back within half a bin, in the order that `order` says."""
    codec = codecs.get("florence2", version=version)
    boxes = np.array(values)
    labels = np.arange(len(boxes)) % len(NAMES)
    text = codec.encode(boxes, labels, NAMES, (1000, 1000))
    decoded = codec.decode(text, NAMES, (1000, 1000), on_invalid="raise")
    order = codec.order(boxes, labels, NAMES, (1000, 1000))
    assert decoded.status == "boxes"
    assert decoded.labels.tolist() == labels[order].tolist()
    for ours, theirs in zip(decoded.quads, rbox_to_quad(boxes[order]), strict=True):
        distances = np.abs(ours[:, None] - theirs[None]).max(axis=-1)
        assert distances.min(axis=1).max() <= 0.5 + 1e-9


def test_the_box_of_a_quad_is_its_least_rectangle() -> None:
    decoded = decode("ship" + locs(10, 20, 0, 30, 20, 50, 30, 40))
    np.testing.assert_allclose(decoded.boxes, quad_to_rbox(decoded.quads))
    rectangle = shapely.Polygon(decoded.quads[0]).minimum_rotated_rectangle
    assert decoded.boxes[0, 2] * decoded.boxes[0, 3] == pytest.approx(rectangle.area)


def test_a_codec_travels_as_json() -> None:
    codec = codecs.get("florence2", version=3)
    assert codecs.from_dict(json.loads(json.dumps(codec.to_dict()))) == codec
    with pytest.raises(AttributeError):
        codec.version = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "name, options",
    [("florence3", {}), ("florence2", {"version": 4}), ("florence2", {"bins": 3}), ("florence2", {"name": "x"})],
)
def test_unknown_codecs_and_options(name: str, options: dict[str, int]) -> None:
    with pytest.raises(CodecError, match="expected"):
        codecs.get(name, **options)


def test_added_tokens_are_the_coordinates_and_the_separator() -> None:
    assert len(V2.added_tokens) == 1001
    assert V2.added_tokens[7] == "<loc_7>"
    assert V2.added_tokens[-1] == "<sep>"
