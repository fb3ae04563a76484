from __future__ import annotations

import math
import re
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rbox_formats import ImageRecord, images, quad_area, rbox_to_quad, tiling
from rbox_formats.errors import FormatsError
from rbox_formats.images import _rows
from rbox_formats.tiling import Window, _crops


def test_the_last_window_ends_with_the_image() -> None:
    """DOTA's recipe on P0706, 1111 x 1182, worked by hand."""
    assert tiling.windows(1111, 1182, 1024, 200) == [
        Window(0, 0, 1024), Window(87, 0, 1024), Window(0, 158, 1024), Window(87, 158, 1024)
    ]  # fmt: skip
    assert [w.x for w in tiling.windows(4000, 10, 1024, 200)] == [0, 824, 1648, 2472, 2976]
    assert tiling.windows(1024, 1024, 1024, 200) == [Window(0, 0, 1024)]
    assert tiling.windows(100, 50, 1024, 200) == [Window(0, 0, 1024)]


@given(st.integers(1, 200), st.integers(1, 200), st.integers(1, 100), st.integers(0, 99))
def test_windows_cover_every_pixel(width: int, height: int, size: int, gap: int) -> None:
    if gap >= size:
        with pytest.raises(FormatsError, match="expected a gap"):
            tiling.windows(width, height, size, gap)
        return
    seen = np.zeros((height, width), dtype=bool)
    windows = tiling.windows(width, height, size, gap)
    for window in windows:
        x0, y0, x1, y1 = window.corners
        seen[y0:y1, x0:x1] = True
    assert seen.all()
    assert len(set(windows)) == len(windows)


def mmrotates(width: int, height: int, size: int, gap: int, rates: list[float], share: float) -> set[tuple[int, ...]]:
    """MMRotate's rule for one size, as its img_split.py states it: (x, y, side) of each window."""
    found = {}
    for rate in rates:
        side, step = int(size / rate), int(size / rate) - int(gap / rate)
        starts = []
        for length in (width, height):
            count = 1 if length <= side else math.ceil((length - side) / step + 1)
            starts.append([min(step * i, max(length - side, 0)) for i in range(count)])
        for x in starts[0]:
            for y in starts[1]:
                inside = (min(x + side, width) - x) * (min(y + side, height) - y)
                found[x, y, side] = inside / side**2
    if not any(value > share for value in found.values()):
        return {window for window, value in found.items() if abs(value - max(found.values())) < 0.01}
    return {window for window, value in found.items() if value > share}


@given(
    st.integers(1, 900),
    st.integers(1, 900),
    st.integers(60, 300),
    st.floats(0, 0.8),
    st.lists(st.sampled_from([0.3, 0.5, 1.0, 1.5, 2.0]), min_size=1, max_size=3, unique=True),
    st.sampled_from([0.0, 0.3, 0.6, 0.9]),
)
def test_windows_are_mmrotates(
    width: int, height: int, size: int, overlap: float, scales: list[float], share: float
) -> None:
    gap = int(size * overlap)
    found = tiling.windows(width, height, size, gap, scales=scales, min_image_share=share)
    assert {window[:3] for window in found} == mmrotates(width, height, size, gap, scales, share)
    assert {window.output_size for window in found} == {size}
    seen = np.zeros((height, width), dtype=bool)
    for x0, y0, x1, y1 in (window.corners for window in found):
        seen[y0:y1, x0:x1] = True
    assert seen.all()


def test_dotas_recipe_at_several_scales() -> None:
    """Worked by hand: sides 2048, 1024 and 682, gaps 1000, 500 and 333, steps 1048, 524 and 349."""
    found = tiling.windows(4000, 700, 1024, 500, scales=(0.5, 1, 1.5), min_image_share=0)
    starts = {side: [w.x for w in found if w.size == side and w.y == 0] for side in (2048, 1024, 682)}
    assert starts == {
        2048: [0, 1048, 1952],
        1024: [0, 524, 1048, 1572, 2096, 2620, 2976],
        682: [0, 349, 698, 1047, 1396, 1745, 2094, 2443, 2792, 3141, 3318],
    }
    assert {(w.size, w.y) for w in found} == {(2048, 0), (1024, 0), (682, 0), (682, 18)}
    assert [w.scale for w in found[:3]] == [0.5] * 3
    assert found[-1].scale == 1024 / 682


@pytest.mark.parametrize(
    "side, kept",
    [
        (1000, {1024, 682}),  # 0.24 of 2048, 0.95 of 1024
        (300, {682}),  # 0.02, 0.09, 0.19: none is above 0.6, so the best
        (2000, {2048, 1024, 682}),
    ],
)
def test_scales_at_which_an_image_is_small_are_left_out(side: int, kept: set[int]) -> None:
    assert {w.size for w in tiling.windows(side, side, 1024, 500, scales=(0.5, 1, 1.5))} == kept


@pytest.mark.parametrize(
    "options, message",
    [
        ({"scales": ()}, "expected one scale or more, got none"),
        ({"scales": (0.0,)}, "expected a positive scale, got 0.0"),
        ({"scales": (float("nan"),)}, "expected a positive scale, got nan"),
        ({"scales": (1.0, 1.0)}, "expected scales of different windows, got two of 100 px"),
        ({"scales": (200.0,)}, "expected windows of a pixel or more that overlap by less, got 0 and 0 px"),
        ({"scales": (60.0,), "gap": 99}, "got 1 and 1 px at scale 60.0"),
        ({"min_image_share": 1.5}, "expected a share of image in a window from 0 to 1, got 1.5"),
        ({"gap": 100}, "expected a gap between windows from 0 to 99, got 100"),
    ],
)
def test_settings_that_make_no_windows(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatsError, match=re.escape(message)):
        tiling.windows(50, 50, 100, **{"gap": 20, **options})


def test_the_default_gap_is_dotas() -> None:
    assert [tiling.default_gap(size) for size in (1024, 512, 96)] == [200, 100, 19]


def test_pixels_beyond_the_border() -> None:
    image = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    piece = tiling.crop(image, Window(2, 1, 4))
    np.testing.assert_array_equal(piece[:3, :3], image[1:, 2:])
    assert (piece[3:] == tiling.PADDING).all()
    assert (piece[:, 3:] == tiling.PADDING).all()
    np.testing.assert_array_equal(tiling.crop(image, Window(2, 1, 4), padding=False), image[1:, 2:])


def test_a_scaled_window_shows_the_same_place() -> None:
    """A ramp of grey is the same ramp at half its size, pixel i holding what lies from 2i to 2i + 2; an edge stays."""
    ramp = np.repeat(np.tile(np.arange(64, dtype=np.uint8), (64, 1))[..., None], 3, axis=2)
    half = tiling.crop(ramp, Window(10, 20, 32, 0.5))
    assert half.shape == (16, 16, 3)
    assert np.abs(half[:, 2:-2, 0] - (10 + 2 * np.arange(2, 14) + 0.5)).max() <= 0.5
    edge = np.where(ramp >= 24, np.uint8(255), np.uint8(0))
    twice = tiling.crop(edge, Window(8, 8, 32, 2.0))[:, :, 0]
    assert twice.shape == (64, 64)
    assert (twice[:, :31] == 0).all()
    assert (twice[:, 33:] == 255).all()
    assert tiling.crop(ramp, Window(0, 0, 128, 0.5)).shape == (64, 64, 3)
    assert tiling.crop(ramp, Window(0, 0, 128, 0.5), padding=False).shape == (32, 32, 3)


WINDOWS = st.builds(
    Window, st.integers(0, 69), st.integers(0, 49), st.integers(1, 80), st.sampled_from([1.0, 0.5, 1.7])
)


@given(st.lists(WINDOWS, max_size=12, unique=True), st.booleans())
def test_windows_of_a_file_are_those_of_its_pixels(places: list[Window], padding: bool) -> None:
    """And no row is read twice, nor more of them kept than the highest window has."""
    pixels = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    seen: list[int] = []

    def read(start: int, stop: int) -> np.ndarray:
        seen.extend(range(start, stop))
        return pixels[start:stop]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "open_rows", lambda path: nullcontext(images.Rows(70, 50, read)))
        patch.setattr(_crops, "_ROWS_AT_ONCE", 7)
        found = dict(tiling.crops("a.png", places, padding=padding))
    assert found.keys() == set(places)
    for window, piece in found.items():
        np.testing.assert_array_equal(piece, tiling.crop(pixels, window, padding=padding))
    assert len(seen) == len(set(seen))
    assert seen == sorted(seen)


def test_windows_of_a_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rasterio")
    monkeypatch.setattr(_rows, "LARGE", 0)
    pixels = np.random.default_rng(0).integers(0, 255, (150, 170, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    places = tiling.windows(170, 150, 64, 16, scales=(0.5, 1.0, 1.5))
    found = dict(tiling.crops(tmp_path / "a.png", places))
    assert found.keys() == set(places)
    for window, piece in found.items():
        np.testing.assert_array_equal(piece, tiling.crop(pixels, window))


def make_record(boxes: np.ndarray) -> ImageRecord:
    return ImageRecord("P1", boxes, labels=np.arange(len(boxes)), quads=rbox_to_quad(boxes))


@given(
    st.lists(
        st.tuples(st.floats(-50, 250), st.floats(-50, 250), st.floats(1, 80), st.floats(1, 80), st.floats(-1.5, 1.5)),
        max_size=8,
    ),
    st.sampled_from([0.0001, 0.3, 0.7, 1.0]),
)
def test_objects_belong_by_their_share_inside(values: list[tuple[float, ...]], threshold: float) -> None:
    """Against shapely's intersection over foreground."""
    boxes = np.array(values, dtype=np.float64).reshape(-1, 5)
    window = Window(40, 20, 128)
    border = shapely.box(40, 20, 168, 148)
    shares = np.array([(q := shapely.Polygon(quad)).intersection(border).area / q.area for quad in rbox_to_quad(boxes)])
    part = tiling.clip_to_window(make_record(boxes), window, threshold)
    sure = np.abs(shares - threshold) > 1e-9
    assert set(np.flatnonzero(sure & (shares > threshold))) <= set(part.labels) <= set(
        np.flatnonzero(~sure | (shares > threshold))
    )  # fmt: skip
    np.testing.assert_allclose(tiling.to_image(part.boxes, window), boxes[part.labels], atol=1e-9)
    np.testing.assert_allclose(part.quads, rbox_to_quad(part.boxes), atol=1e-9)
    assert part.size == (128, 128)
    np.testing.assert_array_equal(tiling.belonging(make_record(boxes), window, threshold)[part.labels], True)
    assert tiling.belonging(make_record(boxes), window, threshold).sum() == len(part)


def test_of_an_object_cut_by_the_images_border_only_the_rest_counts() -> None:
    """Two thirds of it lie outside the image, all of the rest inside the window; another reaches out of the window."""
    boxes = np.array([[-5.0, 50.0, 30.0, 10.0, 0.0], [100.0, 50.0, 30.0, 10.0, 0.0]])
    record = ImageRecord("P1", boxes, labels=np.arange(2), width=200, height=200)
    assert tiling.clip_to_window(record, Window(0, 0, 100)).labels.tolist() == [0]
    unknown = ImageRecord("P1", boxes, labels=np.arange(2))
    assert tiling.clip_to_window(unknown, Window(0, 0, 100)).labels.tolist() == []
    assert tiling.clip_to_window(unknown, Window(0, 0, 100), 0.3).labels.tolist() == [0, 1]


def test_an_object_without_area_counts_by_its_centre() -> None:
    points = make_record(np.array([[10.0, 10.0, 0.0, 0.0, 0.0], [200.0, 10.0, 0.0, 0.0, 0.0], [128.0, 64, 40, 0, 0]]))
    assert tiling.clip_to_window(points, Window(0, 0, 128)).labels.tolist() == [0]


OBJECTS = st.lists(
    st.tuples(st.floats(-50, 250), st.floats(-50, 250), st.floats(1, 80), st.floats(1, 80), st.floats(-1.5, 1.5)),
    max_size=8,
)


@given(OBJECTS, st.integers(-9, 99), st.integers(-9, 99), st.integers(1, 200), st.sampled_from([1.0, 0.5, 1024 / 682]))
def test_full_outlines_map_back(values: list[tuple[float, ...]], x: int, y: int, size: int, scale: float) -> None:
    boxes = np.array(values, dtype=np.float64).reshape(-1, 5)
    window = Window(x, y, size, scale)
    part = tiling.clip_to_window(make_record(boxes), window, 0.01)
    np.testing.assert_allclose(tiling.to_image(part.boxes, window), boxes[part.labels], atol=1e-9)
    np.testing.assert_allclose(tiling.to_image(part.quads, window), rbox_to_quad(boxes[part.labels]), atol=1e-9)
    np.testing.assert_allclose(part.quads, rbox_to_quad(part.boxes), atol=1e-9)
    assert part.size == (window.output_size, window.output_size)


@given(OBJECTS, st.sampled_from([0.5, 1.0, 2.0]))
def test_clipped_outlines_are_the_smallest_rectangles_of_what_is_seen(
    values: list[tuple[float, ...]], scale: float
) -> None:
    """Against shapely's intersection and minimum rotated rectangle; the image ends at x = 150, within the window."""
    boxes = np.array(values, dtype=np.float64).reshape(-1, 5)
    record = ImageRecord("P1", boxes, labels=np.arange(len(boxes)), quads=rbox_to_quad(boxes), width=150, height=300)
    window = Window(40, 20, 128, scale)
    part = tiling.clip_to_window(record, window, 0.3, border="clip")
    seen = shapely.box(40, 20, 150, 148)
    for box, quad, label in zip(
        tiling.to_image(part.boxes, window), tiling.to_image(part.quads, window), part.labels, strict=True
    ):
        rest = shapely.Polygon(rbox_to_quad(boxes[label])).intersection(seen)
        if rest.area == 0:  # it lies beyond the image, and counts by its centre
            np.testing.assert_allclose(box, boxes[label], atol=1e-9)
            continue
        smallest = shapely.minimum_rotated_rectangle(rest).area
        assert box[2] * box[3] == pytest.approx(smallest, rel=1e-6, abs=1e-6)
        assert quad_area(quad) == pytest.approx(smallest, rel=1e-6, abs=1e-6)
        assert rest.difference(shapely.Polygon(quad).buffer(1e-6)).area < 1e-6
    assert part.labels.tolist() == tiling.clip_to_window(record, window, 0.3).labels.tolist()


def test_a_clipped_box_by_hand() -> None:
    """30 px of 40 are inside a window that ends at 100; the whole one and the line keep their outlines."""
    boxes = np.array([[90.0, 50.0, 40.0, 10.0, 0.0], [20.0, 20.0, 9.0, 5.0, 0.4], [99.0, 50.0, 40.0, 0.0, 0.0]])
    record = ImageRecord("P1", boxes, labels=np.arange(3))
    part = tiling.clip_to_window(record, Window(0, 0, 100, 2.0), 0.7, border="clip")
    np.testing.assert_allclose(
        part.boxes, [[170, 100, 60, 20, 0], [40, 40, 18, 10, 0.4], [198, 100, 80, 0, 0]], atol=1e-12
    )
    assert part.quads is None


def test_objects_below_the_threshold_are_difficult_on_request() -> None:
    """Of the three 1, 0.5 and 0 are inside; the first and last were ordinary and difficult before."""
    boxes = np.array([[50.0, 50.0, 40.0, 10.0, 0.0], [100.0, 50.0, 40.0, 10.0, 0.0], [130.0, 50.0, 40.0, 10.0, 0.0]])
    record = ImageRecord("P1", boxes, labels=np.arange(3), difficult=np.array([False, False, True]))
    window = Window(0, 0, 100)
    part = tiling.clip_to_window(record, window, below="difficult")
    assert part.labels.tolist() == [0, 1]
    assert part.difficult.tolist() == [False, True]
    assert tiling.clip_to_window(record, window, 0.5, below="difficult").difficult.tolist() == [False, False]
    assert tiling.clip_to_window(record, window).labels.tolist() == [0]
    assert tiling.belonging(record, window).tolist() == [True, False, False]


@given(st.lists(st.tuples(st.floats(0, 20_000), st.floats(0, 20_000), st.floats(-1.5, 1.5)), min_size=1, max_size=30))
def test_nothing_is_in_a_window_beside_it(values: list[tuple[float, float, float]]) -> None:
    """Small objects all over a large image and around it: no rounding of far-off areas makes a share."""
    boxes = np.array([(x, y, 1.3, 0.7, angle) for x, y, angle in values])
    record = ImageRecord("P1", boxes, labels=np.arange(len(boxes)), width=15_000, height=15_000)
    window = Window(3000, 0, 9000)
    place = shapely.box(*window.corners)
    inside = [place.intersection(shapely.Polygon(quad)).area / 0.91 for quad in rbox_to_quad(boxes)]
    found = tiling.clip_to_window(record, window, below="difficult").labels
    assert set(np.flatnonzero(np.array(inside) > 1e-6)) <= set(found) <= set(np.flatnonzero(np.array(inside) > 0))


def test_a_threshold_of_nothing_asks_for_something_inside() -> None:
    boxes = np.array([[100.0, 50.0, 40.0, 10.0, 0.0], [130.0, 50.0, 40.0, 10.0, 0.0]])
    record = ImageRecord("P1", boxes, labels=np.arange(2))
    assert tiling.clip_to_window(record, Window(0, 0, 100), 0.0).labels.tolist() == [0]
    for threshold in (-0.1, 1.1, float("nan")):
        with pytest.raises(FormatsError, match="expected a share of an object as threshold, from 0 to 1"):
            tiling.clip_to_window(record, Window(0, 0, 100), threshold)


@given(
    st.text(st.characters(exclude_characters="/\\\0", codec="utf-8"), min_size=1, max_size=20),
    st.builds(Window, *(st.integers(0, 10**9 - 1),) * 2, st.integers(1, 10**9 - 1), st.just(1.0)),
)
def test_names_there_and_back(image_id: str, window: Window) -> None:
    name = tiling.window_name(image_id, window)
    if image_id in {".", ".."}:
        with pytest.raises(FormatsError, match="expected a plain file name"):
            tiling.parse_window_name(name)
        return
    assert tiling.parse_window_name(name) == (image_id, window)
    assert tiling.parse_window_name(name, 1024) == (image_id, window._replace(scale=1024 / window.size))


def test_names_that_mmrotate_gives() -> None:
    assert tiling.parse_window_name("P2794__1024__824___1648") == ("P2794", Window(824, 1648, 1024))
    assert tiling.parse_window_name("a__b__1__2___3__682__0___349", 1024)[0] == "a__b__1__2___3"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "P2794",
        "P2794__1024__824__1648",
        "P2794__1024__824___1648.png",
        "__1024__824___1648",
        "P2794__1024__-824___1648",
        "P2794__0__824___1648",
        "P2794__1.5__824___1648",
        "P2794__1024__8\u0663___0",
        "P2794__1024__0___" + "9" * 5000,
        "../P2794__1024__0___0",
        "a/b__1024__0___0",
        "a\0__1024__0___0",
        "..__1024__0___0",
        "P2794__1024__0___0\n",
    ],
)
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(FormatsError, match="expected ") as error:
        tiling.parse_window_name(name)
    assert len(str(error.value)) < 500


def test_windows_seen_at_no_size() -> None:
    with pytest.raises(FormatsError, match="expected windows of a pixel or more"):
        tiling.parse_window_name("P2794__1024__0___0", 0)


@pytest.mark.parametrize(
    "name, image_id, box",
    [
        # As the kit's ResultMerge takes a point of a window to the image: (x + left) / rate.
        ("A__0.5__200___100", "A", [600, 300, 80, 40, 0.3]),
        ("B__1__200___100", "B", [300, 150, 40, 20, 0.3]),
        ("B__1.0__200___100", "B", [300, 150, 40, 20, 0.3]),
        ("C__1024__200___100", "C", [300, 150, 40, 20, 0.3]),
        ("my__photo__1024__200___100", "my__photo", [300, 150, 40, 20, 0.3]),
        ("my__photo__2__200___100", "my__photo", [150, 75, 20, 10, 0.3]),
        ("D__1.5__301___151", "D", [401 / 1.5, 201 / 1.5, 40 / 1.5, 20 / 1.5, 0.3]),
    ],
)
def test_windows_named_by_scale_or_by_size(name: str, image_id: str, box: list[float]) -> None:
    window = tiling.locate(name)
    assert window.image_id == image_id
    found = tiling.to_image(np.array([[100.0, 50, 40, 20, 0.3]]), window)
    np.testing.assert_allclose(found, [box])
    quads = tiling.to_image(rbox_to_quad(np.array([[100.0, 50, 40, 20, 0.3]])), window)
    np.testing.assert_allclose(quads, rbox_to_quad(np.array([box], dtype=float)))


def test_windows_named_by_scale_are_never_resized() -> None:
    window = tiling.locate("A__1__200___100", 600)
    assert (window.scale, window.corners) == (1, (200, 100, 800, 700))
    assert tiling.locate("A__0.5__200___100", None, 600).corners == (400, 200, 1600, 1400)
    assert tiling.locate("A__512__200___100", 1024).scale == 2


@pytest.mark.parametrize(
    "name", ["A", "A__0__1___2", "A__0.0__1___2", "../A__1__0___0", "A__1.5.2__0___0", "A__1__-1___0"]
)
def test_names_that_are_neither(name: str) -> None:
    with pytest.raises(FormatsError, match="expected "):
        tiling.locate(name)


def test_masks_of_a_window_are_where_their_boxes_are() -> None:
    record = ImageRecord.from_masks("a", [[[210.0, 110, 250, 110, 250, 130, 210, 130]]], [0], width=400, height=300)
    window = Window(200, 100, 100, 0.5)
    part = tiling.clip_to_window(record, window)
    assert part.masks is not None
    assert record.masks is not None
    np.testing.assert_allclose(tiling.to_image(part.masks, window).bounds, record.masks.bounds)
    np.testing.assert_allclose(tiling.to_image(part.boxes, window), record.boxes)
