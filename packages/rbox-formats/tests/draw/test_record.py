from __future__ import annotations

import math
import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rbox_formats import draw
from rbox_formats._geometry import quad_to_rbox, rbox_to_quad
from rbox_formats._records import ClassNames, ImageRecord
from rbox_formats.errors import FormatsError
from rbox_testing.places import SHARED
from shapely.geometry import Point, Polygon

NAMES = ClassNames(["plane", "ship", "storage-tank"])
EXAMPLE = SHARED / "data/dota-example"
GREY = (120, 120, 120)


def ground(width=240, height=200, colour=GREY):
    return np.broadcast_to(np.array(colour, np.uint8), (height, width, 3)).copy()


def record_of(boxes, labels=None, **fields):
    boxes = np.array(boxes, dtype=float).reshape(-1, 5)
    return ImageRecord("x", boxes, np.array(labels if labels is not None else [0] * len(boxes), int), **fields)


def along(line, step=0.5):
    start, end = np.array(line)
    return np.linspace(start, end, max(2, math.ceil(math.dist(start, end) / step)))


def at(picture, points):
    """The pixels that hold these points, of those inside."""
    pixels = np.asarray(picture)
    x, y = np.floor(points).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < pixels.shape[1]) & (y < pixels.shape[0])
    return pixels[y[inside], x[inside]]


def sides(quad):
    return [(quad[i], quad[(i + 1) % 4]) for i in range(4)]


BOXES = [(60.3, 70.8, 70.0, 30.0, 0.4), (170.0, 60.5, 50.0, 44.0, -1.2), (120.0, 150.0, 90.0, 20.0, -0.1)]


@pytest.mark.parametrize("scale", [1, 2, 0.75, 3.3])
def test_outlines_lie_on_the_edges_and_nowhere_else(scale):
    record = record_of(BOXES, [0, 1, 2])
    picture = draw.draw_record(ground(), record, NAMES, line_width=3, show_labels=False, scale=scale)
    true_scale = np.array(picture.size) / (240, 200)
    quads = rbox_to_quad(record.boxes) * true_scale
    for quad, label in zip(quads, record.labels, strict=True):
        for side in sides(quad):
            assert np.all(at(picture, along(side)) == draw.class_colour(int(label)))
    # Away from every line and from the tick, the ground is as it was.
    changed = np.argwhere(np.any(np.asarray(picture) != GREY, axis=2))[:, ::-1] + 0.5
    rings = [Polygon(quad).exterior for quad in quads]
    for point in changed[:: max(1, len(changed) // 400)]:
        near_line = min(ring.distance(Point(point)) for ring in rings) < 3 / 2 + 1 + 1
        near_tick = False
        for cx, cy, w, _, angle in record.boxes:
            end = np.array([cx + w / 2 * math.cos(angle), cy + w / 2 * math.sin(angle)]) * true_scale
            near_tick |= math.dist(point, end) < 12 + 3 / 2 + 2
        assert near_line or near_tick


def test_a_pixels_worth_off_would_be_seen():
    # The witness above is only as good as this: a line of one pixel through pixel middles fills them and no others.
    record = record_of([(50.5, 40.5, 60.0, 30.0, 0.0)])
    picture = np.asarray(draw.draw_record(ground(), record, NAMES, line_width=1, show_labels=False))
    colour = draw.class_colour(0)
    assert np.all(picture[25, 22:79] == colour)
    assert not np.any(np.all(picture[[24, 26], 22:79] == colour, axis=-1))


def test_the_tick_points_where_the_angle_does():
    for angle in np.linspace(-np.pi / 2, np.pi / 2, 12, endpoint=False):
        box = (120.0, 100.0, 80.0, 30.0, angle)
        picture = draw.draw_record(ground(), record_of([box]), NAMES, line_width=3, show_labels=False)
        direction = np.array([math.cos(angle), math.sin(angle)])
        beyond = 40 + 6
        assert np.all(at(picture, np.array([box[:2] + beyond * direction])) == draw.class_colour(0))
        assert np.all(at(picture, np.array([box[:2] - beyond * direction])) == GREY)


def test_annotated_quads_are_drawn_where_there_are_any():
    quad = np.array([(40.0, 30.0), (150.0, 60.0), (140.0, 120.0), (60.0, 150.0)])
    box = quad_to_rbox(quad)
    record = record_of([box], quads=quad[None])
    picture = draw.draw_record(ground(), record, NAMES, line_width=3, show_labels=False)
    for side in sides(quad):
        assert np.all(at(picture, along(side)) == draw.class_colour(0))
    corners_of_box = rbox_to_quad(box)
    off = [corner for corner in corners_of_box if Polygon(quad).exterior.distance(Point(corner)) > 8]
    assert off
    assert not np.any(np.all(at(picture, np.array(off)) == draw.class_colour(0), axis=-1))


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), draw.class_colour(0), draw.class_colour(1)])
def test_outlines_stand_out_on_any_ground(colour):
    image = ground(colour=colour)
    picture = draw.draw_record(image, record_of(BOXES, [0, 1, 0]), NAMES, show_labels=False)
    luminance = np.asarray(picture.convert("L")).astype(int)
    for box in rbox_to_quad(np.array(BOXES)):
        middle = np.mean(box[:2], axis=0)
        x, y = np.floor(middle).astype(int)
        patch = luminance[y - 4 : y + 5, x - 4 : x + 5]
        assert patch.max() - patch.min() > 60


def label_pixels(image, record, **options):
    shown = np.asarray(draw.draw_record(image, record, NAMES, **options))
    hidden = np.asarray(draw.draw_record(image, record, NAMES, show_labels=False, **options))
    return np.any(shown != hidden, axis=2)


def test_labels_cover_no_object_where_there_is_room():
    record = record_of(BOXES, [0, 1, 2], scores=np.array([0.5, 0.25, 1.0]))
    covered = np.argwhere(label_pixels(ground(), record))[:, ::-1] + 0.5
    assert len(covered) > 3 * 300  # three labels
    shapes = [Polygon(quad) for quad in rbox_to_quad(record.boxes)]
    assert not any(shape.contains(Point(point)) for point in covered for shape in shapes)


def test_a_label_in_the_way_of_another_object_moves():
    # Upper side: the uppermost place is taken by another box, so the label goes elsewhere.
    record = record_of([(120.0, 110.0, 60.0, 40.0, 0.0), (120.0, 76.0, 10.0, 8.0, 0.0)])
    covered = np.argwhere(label_pixels(ground(), record))[:, ::-1] + 0.5
    assert len(covered)
    other = Polygon(rbox_to_quad(record.boxes)[1])
    assert not any(other.contains(Point(point)) for point in covered)


def test_an_object_that_fills_the_picture_is_named_below_it():
    record = record_of([(120.0, 100.0, 236.0, 196.0, 0.0)])
    assert not label_pixels(ground(), record).any()
    whole = draw.draw_with_legend(ground(), record, NAMES)
    above = draw.draw_record(ground(), record, NAMES)
    np.testing.assert_array_equal(np.asarray(whole)[: above.height], np.asarray(above))
    assert whole.height > above.height + 10
    assert len(np.unique(np.asarray(whole)[above.height :].reshape(-1, 3), axis=0)) > 10  # letters and a colour


def test_what_has_room_for_a_number_alone_is_numbered():
    """A row of boxes side by side, as wide as a number: in the legend stands what each is."""
    boxes = [(20.0 + 18 * i, 100.0, 15.0, 120.0, 0.0) for i in range(12)]
    record = record_of(boxes, labels=[i % 3 for i in range(12)])  # no crowd of one class
    whole = draw.draw_with_legend(ground(), record, NAMES)
    assert whole.height > 200
    plain = np.asarray(draw.draw_record(ground(), record, NAMES, show_labels=False), int)
    changed = np.any(np.asarray(whole, int)[:200] != plain, axis=2)
    assert changed.any()
    for cx, cy, w, h, _ in boxes:  # no label and no number lies on an object
        assert not changed[int(cy - h / 2) + 3 : int(cy + h / 2) - 3, int(cx - w / 2) + 3 : int(cx + w / 2) - 3].any()


def test_round_objects_have_no_tick():
    """A square's angle says nothing of a tank; of a box a sixth longer than wide it does."""
    for sides, has_tick in (((60.0, 56.0), False), ((60.0, 40.0), True)):
        record = record_of([(120.0, 100.0, *sides, 0.3)])
        with_tick, without = (
            np.asarray(draw.draw_record(ground(), record, NAMES, show_labels=False, show_angles=angles))
            for angles in (True, False)
        )
        assert np.any(with_tick != without) == has_tick


@pytest.mark.parametrize("box", [(120.0, 100.0, 8.0, 4.0, 0.3), (-900.0, 100.0, 80.0, 40.0, 0.3)])
def test_small_and_distant_objects_carry_no_label(box):
    assert not label_pixels(ground(), record_of([box])).any()


def test_in_a_crowd_few_labels_stand_for_all():
    # Rows with room for every label.
    x, y = np.meshgrid(np.arange(80, 980, 160.0), np.arange(20, 980, 21.0))
    boxes = np.stack([x, y, x * 0 + 44, x * 0 + 14, x * 0], axis=-1).reshape(-1, 5)
    covered = label_pixels(ground(1000, 1000), record_of(boxes))
    lone = label_pixels(ground(1000, 1000), record_of(boxes[100:101]))
    assert lone.sum() < covered.sum() < 0.2 * len(boxes) * lone.sum()


def test_where_there_is_no_room_a_line_leads_to_the_label():
    """A box closed in by others: its label stands outside of all, and a line of its colour ends at the box."""
    ring = [(120.0 + dx, 100.0 + dy, 58.0, 28.0, 0.0) for dx in (-60, 0, 60) for dy in (-30, 0, 30)]
    others = [box for box in ring if box[:2] != (120.0, 100.0)]
    record = record_of([*others, (120.0, 100.0, 40.0, 20.0, 0.0)], [1] * 8 + [0])
    texts = [""] * 8 + ["in the middle"]
    without = np.asarray(draw.draw_record(ground(400, 300), record, NAMES, texts=texts))
    picture = draw.draw_record(ground(400, 300), record, NAMES, texts=texts, leaders=True)
    changed = np.any(np.asarray(picture) != without, axis=2)
    assert changed.sum() > 600  # a label, and the line
    inside = [Polygon(quad) for quad in rbox_to_quad(record.boxes)]
    label = np.argwhere(np.all(np.asarray(picture) == draw.class_colour(0), axis=2) & changed)[:, ::-1] + 0.5
    outside = [point for point in label if not any(shape.contains(Point(point)) for shape in inside)]
    assert len(outside) > 300
    assert min(inside[-1].exterior.distance(Point(point)) for point in label) < 2.5


def test_other_texts_and_sizes():
    record = record_of([(120.0, 100.0, 60.0, 40.0, 0.0)])
    small, large = (label_pixels(ground(), record, texts=["some words"], label_size=size) for size in (11, 22))
    assert large.sum() > 2.5 * small.sum() > 0
    assert (small != label_pixels(ground(), record, label_size=11)).any()


def test_label_text_tells_class_and_score():
    box = [(120.0, 100.0, 60.0, 40.0, 0.0)]
    variants = [
        record_of(box, [0]),
        record_of(box, [1]),
        record_of(box, [0], scores=np.array([0.25])),
        record_of(box, [0], scores=np.array([0.75])),
    ]
    pictures = [draw.draw_record(ground(), record, NAMES).tobytes() for record in variants]
    assert len(set(pictures)) == len(pictures)


@pytest.mark.parametrize(
    "scale, max_side, expected",
    [(1, None, (240, 200)), (2.5, None, (600, 500)), (0.1, None, (24, 20)), (4, 300, (300, 250)), (1, 60, (60, 50))],
)
def test_sizes(scale, max_side, expected):
    picture = draw.draw_record(ground(), record_of(BOXES), NAMES, scale=scale, max_side=max_side)
    assert picture.size == expected
    assert picture.mode == "RGB"


def test_an_image_comes_out_as_it_was_where_nothing_is_drawn():
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    before = image.copy()
    for given in (image, Image.fromarray(image)):
        np.testing.assert_array_equal(np.asarray(draw.draw_record(given, record_of([]), NAMES)), image)
    draw.draw_record(image, record_of([(30.0, 30.0, 20.0, 10.0, 0.0)]), NAMES)
    given = Image.fromarray(image)
    draw.draw_record(given, record_of([(30.0, 30.0, 20.0, 10.0, 0.0)]), NAMES)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(np.asarray(given), before)
    grey = Image.new("L", (70, 50), 9)
    assert draw.draw_record(grey, record_of([]), NAMES).getpixel((3, 3)) == (9, 9, 9)


@pytest.mark.timeout(20)
def test_far_off_and_flat_boxes_take_no_time():
    boxes = [
        (1e9, 5.0, 1e12, 3.0, 0.3),
        (50.0, 60.0, 1e12, 1e12, 0.0),
        (30.0, 30.0, 0.0, 0.0, 0.0),
        (99, 99, 50, 0, 0.7),
    ]
    picture = draw.draw_record(ground(), record_of(boxes), NAMES)
    assert np.all(at(picture, along(((99.0, 99.0), (99 + 20 * math.cos(0.7), 99 + 20 * math.sin(0.7))))) != GREY)


def test_colours_are_distinct_also_to_the_colour_blind():
    colours = [draw.class_colour(label) for label in range(40)]
    assert len(set(colours)) == 40
    assert draw.class_colour(40) == colours[0]
    linear = ((np.array(colours) / 255 + 0.055) / 1.055) ** 2.4
    # Viénot, Brettel and Mollon (1999), as matrices for linear sRGB; the palette was chosen with another model.
    protanopia = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
    deuteranopia = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    for sight, least in ((np.eye(3), 15), (protanopia, 10), (deuteranopia, 10)):
        f = np.cbrt(np.clip(linear[:10] @ sight.T, 0, 1) @ to_xyz.T / to_xyz.sum(axis=1))
        lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)
        # Two is just to be seen side by side.
        assert min(np.linalg.norm(a - b) for a, b in combinations(lab, 2)) > least


# ----------------------------------------------------------------------------------------------- pages of pictures


def find(page, picture):
    """Where a picture lies on a page, by its upper left pixel."""
    page, picture = np.asarray(page), np.asarray(picture)
    h, w = picture.shape[:2]
    starts = np.argwhere(np.all(page[: len(page) - h + 1, : page.shape[1] - w + 1] == picture[0, 0], axis=2))
    return [(int(x), int(y)) for y, x in starts if np.array_equal(page[y : y + h, x : x + w], picture)]


def test_side_by_side_shows_truth_left_and_predictions_right():
    image = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    truth = record_of([(40.0, 40.0, 30.0, 12.0, 0.4), (70.0, 70.0, 20.0, 20.0, 0.1)], [0, 2])
    predictions = record_of([(41.0, 39.0, 31.0, 12.0, 0.45)], [0], scores=np.array([0.8]))
    page = draw.side_by_side(image, truth, predictions, NAMES)
    left = draw.draw_record(image, truth, NAMES, scale=4)
    right = draw.draw_record(image, predictions, NAMES, scale=4)
    assert left.size == (384, 384)
    ((x0, y0),) = find(page, left)
    ((x1, y1),) = find(page, right)
    assert y0 == y1
    assert x1 >= x0 + 384
    pixels = np.asarray(page)
    assert page.width == x1 + 384 + x0
    for x in (x0, x1):  # captions
        assert np.ptp(pixels[y0 - 24 : y0, x : x + 100].astype(int)) > 100
    assert np.ptp(pixels[: y0 - 26, :200].astype(int)) > 100  # title
    for label in (0, 2):  # legend
        assert np.any(np.all(pixels[y0 + 384 :] == draw.class_colour(label), axis=2))
    assert not np.any(np.all(pixels[y0 + 384 :] == draw.class_colour(1), axis=2))
    # The captions count.
    other = np.asarray(draw.side_by_side(image, truth, predictions.select([]), NAMES))
    assert np.array_equal(other[:y0, : x1 - 5], pixels[:y0, : x1 - 5])
    assert not np.array_equal(other[:y0, x1:], pixels[:y0, x1:])


@pytest.mark.parametrize(
    "size, panel",
    [((96, 96), (384, 384)), ((256, 128), (512, 256)), ((500, 400), (500, 400)), ((3000, 1500), (2048, 1024))],
)
def test_panels_grow_by_whole_numbers_and_shrink_to_the_limit(size, panel):
    image = ground(*size, colour=(10, 20, 30))
    empty = record_of([])
    page = np.asarray(draw.side_by_side(image, empty, empty, NAMES))
    shown = np.all(page == (10, 20, 30), axis=2)
    assert shown.any(axis=0).sum() == 2 * panel[0]
    assert shown.any(axis=1).sum() == panel[1]


def test_a_long_title_and_many_classes_stay_on_the_page():
    names = ClassNames([f"class number {i}" for i in range(60)])
    boxes = np.tile([(20.0, 20.0, 10.0, 5.0, 0.0)], (60, 1))
    record = ImageRecord("long " * 60, boxes, np.arange(60))
    page = np.asarray(draw.side_by_side(ground(40, 20), record, record, names))
    assert np.all(page[:, -10:] == page[0, 0])  # the margin is empty
    assert np.all(page[-8:] == page[0, 0])


def test_contact_sheet():
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (30, 50 - i, 3), dtype=np.uint8)) for i in range(5)]
    sheet = draw.contact_sheet(pictures, columns=2, background=(1, 2, 3))
    places = [find(sheet, picture) for picture in pictures]
    assert all(len(place) == 1 for place in places)
    x, y = np.array([place[0] for place in places]).T
    assert y[0] == y[1] < y[2] == y[3] < y[4]
    assert x[0] < x[1]
    assert sheet.getpixel((0, 0)) == (1, 2, 3)
    assert sheet.width >= 2 * 50
    assert sheet.height >= 3 * 30
    assert draw.contact_sheet(pictures * 5).width > draw.contact_sheet(pictures * 5).height
    assert draw.contact_sheet([Image.new("RGB", (4000, 100))], max_cell=400).width < 450


@pytest.mark.parametrize("pictures, columns, message", [([], None, "at least one picture"), ([1], 0, "one column")])
def test_contact_sheets_that_cannot_be(pictures, columns, message):
    with pytest.raises(FormatsError, match=message):
        draw.contact_sheet([Image.new("RGB", (4, 4)) for _ in pictures], columns=columns)


# ------------------------------------------------------------------------------------------------------------- files


def test_save_and_read_back(tmp_path):
    picture = draw.draw_record(ground(), record_of(BOXES), NAMES)
    draw.save(picture, tmp_path / "new" / "a.png")
    with Image.open(tmp_path / "new" / "a.png") as read:
        assert read.format == "PNG"
        np.testing.assert_array_equal(np.asarray(read), np.asarray(picture))


def test_an_interrupted_save_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    draw.save(Image.new("RGB", (5, 5), "red"), path)
    before = path.read_bytes()
    picture = Image.new("RGB", (500, 500), "blue")

    def interrupted(self, file, format):
        Path(file).write_bytes(b"half a picture")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        draw.save(picture, path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]


# ------------------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    "image, record, options, message",
    [
        (np.zeros((4, 4, 3)), record_of([]), {}, "got (4, 4, 3) float64"),
        (np.zeros((0, 4, 3), np.uint8), record_of([]), {}, "got (0, 4, 3) uint8"),
        (ground(), record_of([], width=100, height=200), {}, "of 'x' of 100x200 px, got 240x200"),
        (
            ground(),
            record_of([*BOXES, (1, 2, math.nan, 4, 0)]),
            {},
            "finite coordinates, got others in object 3 of 'x'",
        ),
        (ground(), record_of(BOXES, [0, 3, 1]), {}, "labels below 3, got 3 for object 1"),
        (ground(), record_of(BOXES, [0, 1, -1]), {}, "labels below 3, got -1 for object 2"),
        (ground(), record_of([]), {"scale": 0}, "scale above 0, got 0"),
        (ground(), record_of([]), {"scale": math.nan}, "scale above 0, got nan"),
    ],
)
def test_errors(image, record, options, message):
    with pytest.raises(FormatsError, match=re.escape(message)):
        draw.draw_record(image, record, NAMES, **options)


# --------------------------------------------------------------------------------------------------------- real data


@pytest.mark.slow
@pytest.mark.skipif(not EXAMPLE.is_dir(), reason="the example data is not here")
def test_a_real_image_with_536_objects():
    rows = [line.split() for line in (EXAMPLE / "labelTxt/P0706.txt").read_text().splitlines()[2:]]
    names = ClassNames(sorted({row[8] for row in rows}))
    quads = np.array([[float(value) for value in row[:8]] for row in rows]).reshape(-1, 4, 2)
    record = ImageRecord.from_quads("P0706", quads, np.array([names.index(row[8]) for row in rows]))
    assert len(record) == 536
    with Image.open(EXAMPLE / "images/P0706.png") as image:
        for label in range(len(names)):
            which = record.labels == label
            picture = draw.draw_record(image, record.select(which), names, line_width=3, show_labels=False)
            points = np.concatenate([along(side) for quad in quads[which] for side in sides(quad)])
            assert np.all(at(picture, points) == draw.class_colour(label))
