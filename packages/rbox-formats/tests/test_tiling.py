from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rbox_formats import ImageRecord, rbox_to_quad, tiling
from rbox_formats.errors import FormatsError
from rbox_formats.tiling import Window


def test_the_last_window_ends_with_the_image() -> None:
    """DOTA's recipe on P0706, 1111 x 1182, worked by hand."""
    assert tiling.windows(1111, 1182, 1024, 200) == [
        Window(0, 0, 1024), Window(87, 0, 1024), Window(0, 158, 1024), Window(87, 158, 1024)
    ]  # fmt: skip
    assert [w.x for w in tiling.windows(4000, 10, 1024, 200)] == [0, 824, 1648, 2472, 2976]
    assert tiling.windows(1024, 1024, 1024, 200) == [Window(0, 0, 1024)]
    assert tiling.windows(100, 50, 1024, 200) == [Window(0, 0, 1024)]


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 200), st.integers(0, 199))
def test_windows_cover_every_pixel(width: int, height: int, size: int, gap: int) -> None:
    if gap >= size:
        with pytest.raises(FormatsError, match="expected a gap"):
            tiling.windows(width, height, size, gap)
        return
    seen = np.zeros((height, width), dtype=bool)
    windows = tiling.windows(width, height, size, gap)
    for x, y, side in windows:
        seen[y : y + side, x : x + side] = True
    assert seen.all()
    assert len(set(windows)) == len(windows)


def test_the_default_gap_is_dotas() -> None:
    assert [tiling.default_gap(size) for size in (1024, 512, 96)] == [200, 100, 19]


def test_pixels_beyond_the_border() -> None:
    image = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    piece = tiling.crop(image, Window(2, 1, 4))
    np.testing.assert_array_equal(piece[:3, :3], image[1:, 2:])
    assert (piece[3:] == tiling.PADDING).all()
    assert (piece[:, 3:] == tiling.PADDING).all()


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
