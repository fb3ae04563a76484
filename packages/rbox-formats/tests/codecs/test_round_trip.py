"""How far a box is moved by encoding and decoding: bounded by the step of each format, and by IoU."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rbox_formats import ClassNames, codecs

NAMES = ClassNames(["ship"])
Size = tuple[int, int]
SQUARE = (1024, 1024)


@dataclass(frozen=True, eq=False)
class Case:
    """What a format writes of a box, and how far each number may be from what it stands for.

    Attributes:
        name: The codec.
        options: Its options.
        writes: "quad": corners; "upright": the upright box's left upper and right lower corner; "centre": centre,
            sides and angle; "unturned": left upper and right lower corner before the box is turned, and the angle.
        steps: How many there are in a side ("sides"), in the longer side ("longer"), or in a pixel ("pixels").
        error: (least, most) of a number read back, less the true one; in steps.
        degrees: The most that the angle is off.
    """

    name: str
    options: dict[str, Any]
    writes: str
    steps: tuple[float, str]
    error: tuple[float, float] = (-0.5, 0.5)
    degrees: float = 0.5

    @cached_property
    def codec(self) -> codecs.Codec:
        return codecs.get(self.name, **self.options)

    def step(self, size: Size, seen: Size) -> np.ndarray:
        """(2,): a step along x and y, in pixels of the image."""
        count, of = self.steps
        return {
            "sides": np.array(size) / count,
            "longer": np.full(2, max(size)) / count,
            "pixels": np.array(size) / np.array(seen) / count,
        }[of]


# Nearest: half a step to either side. Read back as the middle of its bin after cutting off: the same. Cut off and read
# back as it is: up to one step too small, and an angle or a place outside the image, which may be negative, too large.
CUT = (-1.0, 0.0)
CASES = [
    *(Case("florence2", {"version": version}, "quad", (1000, "sides")) for version in (1, 2, 3)),
    *(Case("allseeing", {"empty": empty}, "quad", (1000, "sides")) for empty in (False, True)),
    *(
        Case("rscovlm", {"shape": shape, "style": style, "clockwise": way}, writes, (1, "pixels"), CUT, 1.0)
        for shape, writes in (("quad", "quad"), ("obb", "centre"), ("hbb", "upright"))
        for style in ("json", "plain")
        for way in ((True, False) if shape == "quad" else (True,))
    ),
    *(Case("geochat", {"clockwise": way}, "unturned", (100, "sides")) for way in (True, False)),
    Case("earthdial", {}, "unturned", (100, "sides")),
    Case("skysensegpt", {}, "centre", (100 * 100, "sides")),  # hundredths with two decimals
    Case("vrsbench", {"version": "obb_v1"}, "centre", (100, "sides"), CUT),
    Case("vrsbench", {"version": "obb_v2"}, "unturned", (100, "sides"), (-1, 1)),
    Case("vrsbench", {"version": "hbb"}, "upright", (100, "sides"), CUT),
    Case("falcon", {}, "quad", (1000, "sides")),
    Case("plain", {"decimals": 0}, "centre", (1000, "longer")),
    Case("plain", {"decimals": 1}, "centre", (1000 * 10, "longer")),
    Case("qwen2-vl", {}, "upright", (1000, "sides")),
    Case("qwen2.5-vl", {}, "upright", (1, "pixels"), (-1, 0.5)),  # the border itself is the last pixel
    Case("qwen3-vl", {}, "upright", (1000, "sides")),
    Case("internvl", {}, "upright", (1000, "sides")),
    Case("paligemma", {}, "upright", (1023, "sides")),
    Case("kosmos2", {}, "upright", (32, "sides"), (-1, 1)),  # outer edges where both cells are in a row or column
    Case("cogvlm", {}, "upright", (1000, "sides"), (-1, 0.5)),  # the border itself is 999
    Case("gemini", {}, "upright", (1000, "sides")),
    Case("rex-omni", {}, "upright", (999, "sides"), CUT),
    Case("shikra", {}, "upright", (1000, "sides")),
    Case("teochat", {}, "upright", (100, "sides")),
]


def named(case: Case) -> str:
    return "-".join([case.name, *map(str, case.options.values())])


def corners(box: np.ndarray) -> np.ndarray:
    """(4, 2), by hand."""
    cx, cy, w, h, angle = box
    c, s = math.cos(angle), math.sin(angle)
    return np.array(
        [
            (cx + c * x * w - s * y * h, cy + s * x * w + c * y * h)
            for x, y in [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]
        ]
    )


def placed(size: Size, long: float, aspect: float, angle: float, place: tuple[float, float]) -> np.ndarray:
    """(5,) inside the image; `long` and `place` are shares of what is possible."""
    c, s = abs(math.cos(angle)), abs(math.sin(angle))
    extent = np.array([c + s / aspect, s + c / aspect])
    side = long * (np.array(size) / extent).min()
    centre = extent * side / 2 + np.array(place) * (np.array(size) - extent * side)
    return np.array([*centre, side, side / aspect, angle])


def there_and_back(case: Case, boxes: np.ndarray, size: Size, seen: Size) -> tuple[np.ndarray, codecs.Decoded]:
    """The boxes in the order of the text, and what is read of it."""
    labels = np.zeros(len(boxes), dtype=np.int64)
    text = case.codec.encode(boxes, labels, NAMES, size, seen)
    decoded = case.codec.decode(text, NAMES, size, seen, on_invalid="raise")
    assert decoded.labels.tolist() == labels.tolist()
    return boxes[case.codec.order(boxes, labels, NAMES, size, seen)], decoded


def arrangements(quad: np.ndarray) -> list[np.ndarray]:
    """(4, 2) from each corner, both ways round."""
    return [np.roll(way, start, axis=0) for way in (quad, quad[::-1]) for start in range(4)]


SHARES = st.floats(0, 1)
SIDES = st.integers(1, 40)
SCALES = st.integers(20, 100)
PLACED = st.tuples(
    st.floats(0.01, 1),
    st.floats(1, 8),
    st.floats(-90, 90, exclude_max=True).map(math.radians),
    st.tuples(SHARES, SHARES),
)


@pytest.mark.parametrize("case", CASES, ids=named)
@settings(max_examples=6)  # of up to eight boxes, for each of the cases
@given(st.tuples(SIDES, SIDES), st.tuples(SCALES, SCALES), st.lists(PLACED, min_size=1, max_size=8))
def test_no_number_is_further_off_than_its_step(
    case: Case, shape: Size, scales: Size, places: list[tuple[float, float, float, tuple[float, float]]]
) -> None:
    """Of boxes inside images of any size and shape, seen at any size of the same shape."""
    size, seen = ((shape[0] * scale, shape[1] * scale) for scale in scales)
    given = np.array([placed(size, *place) for place in places])
    boxes, decoded = there_and_back(case, given, size, seen)
    assert case.codec.holds_rotation == (case.writes != "upright")
    assert (decoded.quads is not None) == (case.writes == "quad")
    for true, found, back in zip(boxes, decoded.shapes, decoded.boxes, strict=True):
        within_bound(case, case.step(size, seen), true, found, back)


def within_bound(case: Case, step: np.ndarray, box: np.ndarray, found: np.ndarray, back: np.ndarray) -> None:
    """Of a box (5,), what is read of it as written, (5,) or (4, 2), and that as a box (5,)."""
    true, (least, most) = corners(box), (case.error[0] - 1e-6, case.error[1] + 1e-6)
    if case.writes == "upright":
        upright = corners(back)
        errors = np.stack([upright.min(axis=0) - true.min(axis=0), upright.max(axis=0) - true.max(axis=0)]) / step
        assert ((errors >= least) & (errors <= most)).all(), errors
    elif case.writes == "quad":
        errors = np.stack([(way - true) / step for way in arrangements(found)])
        assert ((errors >= least) & (errors <= most)).all(axis=(1, 2)).any(), errors
    else:
        # A corner is the centre and half of each side, turned. It moves with the centre, by what the half sides are
        # off, and, turned by too much, along a chord around the centre. With d0 and d1 the errors of both unturned
        # corners along an axis, the centre is off by (d0 + d1) / 2 and the half side by (d1 - d0) / 2: together no
        # more than the larger of |d0| and |d1|.
        moved = np.hypot(*step) * (1 + 1 / 2) if case.writes == "centre" else step.sum()
        chord = np.hypot(box[2], box[3]) * math.sin(math.radians(case.degrees) / 2)
        distance = min(np.hypot(*(way - true).T).max() for way in arrangements(corners(back)))
        assert distance <= max(-least, most) * moved + chord


def values(codec: type[codecs.Codec], option: str) -> set[Any]:
    hint = get_type_hints(codec)[option]
    return {"int": {1, 2, 3}, "bool": {False, True}}.get(getattr(hint, "__name__", ""), set(get_args(hint)))


@pytest.mark.parametrize("name", codecs.CODECS)
def test_every_codec_and_option_has_its_bound(name: str) -> None:
    cases = [case for case in CASES if case.name == name]
    assert cases
    assert any(least == name or least.startswith(f"{name}-") for least in LEAST)
    for field in fields(codecs.CODECS[name]):
        assert {case.options[field.name] for case in cases} == values(codecs.CODECS[name], field.name)


@settings(max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_kosmos_cells_of_other_rows_and_columns_are_read_as_their_centres(shares: list[float]) -> None:
    """Half a cell off at most, where an object is wider and higher than a cell."""
    cell, size = 20, (640, 640)
    (x0, x1), (y0, y1) = sorted(shares[:2]), sorted(shares[2:])
    low, high = np.array([x0, y0]) * (640 - 1.1 * cell), np.array([x1, y1]) * (640 - 1.1 * cell) + 1.1 * cell
    box = np.array([*(low + high) / 2, *(high - low), 0.0])
    _, decoded = there_and_back(Case("kosmos2", {}, "upright", (32, "sides")), box[None], size, size)
    found = corners(decoded.boxes[0])
    assert np.abs(found.min(axis=0) - low).max() <= cell / 2 + 1e-6
    assert np.abs(found.max(axis=0) - high).max() <= cell / 2 + 1e-6


_THOUSANDTHS = {8: 0.45, 16: 0.66, 64: 0.87}
# The least IoU of 100 boxes of 1:1 to 1:8 in an image of 1024 x 1024 px that is seen at that size, by their long side
# in pixels; in upright formats that of the upright boxes. About 0.05 less than the measured, which docs/codecs.md has.
LEAST = {
    "florence2": {16: 0.57, 64: 0.81, 256: 0.92},
    "allseeing": {16: 0.57, 64: 0.81, 256: 0.92},
    "rscovlm-quad": {16: 0.27, 64: 0.72, 256: 0.89},
    "rscovlm-obb": {16: 0.19, 64: 0.67, 256: 0.86},
    "rscovlm-hbb": {16: 0.46, 64: 0.77, 256: 0.91},
    "geochat": {128: 0.46, 512: 0.8},
    "earthdial": {128: 0.46, 512: 0.8},
    "skysensegpt": {8: 0.84, 64: 0.91},
    "vrsbench-obb_v1": {256: 0.37, 512: 0.6},
    "vrsbench-obb_v2": {256: 0.41, 512: 0.64},
    "vrsbench-hbb": {256: 0.57, 512: 0.7},
    "falcon": {16: 0.51, 64: 0.83, 256: 0.91},
    "plain-0": {16: 0.46, 64: 0.79, 256: 0.91},
    "plain-1": {8: 0.84, 64: 0.91},
    "qwen2-vl": _THOUSANDTHS,
    "qwen2.5-vl": {8: 0.43, 16: 0.66, 64: 0.88},
    "qwen3-vl": _THOUSANDTHS,
    "internvl": _THOUSANDTHS,
    "paligemma": {8: 0.44, 16: 0.65, 64: 0.85},
    "kosmos2": {256: 0.45, 512: 0.68},
    "cogvlm": _THOUSANDTHS,
    "gemini": _THOUSANDTHS,
    "rex-omni": {16: 0.49, 64: 0.75, 256: 0.91},
    "shikra": _THOUSANDTHS,
    "teochat": {64: 0.38, 256: 0.75},
}


@pytest.mark.parametrize("name", LEAST)
def test_what_is_left_of_an_object(name: str) -> None:
    case = next(case for case in CASES if f"{named(case)}-".startswith(f"{name}-"))
    for side, least in LEAST[name].items():
        assert smallest(case, side) >= least, side


def smallest(case: Case, side: int) -> float:
    """The least IoU of 100 boxes, by shapely."""
    rng, boxes = np.random.default_rng(side), []
    for x, y, short, turn in rng.random((100, 4)):
        rest = (8**short, math.pi * (turn - 0.5), (x, y))
        boxes.append(placed(SQUARE, side / placed(SQUARE, 1, *rest)[2], *rest))
    before, after = [], []
    for start in range(0, len(boxes), 20):  # the most that one of the formats writes
        some, decoded = there_and_back(case, np.array(boxes[start : start + 20]), SQUARE, SQUARE)
        before += [corners(box) for box in some]
        after += [corners(box) for box in decoded.boxes]
    true, found = shapely.polygons(before), shapely.polygons(after)
    true = shapely.envelope(true) if case.writes == "upright" else true
    return float((shapely.area(shapely.intersection(true, found)) / shapely.area(shapely.union(true, found))).min())
