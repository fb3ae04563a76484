from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, draw

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
    picture = np.asarray(draw.draw_record(Image.new("RGB", (500, 400), GREY), record, NAMES))
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
