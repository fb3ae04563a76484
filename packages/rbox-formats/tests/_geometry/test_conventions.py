"""Angle conventions against values worked by hand, shapely's polygons and OpenCV's corners."""

from __future__ import annotations

import math

import array_api_strict
import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rbox_formats import CONVENTIONS, LE90, LE135, OC, OC_OLD, Convention, convert, quad_to_rbox, rbox_to_quad
from rbox_formats.errors import FormatsError
from rbox_testing.shapes import apart

EVERY = [
    variant
    for convention in (LE90, LE135, OC, OC_OLD)
    for unit in (convention, convention.degrees)
    for variant in (unit, unit.counter_clockwise)
]
conventions = st.sampled_from(EVERY)
coordinates = st.floats(-2000, 2000, allow_subnormal=False)
sizes = st.floats(0.5, 500, allow_subnormal=False)
angles = st.floats(-20, 20) | st.sampled_from([i * math.pi / 4 for i in range(-9, 10)])
boxes = st.tuples(coordinates, coordinates, sizes, sizes, angles).map(lambda values: np.array([values]))
squares = st.tuples(coordinates, coordinates, sizes, angles).map(lambda v: np.array([[v[0], v[1], v[2], v[2], v[3]]]))


def in_range(angle: np.ndarray, convention: Convention) -> np.ndarray:
    low, high = (angle.dtype.type(end) for end in convention.range)
    if convention.closed == "low":
        return (low <= angle) & (angle < high)
    return (low < angle) & (angle <= high)


def test_the_table() -> None:
    """The ranges as MMRotate's documentation gives them (`docs/en/intro.md`)."""
    assert {name: (c.degrees.range, c.closed, c.long_side) for name, c in CONVENTIONS.items()} == {
        "le90": ((-90, 90), "low", True),
        "le135": ((-45, 135), "low", True),
        "oc": ((0, 90), "high", False),
        "oc_old": ((-90, 0), "low", False),
    }
    assert LE135.range == (-math.pi / 4, 3 * math.pi / 4)


# One rectangle, 40 long and 20 wide, by its long side's clockwise angle in degrees; then (w, h, angle) in each.
LONG, WIDE = 40.0, 20.0
BY_HAND = [
    # le90                 le135                 oc                   oc_old
    (-90, (LONG, WIDE, -90), (LONG, WIDE, 90), (LONG, WIDE, 90), (LONG, WIDE, -90)),
    (-60, (LONG, WIDE, -60), (LONG, WIDE, 120), (WIDE, LONG, 30), (LONG, WIDE, -60)),
    (-45, (LONG, WIDE, -45), (LONG, WIDE, -45), (WIDE, LONG, 45), (LONG, WIDE, -45)),
    (0, (LONG, WIDE, 0), (LONG, WIDE, 0), (WIDE, LONG, 90), (WIDE, LONG, -90)),
    (30, (LONG, WIDE, 30), (LONG, WIDE, 30), (LONG, WIDE, 30), (WIDE, LONG, -60)),
    (45, (LONG, WIDE, 45), (LONG, WIDE, 45), (LONG, WIDE, 45), (WIDE, LONG, -45)),
    (90, (LONG, WIDE, -90), (LONG, WIDE, 90), (LONG, WIDE, 90), (LONG, WIDE, -90)),
    (135, (LONG, WIDE, -45), (LONG, WIDE, -45), (WIDE, LONG, 45), (LONG, WIDE, -45)),
    (180, (LONG, WIDE, 0), (LONG, WIDE, 0), (WIDE, LONG, 90), (WIDE, LONG, -90)),
    (-135, (LONG, WIDE, 45), (LONG, WIDE, 45), (LONG, WIDE, 45), (WIDE, LONG, -45)),
]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("angle, le90, le135, oc, oc_old", BY_HAND)
def test_every_pair_worked_by_hand(angle, le90, le135, oc, oc_old, dtype) -> None:
    """Exact in degrees, and at the ends of the ranges, from degrees and from radians."""
    expected = {LE90: le90, LE135: le135, OC: oc, OC_OLD: oc_old}
    sources = [(c.degrees, values) for c, values in expected.items()] + [(LE90.degrees, (LONG, WIDE, angle))]
    sources += [(c, (w, h, math.radians(a))) for c, (w, h, a) in expected.items()]
    for source, values in sources:
        box = np.array([7, 8, *values], dtype=dtype)
        for target, (w, h, wanted) in expected.items():
            in_degrees, in_radians = convert(box, source, target.degrees), convert(box, source, target)
            assert in_degrees.dtype == in_radians.dtype == dtype
            np.testing.assert_allclose(in_degrees[2:], [w, h, wanted], rtol=8 * np.finfo(dtype).eps)
            np.testing.assert_allclose(in_radians[2:], [w, h, math.radians(wanted)], rtol=8 * np.finfo(dtype).eps)
            if wanted in target.degrees.range:
                assert in_degrees[4] == wanted
                assert in_radians[4] == dtype(math.radians(wanted))


@pytest.mark.parametrize(
    "angle, le, oc, oc_old",
    [
        (-45, -45, 45, -45),
        (45, -45, 45, -45),
        (0, 0, 90, -90),
        (90, 0, 90, -90),
        (-20, -20, 70, -20),
        (80, -10, 80, -10),
    ],
)
def test_squares_by_hand(angle: float, le: float, oc: float, oc_old: float) -> None:
    """In both long-edge conventions a square's angle is in [-45, 45)."""
    square = np.array([0, 0, 10, 10, angle], dtype=np.float64)
    got = {c.name: convert(square, LE90.degrees, c.degrees)[4] for c in CONVENTIONS.values()}
    assert got == {"le90": le, "le135": le, "oc": oc, "oc_old": oc_old}


def test_counter_clockwise_is_the_other_sign() -> None:
    box = np.array([0, 0, 40, 20, 30.0])
    np.testing.assert_array_equal(convert(box, LE90.degrees, LE90.degrees.counter_clockwise), [0, 0, 40, 20, -30])
    np.testing.assert_array_equal(convert(box, OC.degrees.counter_clockwise, OC.degrees), [0, 0, 20, 40, 60])
    end = np.array([0, 0, 40, 20, -90.0])
    np.testing.assert_array_equal(convert(end, LE90.degrees, LE90.degrees.counter_clockwise), end)


@given(boxes | squares, st.lists(conventions, min_size=1, max_size=8))
def test_any_chain_leaves_the_polygon_as_it_is(box: np.ndarray, chain: list[Convention]) -> None:
    here, now = LE90, box
    for target in chain:
        now = convert(now, here, target)
        here = target
        assert in_range(now[:, 4], target).all()
        if target.long_side:
            assert (now[:, 2] >= now[:, 3]).all()
            eighth = 45 if target.unit == "deg" else math.pi / 4
            assert now[0, 2] > now[0, 3] or -eighth <= now[0, 4] < eighth
    assert apart(rbox_to_quad(convert(now, here, LE90))[0], rbox_to_quad(box)[0]) < 1e-9


@given(st.floats(-720, 720, width=32), conventions, conventions)
def test_the_range_holds_in_single_precision_too(angle: float, source: Convention, target: Convention) -> None:
    box = np.array([[0, 0, 9, 4, angle], [0, 0, 4, 9, angle], [0, 0, 4, 4, angle]], dtype=np.float32)
    turned = convert(box, source, target)
    assert turned.dtype == np.float32
    assert in_range(turned[:, 4], target).all()


@given(boxes, conventions)
def test_what_is_in_range_stays_to_the_last_bit(box: np.ndarray, convention: Convention) -> None:
    once = convert(box, LE90, convention)
    np.testing.assert_array_equal(convert(once, convention, convention), once)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("convention", EVERY, ids=lambda c: f"{c.name} {c.unit} {'cw' if c.clockwise else 'ccw'}")
def test_the_last_angle_before_an_end_stays(convention: Convention, dtype: type) -> None:
    low, high = (dtype(end) for end in convention.range)
    inner = [np.nextafter(low, high), np.nextafter(high, low), low if convention.closed == "low" else high]
    for angle in inner:
        box = np.array([1, 2, 9, 4, angle], dtype=dtype)
        np.testing.assert_array_equal(convert(box, convention, convention), box)
    # The open end is the closed one, after half a turn or a quarter, which exchanges the sides.
    box = np.array([1, 2, 9, 4, high if convention.closed == "low" else low], dtype=dtype)
    sides = [9, 4] if convention.long_side else [4, 9]
    closed = low if convention.closed == "low" else high
    np.testing.assert_array_equal(convert(box, convention, convention), np.array([1, 2, *sides, closed], dtype=dtype))


@pytest.mark.parametrize("convention", EVERY, ids=lambda c: f"{c.name} {c.unit} {'cw' if c.clockwise else 'ccw'}")
def test_points_and_lines(convention: Convention) -> None:
    """A box without area keeps its corners; a point is a square."""
    flat = np.array([[3, 4, 10, 0, 0.3], [3, 4, 0, 10, 0.3], [3, 4, 0, 0, 1.2]])
    there = convert(flat, LE90, convention)
    assert in_range(there[:, 4], convention).all()
    back = convert(there, convention, LE90)
    np.testing.assert_allclose(
        back, [[3, 4, 10, 0, 0.3], [3, 4, 10, 0, 0.3 - math.pi / 2], [3, 4, 0, 0, 1.2 - math.pi / 2]], atol=1e-12
    )


def corner_distance(quad: np.ndarray, other: np.ndarray) -> float:
    """The largest distance between corners, in the best cyclic order and direction."""
    turns = [np.roll(corners, i, axis=0) for corners in (other, other[::-1]) for i in range(4)]
    return min(np.linalg.norm(quad - turned, axis=1).max() for turned in turns)


@given(boxes)
def test_corners_are_those_of_opencvs_rectangle(box: np.ndarray) -> None:
    """By corners: which of the two ranges its angle has depends on OpenCV's version; its own `boxPoints` knows."""
    quad = rbox_to_quad(box)[0].astype(np.float32)
    rectangle = cv2.minAreaRect(quad)
    (cx, cy), (w, h), angle = rectangle
    theirs = np.array([cx, cy, w, h, angle])
    for name in ("oc", "oc_old"):
        ours = convert(theirs, OC.degrees, name)
        assert in_range(ours[4:], CONVENTIONS[name]).all()
        scale = 1 + np.abs(quad).max()
        assert corner_distance(rbox_to_quad(ours), cv2.boxPoints(rectangle)) < 1e-5 * scale
        # OpenCV's rectangle and ours around the same corners, in OpenCV's convention.
        back = convert(convert(quad_to_rbox(quad[None].astype(np.float64)), LE90, name), name, LE90)
        assert corner_distance(rbox_to_quad(back)[0], quad) < 1e-4 * scale


def test_opencvs_angle_is_in_the_range_that_its_version_is_said_to_have() -> None:
    version = tuple(int(part) for part in cv2.__version__.split(".")[:2])
    quads = np.random.default_rng(0).uniform(0, 100, (200, 4, 2)).astype(np.float32)
    angles = np.array([cv2.minAreaRect(quad)[2] for quad in quads])
    assert in_range(angles, (OC if (4, 5) < version < (4, 13) else OC_OLD).degrees).all()


@pytest.mark.parametrize("shape", [(0,), (), (2, 3)])
def test_shapes_and_kinds_are_kept(shape: tuple[int, ...]) -> None:
    box = np.broadcast_to(np.array([5.0, 6.0, 3.0, 7.0, 0.5]), (*shape, 5)).copy()
    expected = np.broadcast_to(np.array([5.0, 6.0, 7.0, 3.0, 0.5 + math.pi / 2]), (*shape, 5))
    for given_box in (box, torch.tensor(box), array_api_strict.asarray(box)):
        turned = convert(given_box, "oc", "le135")
        assert type(turned) is type(given_box)
        np.testing.assert_allclose(np.asarray(turned), expected, rtol=1e-15)
        for target in EVERY:
            np.testing.assert_array_equal(np.asarray(convert(given_box, OC, target)), convert(box, OC, target))


@pytest.mark.parametrize("target", EVERY, ids=lambda c: f"{c.name} {c.unit} {'cw' if c.clockwise else 'ccw'}")
def test_gradients(target: Convention) -> None:
    box = torch.tensor([[1.0, 2.0, 4.0, 2.0, 0.3], [1, 2, 4, 2, -1.2]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda values: convert(values, LE90, target), (box,))


def test_a_name_that_is_not_known() -> None:
    with pytest.raises(FormatsError, match="expected one of the conventions le90, le135, oc, oc_old, got 'le180'"):
        convert(np.zeros((1, 5)), "le180", LE90)
