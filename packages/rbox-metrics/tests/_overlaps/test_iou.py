"""Overlaps of rotated boxes against shapely, over corners that this file turns itself, and against values by hand."""

from __future__ import annotations

import inspect
import math
from fractions import Fraction

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rbox_metrics import MetricsError, box_iou_rotated

BACKENDS = ("numba", "reference")

coordinates = st.floats(-1000, 1000, allow_subnormal=False)
sizes = st.floats(0.01, 500, allow_subnormal=False)
angles = st.floats(-2 * math.pi, 2 * math.pi, allow_subnormal=False)
pairs = st.tuples(coordinates, coordinates, *[st.floats(-50, 50)] * 2, *[sizes] * 4, angles, angles).map(
    lambda v: (np.array([[v[0], v[1], v[4], v[5], v[8]]]), np.array([[v[0] + v[2], v[1] + v[3], v[6], v[7], v[9]]]))
)


def polygons(boxes: np.ndarray) -> np.ndarray:
    """Corners as complex numbers: half sides, turned by a factor."""
    half = boxes[:, 2:3] / 2 * [-1, 1, 1, -1] + 1j * boxes[:, 3:4] / 2 * [-1, -1, 1, 1]
    corners = boxes[:, 0:1] + 1j * boxes[:, 1:2] + half * np.exp(1j * boxes[:, 4:5])
    return shapely.polygons(np.stack([corners.real, corners.imag], axis=-1))


def witness(boxes1: np.ndarray, boxes2: np.ndarray, mode: str = "iou") -> np.ndarray:
    """The overlap of each pair by shapely, the pair moved to its first box."""
    centre = boxes1 * [1, 1, 0, 0, 0]
    first, second = polygons(boxes1 - centre), polygons(boxes2 - centre)
    common = shapely.intersection(first, second)
    area1, area2 = boxes1[:, 2] * boxes1[:, 3], boxes2[:, 2] * boxes2[:, 3]
    whole = area1 if mode == "iof" else area1 + area2 - shapely.area(common)
    return shapely.area(common) / whole


def corners_in_fractions(box: np.ndarray, centre: np.ndarray) -> list[tuple[Fraction, Fraction]]:
    corners = shapely.get_coordinates(polygons((box - centre)[None]))[:4]
    return [(Fraction(x), Fraction(y)) for x, y in corners]


def exact(box1: np.ndarray, box2: np.ndarray) -> float:
    """The IoU of two boxes whose corners are rounded to floats: clipped edge by edge, in rational numbers."""
    centre = box1 * [1, 1, 0, 0, 0]
    first, second = corners_in_fractions(box1, centre), corners_in_fractions(box2, centre)
    polygon = first
    for (ax, ay), (bx, by) in zip(second, second[1:] + second[:1], strict=True):
        inside = [(bx - ax) * (y - ay) - (by - ay) * (x - ax) for x, y in polygon]
        clipped = []
        for k, (x, y) in enumerate(polygon):
            (px, py), before, here = polygon[k - 1], inside[k - 1], inside[k]
            if before * here < 0:
                share = before / (before - here)
                clipped.append((px + share * (x - px), py + share * (y - py)))
            if here >= 0:
                clipped.append((x, y))
        polygon = clipped
    common, area1, area2 = (
        sum(((p[0] * q[1] - q[0] * p[1]) for p, q in zip(c, c[1:] + c[:1], strict=True)), Fraction(0)) / 2
        for c in (polygon, first, second)
    )
    return float(common / (area1 + area2 - common))


def random_boxes(rng: np.random.Generator, count: int, spread: float, least: float, most: float) -> np.ndarray:
    sides = np.exp(rng.uniform(math.log(least), math.log(most), (count, 2)))
    centres, turns = rng.uniform(-spread, spread, (count, 2)), rng.uniform(-math.pi / 2, math.pi / 2, (count, 1))
    return np.concatenate([centres, sides, turns], axis=1)


def moved(boxes: np.ndarray, along_w: np.ndarray, along_h: np.ndarray, **changes: np.ndarray) -> np.ndarray:
    """The boxes moved along their own sides, with other widths, heights or angles."""
    w, h, angle = (changes.get(name, boxes[:, i]) for i, name in ((2, "w"), (3, "h"), (4, "angle")))
    cos, sin = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    x, y = boxes[:, 0] + along_w * cos - along_h * sin, boxes[:, 1] + along_w * sin + along_h * cos
    return np.stack([x, y, w, h, angle], axis=1)


def adversarial(rng: np.random.Generator, base: np.ndarray) -> dict[str, np.ndarray]:
    """Partners of boxes that lie where clipping has to decide between two equal ways."""
    w, h, angle = base[:, 2], base[:, 3], base[:, 4]
    zero, any_angle = np.zeros_like(w), rng.uniform(-math.pi, math.pi, len(base))
    return {
        "identical": base.copy(),
        "the same with its sides swapped": moved(base, zero, zero, w=h, h=w, angle=angle + math.pi / 2),
        "half a turn on": moved(base, zero, zero, angle=angle - math.pi),
        "concentric": moved(base, zero, zero, angle=any_angle),
        "concentric, hardly turned": moved(base, zero, zero, angle=angle + 10 ** rng.uniform(-16, -5, len(base))),
        "beside it, sharing an edge": moved(base, w, zero),
        "on one of its edges, inside": moved(base, w / 4, zero, w=w / 2),
        "on half of one of its edges, outside": moved(base, w * 0.75, h / 4, w=w / 2, h=h / 2),
        "touching at a corner": moved(base, w, h),
        "corner to corner, inside": moved(base, w / 4, h / 4, w=w / 2, h=h / 2),
        "a corner on an edge": moved(base, w / 2, zero, angle=angle + math.pi / 4),
        "inside": moved(base, w / 8, h / 8, w=w / 4, h=h / 4),
        "around it": moved(base, zero, zero, w=w * 3 + h * 3, h=h * 3 + w * 3, angle=any_angle),
        "shifted along its side": moved(base, w / 3, zero),
        "shifted by a hair": moved(base, w * 1e-9, h * 1e-9),
        "at the lower end of the range": moved(base, w / 5, h / 5, angle=np.full_like(w, -math.pi / 2)),
        "at the upper end of the range": moved(base, w / 5, h / 5, angle=np.full_like(w, math.pi / 2)),
    }


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", ["iou", "iof"])
@pytest.mark.parametrize(
    "spread, least, most", [(30, 5, 60), (60, 1, 500), (10, 1e-3, 100)], ids=["usual", "wide", "thin"]
)
@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_random_pairs(times: int, backend: str, mode: str, spread: float, least: float, most: float) -> None:
    rng = np.random.default_rng(1)
    count = times * (8_000 if backend == "numba" else 1_000)
    boxes1, boxes2 = (random_boxes(rng, count, spread, least, most) for _ in range(2))
    ours = box_iou_rotated(boxes1, boxes2, aligned=True, mode=mode, backend=backend)
    assert (ours > 0).mean() > 0.1
    np.testing.assert_allclose(ours, witness(boxes1, boxes2, mode), rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.variant
def test_a_million_random_pairs() -> None:
    rng = np.random.default_rng(8)
    for _ in range(10):
        boxes1, boxes2 = (random_boxes(rng, 100_000, 60, 1e-3, 500) for _ in range(2))
        # Half of them nearly alike, so that thin ones overlap.
        boxes2[::2] = boxes1[::2] * rng.uniform(0.9, 1.1, boxes1[::2].shape)
        ours = box_iou_rotated(boxes1, boxes2, aligned=True)
        np.testing.assert_allclose(ours, witness(boxes1, boxes2), rtol=0, atol=1e-9)
        np.testing.assert_array_equal(ours, box_iou_rotated(boxes2, boxes1, aligned=True))


def test_dense_aligned_and_paired_give_the_same_bits() -> None:
    """Few pairs and many, those that fill a block and those that do not, with and without overlap."""
    from rbox_metrics._overlaps._kernels import overlaps_of_pairs, shapes

    rng = np.random.default_rng(9)
    boxes1, boxes2 = random_boxes(rng, 301, 60, 1, 60), random_boxes(rng, 257, 60, 1, 60)
    i, j = np.indices((301, 257)).reshape(2, -1)
    for mode in ("iou", "iof"):
        dense = box_iou_rotated(boxes1, boxes2, mode=mode)
        np.testing.assert_array_equal(dense.ravel(), box_iou_rotated(boxes1[i], boxes2[j], aligned=True, mode=mode))
        listed = overlaps_of_pairs(shapes(boxes1), shapes(boxes2), i, j, mode == "iof")
        np.testing.assert_array_equal(dense.ravel(), listed)
        single = [box_iou_rotated(boxes1[k : k + 1], boxes2[:1], mode=mode)[0, 0] for k in range(20)]
        assert single == dense[:20, 0].tolist()


def test_boxes_of_absurd_size_and_distance_give_fractions() -> None:
    values = [0.0, 1e-300, 1e-5, 1.0, 1e150, 1e300]
    boxes = np.array([[s * x, x, w, h, a] for x in values for w in values[:5] for h in values[:5] for s, a in SIGNED])
    overlaps = box_iou_rotated(boxes, boxes)
    assert ((overlaps >= 0) & (overlaps <= 1)).all()
    np.testing.assert_array_equal(overlaps, overlaps.T)
    area = boxes[:, 2] * boxes[:, 3]
    np.testing.assert_array_equal(np.diagonal(overlaps), area > 0)


SIGNED = [(1, 0.0), (-1, 0.3), (1, math.pi / 2)]


@pytest.mark.parametrize("offset", [0.0, 1e5], ids=["near", "1e5 px away"])
@pytest.mark.parametrize("sides", [(5, 60), (1e-3, 1), (1e-3, 1e3)], ids=["usual", "1e-3 px", "long and 1e-3 px"])
@pytest.mark.parametrize("upright", [False, True], ids=["turned", "upright"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("count", [150, pytest.param(1_000, marks=pytest.mark.slow)])
def test_adversarial_pairs(count: int, backend: str, upright: bool, sides: tuple[float, float], offset: float) -> None:
    rng = np.random.default_rng(2)
    base = random_boxes(rng, count, 100, *sides)
    if upright:
        base[:, 4] = rng.choice([-math.pi / 2, 0, math.pi / 2], len(base))
    base[:, :2] += offset
    for name, partner in adversarial(rng, base).items():
        ours = box_iou_rotated(base, partner, aligned=True, backend=backend)
        theirs = witness(base, partner)
        assert ours.min() >= 0
        assert ours.max() <= 1
        # GEOS now and then finds nothing in common between rectangles whose edges all but coincide: there, rational
        # numbers decide.
        lost = np.flatnonzero(theirs == 0)
        if name.endswith(("swapped", "on", "inside")):
            assert len(lost) < count / 50
            theirs[lost] = [exact(base[k], partner[k]) for k in lost]
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_boxes_apart_have_an_overlap_of_exactly_zero(backend: str) -> None:
    rng = np.random.default_rng(6)
    boxes1, boxes2 = (random_boxes(rng, 20_000, 40, 1, 60) for _ in range(2))
    gap = shapely.distance(polygons(boxes1), polygons(boxes2))
    overlaps = box_iou_rotated(boxes1, boxes2, aligned=True, backend=backend)
    upright_overlap = (shapely.distance(shapely.envelope(polygons(boxes1)), shapely.envelope(polygons(boxes2)))) == 0
    assert ((gap > 0) & upright_overlap).sum() > 1_000
    np.testing.assert_array_equal(overlaps[gap > 1e-9], 0)
    assert (overlaps[gap == 0] > 0).all()


def test_order_is_no_matter_to_the_last_bit() -> None:
    rng = np.random.default_rng(3)
    base = random_boxes(rng, 2_000, 20, 1, 50)
    for partner in [random_boxes(rng, 2_000, 20, 1, 50), *adversarial(rng, base).values()]:
        forth, back = box_iou_rotated(base, partner, aligned=True), box_iou_rotated(partner, base, aligned=True)
        np.testing.assert_array_equal(forth, back)


@pytest.mark.parametrize("backend, tolerance", [("numba", 0), ("reference", 1e-9)])
def test_identical_boxes_give_one(backend: str, tolerance: float) -> None:
    rng = np.random.default_rng(4)
    for least, most in ((5, 60), (1e-3, 1e3), (1e-9, 1e-6), (1e5, 1e9)):
        boxes = random_boxes(rng, 2_000, 1e5, least, most)
        overlaps = box_iou_rotated(boxes, boxes, aligned=True, backend=backend)
        np.testing.assert_allclose(overlaps, 1, rtol=0, atol=tolerance)


@settings(deadline=None)  # the first example compiles
@given(pairs)
def test_backends_agree(pair: tuple[np.ndarray, np.ndarray]) -> None:
    for mode in ("iou", "iof"):
        fast, slow = (box_iou_rotated(*pair, mode=mode, backend=backend) for backend in BACKENDS)
        np.testing.assert_allclose(fast, slow, rtol=0, atol=1e-9)


@settings(deadline=None)  # the first example compiles
@given(pairs, st.integers(-10, 10), st.integers(-(2**20), 2**20))
def test_scaling_and_moving_change_nothing(pair: tuple[np.ndarray, np.ndarray], power: int, shift: int) -> None:
    first, second = (np.round(boxes, 3) for boxes in pair)
    before = box_iou_rotated(first, second)
    scale = np.array([2.0**power] * 4 + [1])
    np.testing.assert_array_equal(box_iou_rotated(first * scale, second * scale), before)
    # Rounding a far-off centre moves the box by up to 1e-10.
    move = np.array([shift, -shift, 0, 0, 0])
    least = min(first[:, 2:4].min(), second[:, 2:4].min())
    if least > 0:
        np.testing.assert_allclose(box_iou_rotated(first + move, second + move), before, rtol=0, atol=1e-8 / least)


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_by_hand(backend: str) -> None:
    """Exact where the boxes are upright, however their sides are named: thresholds are met, not just missed."""
    square, half = [0.0, 0.0, 2.0, 2.0, 0.0], [0.5, 0.0, 1.0, 2.0, 0.0]
    turned_half = [0.5, 0.0, 2.0, 1.0, -math.pi / 2]
    diamond = [0.0, 0.0, 2.0, 2.0, math.pi / 4]
    apart, beside, line, point = [9, 9, 2, 2, 1.0], [2.0, 0, 2, 2, 0], [0, 0, 2, 0, 0.3], [0, 0, 0, 0, 0]
    partners = [square, half, turned_half, diamond, apart, beside, line, point]
    octagon = 8 * math.tan(math.pi / 8)  # eight triangles of height 1
    overlaps = box_iou_rotated([square], partners, backend=backend)
    expected = [[1, 0.5, 0.5, octagon / (8 - octagon), 0, 0, 0, 0]]
    np.testing.assert_allclose(overlaps, expected, rtol=0, atol=1e-15)
    if backend == "numba":
        assert overlaps[0, :3].tolist() == [1, 0.5, 0.5]
    fractions = box_iou_rotated(partners, [square], mode="iof", backend=backend)
    np.testing.assert_allclose(fractions[:, 0], [1, 1, 1, octagon / 4, 0, 0, 0, 0], rtol=0, atol=1e-15)


def test_upright_boxes_are_exact_however_their_sides_are_named() -> None:
    """Whole numbers in: the intersection is one too, and the only rounding that of the quotient."""
    rng = np.random.default_rng(7)
    low, sides = rng.integers(0, 500, (2, 3_000, 2)), rng.integers(1, 300, (2, 3_000, 2))
    common = np.clip(np.minimum(low[0] + sides[0], low[1] + sides[1]) - np.maximum(*low), 0, None).prod(axis=1)
    expected = common / (sides.prod(axis=2).sum(axis=0) - common)
    level, turned = (
        np.concatenate([low + sides / 2, named, np.full((2, 3_000, 1), angle)], axis=2)
        for named, angle in ((sides, 0.0), (sides[..., ::-1], -math.pi / 2))
    )
    for first, second in ((level, level), (turned, turned), (level, turned), (turned, level)):
        np.testing.assert_array_equal(box_iou_rotated(first[0], second[1], aligned=True), expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_shapes(backend: str) -> None:
    boxes = random_boxes(np.random.default_rng(5), 4, 10, 5, 20)
    dense = box_iou_rotated(boxes, boxes[:3], backend=backend)
    assert dense.shape == (4, 3)
    assert dense.dtype == np.float64
    np.testing.assert_array_equal(
        np.diagonal(dense), box_iou_rotated(boxes[:3], boxes[:3], aligned=True, backend=backend)
    )
    assert box_iou_rotated([], boxes, backend=backend).shape == (0, 4)
    assert box_iou_rotated(boxes, np.zeros((0, 5)), backend=backend).shape == (4, 0)
    assert box_iou_rotated([], [], aligned=True, backend=backend).shape == (0,)
    assert box_iou_rotated(boxes.astype(np.float32), boxes[::-1], backend=backend).shape == (4, 4)


@pytest.mark.parametrize(
    "boxes, message",
    [
        ([[0, 0, 1, 1]], r"boxes1 of shape \(N, 5\).*got \(1, 4\)"),
        ([0, 0, 1, 1, 0], r"got \(5,\)"),
        ([[0, 0, 1, 1, 0], [0, math.nan, 1, 1, 0]], r"finite.*boxes1\[1\]"),
        ([[0, 0, 1, 1, math.inf]], r"finite.*boxes1\[0\]"),
        ([[0, 0, 1, 1, 0]] * 3 + [[0, 0, 1, -1, 0]], r"sides of zero or more.*boxes1\[3\]"),
        ([[0, 0, 1e200, 1e200, 0]], r"area within float64.*boxes1\[0\]"),
        ([["a"] * 5], r"array of numbers"),
    ],
)
def test_bad_boxes_are_named(boxes: list, message: str) -> None:
    with pytest.raises(MetricsError, match=message):
        box_iou_rotated(boxes, [[0, 0, 1, 1, 0]])


def test_bad_options_are_named() -> None:
    box = [[0, 0, 1, 1, 0]]
    bare = inspect.unwrap(box_iou_rotated)  # past the checks of annotations that only tests make
    with pytest.raises(MetricsError, match="mode 'iou' or 'iof', got 'giou'"):
        bare(box, box, mode="giou")
    with pytest.raises(MetricsError, match="got 'cuda'"):
        bare(box, box, backend="cuda")
    with pytest.raises(MetricsError, match="got 1 and 2"):
        box_iou_rotated(box, box * 2, aligned=True)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("column", range(5))
def test_bad_boxes_among_many_are_named(column: int, bad: float) -> None:
    boxes = np.tile([5.0, 5, 2, 1, 0.3], (20_000, 1))
    boxes[12_345, column] = bad
    with pytest.raises(MetricsError, match=r"finite numbers.*boxes2\[12345\]"):
        box_iou_rotated(boxes[:1], boxes)
    boxes[12_345, column] = -7.0
    if column in (2, 3):
        with pytest.raises(MetricsError, match=r"sides of zero or more.*boxes2\[12345\]"):
            box_iou_rotated(boxes[:1], boxes)
    if column == 4:
        with pytest.warns(UserWarning, match=r"got -7 at boxes2\[12345\].*probably degrees"):
            box_iou_rotated(boxes[:1], boxes)


def test_degrees_are_suspected() -> None:
    with pytest.warns(UserWarning, match=r"got 45 at boxes2\[1\].*probably degrees"):
        box_iou_rotated([], [[0, 0, 1, 1, 0], [0, 0, 1, 1, 45]])
