"""Angles and coordinates against OpenCV, the formats' own code where it is installed, and values worked by hand."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rbox_formats import ClassNames, codecs, rbox_to_hbox, rbox_to_quad

NAMES = ClassNames(["ship"])
LABEL = np.zeros(1, dtype=np.int64)
SIZE = (1000, 1000)

# The angle of a box 100 long and 50 wide, clockwise, in degrees, and what is written of it: the angle, and whether w
# is the long side. (0, 90] counter-clockwise, (0, 90] clockwise, [-90, 90) counter-clockwise, [-90, 90) clockwise,
# the same cut off instead of rounded.
ANGLES = [
    (-90.0, (90, True), (90, True), -90, -90, -90),
    (-89.6, (90, True), (90, True), -90, -90, -89),
    (-60.0, (60, True), (30, False), 60, -60, -60),
    (-45.0, (45, True), (45, False), 45, -45, -45),
    (-0.4, (90, False), (90, False), 0, 0, 0),
    (0.0, (90, False), (90, False), 0, 0, 0),
    (0.4, (90, False), (90, False), 0, 0, 0),
    (0.6, (89, False), (1, True), -1, 1, 0),
    (30.0, (60, False), (30, True), -30, 30, 30),
    (45.0, (45, False), (45, True), -45, 45, 45),
    (89.4, (1, False), (89, True), -89, 89, 89),
    (89.6, (90, True), (90, True), -90, -90, 89),
]


def numbers(text: str) -> list[float]:
    """Of the one box in a text, by nothing but their looks."""
    for character in "{}[]<>|,":
        text = text.replace(character, " ")
    return [float(word) for word in text.split() if word.lstrip("-").replace(".", "").isdigit()]


@pytest.mark.parametrize("angle, ccw, cw, le90_ccw, le90_cw, cut_off", ANGLES)
@pytest.mark.parametrize("turn", [-180.0, 0.0, 180.0])
def test_angles_and_their_ends(
    angle: float, ccw: tuple, cw: tuple, le90_ccw: int, le90_cw: int, cut_off: int, turn: float
) -> None:
    box = np.array([[500.0, 500, 100, 50, math.radians(angle + turn)]])

    def written(name: str, **options: Any) -> list[float]:
        return numbers(codecs.get(name, **options).encode(box, LABEL, NAMES, SIZE))

    def by_corners(number: int, long: bool, scale: int = 100) -> list[float]:
        half = np.array([50, 25] if long else [25, 50]) / 1000 * scale
        return [*np.rint(scale / 2 - half), *np.rint(scale / 2 + half), number]

    assert written("geochat") == by_corners(*ccw)
    assert written("earthdial") == by_corners(*ccw)
    assert written("geochat", clockwise=True) == by_corners(*cw)
    w, h = (10, 5) if cw[1] else (5, 10)
    # Its sentence has a number of its own: how many boxes there are.
    assert written("skysensegpt") == [1, 50, 50, w, h, cw[0]]
    assert written("vrsbench", version="obb_v1") == [50, 50, 10, 5, le90_ccw]
    assert written("vrsbench", version="obb_v2") == [45, 47, 55, 52, le90_ccw]
    assert written("plain") == [500, 500, 100, 50, le90_cw]
    assert written("plain", decimals=1) == [500, 500, 100, 50, le90_cw]
    assert written("rscovlm", shape="obb", style="plain") == [500, 500, 100, 50, cut_off]


@pytest.mark.parametrize(
    "angle, oc, le90",
    [(-45.0, 45, -45), (-44.6, 45, -45), (0.0, 90, 0), (30.0, 30, 30), (44.6, 45, -45), (60, 60, -30)],
)
def test_squares(angle: float, oc: int, le90: int) -> None:
    """Squares have no longer side: their angle is in [-45, 45) where the range is half a turn."""
    box = np.array([[500.0, 500, 80, 80, math.radians(angle)]])
    assert numbers(codecs.get("skysensegpt").encode(box, LABEL, NAMES, SIZE))[-1] == oc
    assert numbers(codecs.get("plain").encode(box, LABEL, NAMES, SIZE))[-1] == le90
    assert numbers(codecs.get("vrsbench").encode(box, LABEL, NAMES, SIZE))[-1] == (-le90 if abs(le90) != 45 else -45)


# Which way a positive angle turns, by OpenCV.


def corners(quad: np.ndarray) -> np.ndarray:
    """In an order that does not depend on where they begin."""
    rounded = np.round(quad, 3)
    return rounded[np.lexsort(rounded.T)]


def turned(x1: float, y1: float, x2: float, y2: float, degrees: float) -> np.ndarray:
    """The corners of an upright box, turned about its centre as `cv2.getRotationMatrix2D` does: counter-clockwise."""
    matrix = cv2.getRotationMatrix2D(((x1 + x2) / 2, (y1 + y2) / 2), degrees, 1.0)
    upright = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
    return upright @ matrix[:, :2].T + matrix[:, 2]


@pytest.mark.parametrize("degrees", [1, 20, 45, 70, 89, 90])
@pytest.mark.parametrize("width, height", [(1000, 1000), (1000, 500)])
@pytest.mark.parametrize(
    "name, options, text, sign",
    [
        ("geochat", {}, "<p>ship</p> {{<40><42><60><50>|<{}>}}", 1),
        ("geochat", {"clockwise": True}, "<p>ship</p> {{<40><42><60><50>|<{}>}}", -1),
        ("earthdial", {}, "[[40, 42, 60, 50, {}]]", 1),
        ("vrsbench", {"version": "obb_v2"}, "{{<40><42><60><50>|<{}>}}", 1),
        ("vrsbench", {"version": "obb_v2"}, "{{<40><42><60><50>|<-{}>}}", -1),
        ("vrsbench", {"version": "obb_v1"}, "{{<50><46><20><8>|<{}>}}", 1),
        ("plain", {}, None, -1),
    ],
)
def test_which_way_a_positive_angle_turns(
    name: str, options: dict[str, Any], text: str | None, sign: int, width: int, height: int, degrees: int
) -> None:
    if text is None:  # thousandths of the longer side, which is the width here
        text = f"ship[500,{{}},200,{80 * height // 1000},{{}}]".replace("{}", str(460 * height // 1000), 1)
    decoded = codecs.get(name, **options).decode(text.format(degrees), NAMES, (width, height), on_invalid="raise")
    expected = turned(0.40 * width, 0.42 * height, 0.60 * width, 0.50 * height, sign * degrees)
    np.testing.assert_allclose(corners(rbox_to_quad(decoded.boxes)[0]), corners(expected), atol=2e-3)


@pytest.mark.parametrize("degrees", [1, 30, 45, 89, 90])
@pytest.mark.parametrize(
    "name, options, text",
    [
        ("skysensegpt", {}, "There are 1 ships in the image:<rbox>({{<40.00><30.00><20.50><10.00>|<{}>}})</rbox>"),
        ("plain", {"decimals": 1}, "ship[400.0,300.0,205.0,100.0,{}]"),
        ("rscovlm", {"shape": "obb", "style": "plain"}, "400,300,205,100,{} ship"),
    ],
)
def test_angles_that_are_those_of_box_points(name: str, options: dict[str, Any], text: str, degrees: int) -> None:
    """`cv2.boxPoints` turns clockwise in every version of OpenCV; only `minAreaRect`'s range has changed."""
    decoded = codecs.get(name, **options).decode(text.format(degrees), NAMES, SIZE, on_invalid="raise")
    expected = cv2.boxPoints(((400, 300), (205, 100), degrees))
    np.testing.assert_allclose(corners(rbox_to_quad(decoded.boxes)[0]), corners(expected), atol=2e-3)


@given(st.integers(-89, 89), st.integers(20, 60), st.integers(5, 15))
def test_skysensegpt_writes_what_opencv_measures(angle: int, long: int, wide: int) -> None:
    """The box that `cv2.minAreaRect` finds around the corners, in OpenCV's own range (0, 90] of 4.5.1 to 4.12."""
    box = np.array([[500.0, 500, long * 10, wide * 10, math.radians(angle)]])
    (cx, cy), (w, h), degrees = cv2.minAreaRect(rbox_to_quad(box)[0].astype(np.float32))
    turns = math.ceil(round(degrees) / 90) - 1  # into (0, 90], whatever the version
    w, h = (h, w) if turns % 2 else (w, h)
    count, *found = numbers(codecs.get("skysensegpt").encode(box, LABEL, NAMES, SIZE))
    assert count == 1
    np.testing.assert_allclose(found, [cx / 10, cy / 10, w / 10, h / 10, round(degrees) - 90 * turns], atol=0.011)


# The formats' own code.


pairs = st.tuples(*[st.integers(0, 31)] * 2).map(sorted)


@given(pairs, pairs)
def test_kosmos2_reads_cells_as_its_own_code_does(columns: list[int], rows: list[int]) -> None:
    theirs = pytest.importorskip("transformers.models.kosmos2.processing_kosmos2")
    cells = [row * 32 + column for column, row in zip(columns, rows, strict=True)]
    text = "<phrase>ship</phrase><object><patch_index_{:04d}><patch_index_{:04d}></object>".format(*cells)
    decoded = codecs.get("kosmos2").decode(text, NAMES, (640, 320), on_invalid="raise")
    expected = np.array(theirs.patch_index_to_coordinate(*cells, 32)) * [640, 320, 640, 320]
    np.testing.assert_allclose(rbox_to_hbox(decoded.boxes)[0], expected, atol=1e-9)


@given(st.tuples(*[st.integers(0, 999)] * 2), st.tuples(*[st.integers(1, 400)] * 2))
def test_kosmos2_writes_cells_as_its_own_code_does(corner: tuple[int, int], sides: tuple[int, int]) -> None:
    theirs = pytest.importorskip("transformers.models.kosmos2.processing_kosmos2")
    x1, y1 = corner
    x2, y2 = min(x1 + sides[0], 1000), min(y1 + sides[1], 1000)
    expected = theirs.coordinate_to_patch_index((x1 / 1000, y1 / 1000, x2 / 1000, y2 / 1000), 32)
    quad = np.array([[[x1, y1], [x2, y1], [x2, y2], [x1, y2]]], dtype=float)
    text = codecs.get("kosmos2").encode(quad, LABEL, NAMES, SIZE)
    assert text == "<phrase>ship</phrase><object><patch_index_{:04d}><patch_index_{:04d}></object>".format(*expected)


@given(st.lists(st.tuples(*[st.integers(0, 999)] * 8), min_size=1, max_size=5))
def test_florence2_reads_quads_as_transformers_does(quads: list[tuple[int, ...]]) -> None:
    module = pytest.importorskip("transformers.models.florence2.processing_florence2")

    class Tokenizer:
        all_special_tokens = ()

    peer = module.Florence2PostProcessor(config={}, tokenizer=Tokenizer())
    text = "ship" + "<sep>".join("".join(f"<loc_{b}>" for b in quad) for quad in quads)
    (instance,) = peer.parse_description_with_polygons_from_text_and_spans(
        text, image_size=(1024, 700), allow_empty_phrase=False
    )
    decoded = codecs.get("florence2").decode(text, NAMES, (1024, 700), on_invalid="raise")
    assert decoded.quads is not None
    # transformers cuts the bins' centres to whole pixels.
    np.testing.assert_array_equal(np.trunc(decoded.quads.reshape(-1, 8)), instance["polygons"])
    assert instance["cat_name"] == "ship"
