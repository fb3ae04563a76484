from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, draw
from rbox_formats.draw import _marks

NAMES = ClassNames([f"class {i}" for i in range(50)])
GREY = (120, 120, 120)


def record_of(boxes, labels):
    return ImageRecord("P1", np.array(boxes, float).reshape(-1, 5), np.array(labels, int))


def page_of(record, marks=None, size=(500, 400), **options):
    return np.asarray(draw.marked_page(Image.new("RGB", size, GREY), record, NAMES, marks, **options))


BOXES = [(100, 100, 80, 40, 0.3), (300, 250, 90, 30, -0.4)]


def test_the_picture_is_the_record_drawn_and_the_legend_has_its_colours():
    record = record_of(BOXES, [2, 7])
    page = page_of(record)
    picture = np.asarray(draw.draw_record(Image.new("RGB", (500, 400), GREY), record, NAMES, show_angles=False))
    top = next(y for y in range(80) if np.array_equal(page[y, 12], picture[0, 0]))
    np.testing.assert_array_equal(page[top : top + 400, 12:512], picture)
    below = page[top + 400 :]
    colours = {label: bool(np.all(below == draw.class_colour(label), axis=2).any()) for label in range(10)}
    assert [label for label, there in colours.items() if there] == [2, 7]


def test_colours_go_by_the_class_alone():
    both, one = page_of(record_of(BOXES, [2, 7])), page_of(record_of(BOXES[1:], [7]))
    seven = draw.class_colour(7)
    assert np.all(both == seven, axis=2).any()
    assert np.all(one == seven, axis=2).any()


def test_marks_stand_around_their_objects_and_below():
    record = record_of(BOXES, [2, 7])
    plain, marked = page_of(record), page_of(record, {1: "too odd"})
    assert marked.shape[0] > plain.shape[0]
    changed = np.argwhere(np.any(marked[: plain.shape[0]] != plain, axis=2))
    y, x = changed[changed[:, 0] < 430].T
    # The box of (300, 250), 90 x 30 at -0.4, is 95 x 63 px upright; the frame is up to 9 px away, the badge 18 high.
    top = 12 * 2 + 17
    assert x.min() >= 12 + 300 - 47.5 - 9
    assert x.max() <= 12 + 300 + 47.5 + 9
    assert y.min() >= top + 250 - 31.5 - 9 - 18
    assert y.max() <= top + 250 + 31.5 + 9


@pytest.mark.parametrize(
    "box", [(-900, 100, 80, 40, 0.3), (250, 5, 480, 4, 0.0), (1e12, 1e12, 5, 5, 0), (250, 200, 2e5, 9, 1)]
)
def test_marks_of_objects_anywhere(box):
    page = page_of(record_of([box], [0]), {0: "somewhere"})
    assert page.shape[1] == 524


@pytest.mark.parametrize(
    "boxes, size",
    [
        ([(100 + 12 * (i % 6), 100 + 9 * (i // 6), 20, 6, 0.4) for i in range(40)], (500, 400)),
        ([(250, 200, 20, 6, 0.4)] * 40, (500, 400)),
        ([(5, 5, 8, 6, 0.4)] * 40, (500, 400)),
        ([(495, 398, 8, 6, 0.4)] * 40, (500, 400)),
        ([(250, 200, 490, 390, 0)] * 40, (500, 400)),
    ],
)
def test_no_number_hides_another(boxes, size, monkeypatch):
    """Also where frames are on top of each other, at a border, or as large as the image."""
    placed = []
    monkeypatch.setattr(_marks, "_place", lambda *of, place=_marks._place: placed.append(place(*of)) or placed[-1])
    page_of(record_of(boxes, [0] * len(boxes)), dict.fromkeys(range(len(boxes)), "odd"), size)
    assert len(placed) == 30  # those that are listed
    for i, one in enumerate(placed):
        assert 0 <= one.x0 <= one.x1 < size[0]
        assert 0 <= one.y0 <= one.y1 < size[1]
        for other in placed[:i]:
            assert one.x1 < other.x0 or other.x1 < one.x0 or one.y1 < other.y0 or other.y1 < one.y0


def test_a_number_stands_beside_its_own_frame_at_a_border():
    frame = _marks._Rectangle(100, 0, 150, 40)
    assert not _marks._place(frame, (16, 18), (500, 400), [], [frame]).meets(frame)


def test_boxes_have_no_ticks():
    """Below the outline of an upright box nothing is drawn, wherever its angle points."""
    box = [(200, 200, 120, 60, -np.pi / 2)]
    page = page_of(record_of(box, [0]))
    grey = np.all(page == GREY, axis=2)
    top, left = 41, 12
    assert grey[top + 264 : top + 390, left + 100 : left + 300].all()
    assert grey[top + 5 : top + 100, left + 100 : left + 300].all()


def test_many_marks_are_listed_in_part():
    boxes = [(20 + 5 * i, 50, 10, 5, 0.0) for i in range(60)]
    heights = [len(page_of(record_of(boxes, [0] * 60), dict.fromkeys(range(n), "odd"))) for n in (30, 31, 60)]
    assert heights[0] < heights[1] == heights[2]


@pytest.mark.parametrize("size", [(4, 4), (3000, 60), (20, 900)])
def test_images_of_any_size(size):
    page = page_of(record_of([(2, 2, 2, 1, 0)], [0]), {0: "odd"}, size, max_side=1024)
    assert page.shape[1] <= 1024 + 24


def test_an_image_without_objects():
    assert page_of(record_of([], [])).shape[1] == 524
