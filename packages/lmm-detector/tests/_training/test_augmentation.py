"""Image and boxes changed together: what is drawn and then changed is what is changed and then drawn.

The witness is a rasteriser that asks of points in each pixel whether they are within the box's corners.
"""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lmm_detector._training._augmentation import Augmentation, Change, sample_rng
from lmm_detector.errors import ConfigError
from rbox_formats import ImageRecord, rbox_to_quad, tiling
from rbox_formats.errors import ImageError
from rbox_testing.samples import sampled
from shapely import affinity
from shapely.geometry import Polygon, box

PADDING = (104, 116, 124)


def coverage(corners: np.ndarray, width: int, height: int, samples: int = 8) -> np.ndarray:
    """The share of each pixel (H, W) that lies within a convex quad (4, 2)."""
    steps = (np.arange(samples) + 0.5) / samples
    x = (np.arange(width)[:, None] + steps).ravel()
    y = (np.arange(height)[:, None] + steps).ravel()
    sides = [
        (b[0] - a[0]) * (y[:, None] - a[1]) - (b[1] - a[1]) * (x[None, :] - a[0])
        for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True)
    ]
    inside = np.all([side >= 0 for side in sides], axis=0) | np.all([side <= 0 for side in sides], axis=0)
    return inside.reshape(height, samples, width, samples).mean(axis=(1, 3))


def drawn(corners: np.ndarray, width: int, height: int, samples: int = 8) -> np.ndarray:
    """A white box on a black image (H, W, 3)."""
    grey = np.round(255 * coverage(corners, width, height, samples)).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def record(quads: np.ndarray, width: int, height: int, *, quads_too: bool = True) -> ImageRecord:
    found = ImageRecord.from_quads(
        "a",
        quads,
        np.arange(len(quads)) % 3,
        difficult=np.arange(len(quads)) % 2 == 1,
        scores=np.arange(len(quads)) / 10,
        path=Path("a.png"),
        width=width,
        height=height,
        metadata={"gsd": 0.3},
    )
    return found if quads_too else replace(found, quads=None)


EXACT = [
    *(Change(flip=flip) for flip in ("horizontal", "vertical", "diagonal")),
    *(Change(turns=turns) for turns in (1, 2, 3, -1, 5)),
    Change(flip="vertical", turns=1),
    Change(flip="horizontal", turns=3, window=tiling.Window(3, 10, 50)),
    Change(window=tiling.Window(17, 9, 40)),
]


@pytest.mark.parametrize("change", EXACT)
@pytest.mark.parametrize("quads_too", [True, False])
def test_flips_turns_and_crops_move_pixels_and_boxes_alike(change: Change, quads_too: bool) -> None:
    """Exactly: a point per pixel, whether it is within the box before and after."""
    rng = np.random.default_rng(1)
    for _ in range(12):
        row = [*rng.uniform((20, 15), (50, 40)), *rng.uniform((4, 2), (30, 30)), rng.uniform(-1.57, 1.57)]
        corners = rbox_to_quad(np.array([row]))
        before = record(corners, 71, 53, quads_too=quads_too)
        image, after = change.apply(drawn(corners[0], 71, 53, 1), before, iof_threshold=0.0)
        assert image.flags["C_CONTIGUOUS"]
        assert (image.shape, image.dtype) == ((after.height, after.width, 3), np.uint8)
        assert (len(after), after.quads is not None) == (1, quads_too)
        assert np.array_equal(image, drawn(after.corners[0], *after.size, 1))


RESAMPLED = {
    "30 degrees": Change(angle=math.radians(30)),
    "-100 degrees": Change(angle=math.radians(-100)),
    "larger": Change(scale=1.3),
    "smaller": Change(scale=0.6),
    "much smaller": Change(scale=0.31, angle=0.2),
    "turned and larger": Change(angle=0.7, scale=1.15),
    "all": Change(flip="vertical", turns=1, angle=-0.4, scale=0.9, window=tiling.Window(40, 30, 200)),
    "a window that is seen smaller": Change(angle=0.3, window=tiling.Window(20, 20, 240, 0.5)),
}


@pytest.mark.parametrize("name", sampled(RESAMPLED, ["-100 degrees", "much smaller", "all"]))
@pytest.mark.parametrize("angle", sampled([0.0, 0.35, -1.1], [0.35]))
def test_what_is_drawn_and_changed_is_what_is_changed_and_drawn(name: str, angle: float) -> None:
    change = RESAMPLED[name]
    width, height = 320, 256
    # Multiples of an eighth of a pixel, so that the drawing of the upright box is exact.
    corners = rbox_to_quad(np.array([[165.375, 120.75, 110.0, 60.0, angle]]))
    image, after = change.apply(drawn(corners[0], width, height), record(corners, width, height))
    assert len(after) == 1
    again = drawn(after.quads[0], *after.size)
    # What lies beyond the image is not black; the box is far from there.
    inside = coverage(after.quads[0], *after.size) > 0
    near = np.pad(inside, 3)
    for axis in (0, 1):
        near = np.any([np.roll(near, step, axis) for step in range(-3, 4)], axis=0)
    near = near[3:-3, 3:-3]
    one, two = (np.where(near, picture[:, :, 0] / 255.0, 0.0) for picture in (image, again))
    overlap = ((one >= 0.5) & (two >= 0.5)).sum() / ((one >= 0.5) | (two >= 0.5)).sum()
    assert overlap >= 0.98
    y, x = np.mgrid[: after.height, : after.width] + 0.5
    centre = [(axis * one).sum() / one.sum() for axis in (x, y)]
    np.testing.assert_allclose(centre, after.quads[0].mean(axis=0), atol=0.05)
    # The box is that of the quad, by its own way.
    assert Polygon(rbox_to_quad(after.boxes)[0]).symmetric_difference(Polygon(after.quads[0])).area < 1e-6


def test_directions_on_the_screen() -> None:
    """A box at the right, a quarter clockwise, is below; by the rotation as by the turn."""
    corners = rbox_to_quad(np.array([[80.0, 50.0, 20.0, 10.0, 0.0]]))
    for change in (Change(turns=1), Change(angle=math.pi / 2)):
        image, after = change.apply(drawn(corners[0], 100, 100), record(corners, 100, 100))
        np.testing.assert_allclose(after.quads[0].mean(axis=0), (50, 80), atol=1e-9)
        assert image[80, 50].tolist() == [255] * 3
        assert image[50, 80].tolist() == [0] * 3


def test_what_lies_beyond_the_image_has_the_colour_of_padding() -> None:
    white = np.full((60, 80, 3), 255, np.uint8)
    image, _ = Change(angle=math.pi / 4).apply(white, record(np.zeros((0, 4, 2)), 80, 60))
    assert image[0, 0].tolist() == list(PADDING)
    assert image[30, 40].tolist() == [255] * 3
    image, _ = Change(scale=0.5).apply(white, record(np.zeros((0, 4, 2)), 80, 60))
    assert (image[16:44, 21:59] == 255).all()
    assert (image[:14] == PADDING).all()
    assert (image[:, 61:] == PADDING).all()


def test_smaller_images_are_means_of_all_pixels() -> None:
    """Stripes a pixel wide: four pixels for each would give one stripe or the other."""
    stripes = np.zeros((120, 120, 3), np.uint8)
    stripes[:, ::2] = 255
    image, _ = Change(scale=0.25).apply(stripes, record(np.zeros((0, 4, 2)), 120, 120))
    assert np.abs(image[50:70, 50:70].astype(float) - 127.5).max() < 8


QUADS = st.lists(
    st.tuples(st.floats(-20, 120), st.floats(-20, 100), st.floats(3, 60), st.floats(3, 60), st.floats(-1.5, 1.5)),
    min_size=1,
    max_size=8,
)


@given(QUADS, st.floats(-3, 3), st.floats(0.5, 2), st.sampled_from([0.0, 0.3, 0.7, 1.0]), st.booleans())
@settings(max_examples=40)
def test_objects_stay_by_the_share_of_their_area_that_is_seen(
    rows: list[tuple[float, ...]], angle: float, factor: float, threshold: float, crops: bool
) -> None:
    """By shapely: what of the object is on the image, and of that, what is on the canvas."""
    width, height = 100, 80
    boxes = np.array(rows)
    quads = rbox_to_quad(boxes)
    quads[:, 1] += 2.0  # no rectangles, and quads stay quads
    window = tiling.Window(15, 10, 50) if crops else None
    before = record(quads, width, height)
    change = Change(angle=angle, scale=factor, window=window)
    image, after = change.apply(np.zeros((height, width, 3), np.uint8), before, threshold)
    canvas = box(15, 10, 65, 60) if crops else box(0, 0, width, height)
    assert image.shape == ((50, 50, 3) if crops else (80, 100, 3))

    def moved(shape: Polygon) -> Polygon:
        turned = affinity.rotate(shape, angle, origin=(width / 2, height / 2), use_radians=True)
        return affinity.scale(turned, factor, factor, origin=(width / 2, height / 2))

    expected, close = [], set()
    for index, quad in enumerate(quads):
        if not Polygon(quad).is_valid:
            close.add(index)
            continue
        on_image = Polygon(quad).intersection(box(0, 0, width, height))
        whole = moved(on_image).area
        share = moved(on_image).intersection(canvas).area / whole if whole > 1e-6 else math.nan
        if math.isnan(share) or abs(share - threshold) < 1e-6 or share < 1e-6:
            close.add(index)
        elif share >= threshold:
            expected.append(index)
    found = [round(score * 10) for score in after.scores]
    assert [index for index in found if index not in close] == [index for index in expected if index not in close]
    corner = np.array([15.0, 10.0]) if crops else np.zeros(2)
    for place, index in enumerate(found):
        np.testing.assert_allclose(
            after.quads[place] + corner, np.array(moved(Polygon(quads[index])).exterior.coords)[:4], atol=1e-9
        )
        assert after.labels[place] == before.labels[index]
        assert after.difficult[place] == before.difficult[index]


def test_objects_without_area_stay_by_their_centre() -> None:
    """Beyond the image's border, or a line: at two thirds of the way out a rotation brings it in, or not."""
    quads = np.array([[[x, 50.0], [x + 2, 50.0], [x + 2, 50.0], [x, 50.0]] for x in (50.0, 95.0)])
    before = record(quads, 100, 60)
    _, after = Change(angle=math.pi / 2).apply(np.zeros((60, 100, 3), np.uint8), before)
    assert len(after) == 1
    np.testing.assert_allclose(after.quads[0].mean(axis=0), (30, 31))


def test_crops_are_windows() -> None:
    """The same pixels and objects as tiling's, to the bit."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (80, 100, 3), dtype=np.uint8)
    rows = np.column_stack(
        [rng.uniform(0, 100, 40), rng.uniform(0, 80, 40), rng.uniform(4, 30, (40, 2)), rng.uniform(-1, 1, 40)]
    )
    before = record(rbox_to_quad(rows), 100, 80)
    window = tiling.Window(20, 10, 50)
    pixels, after = Change(window=window).apply(image, before)
    expected = tiling.clip_to_window(before, window)
    assert np.array_equal(pixels, image[10:60, 20:70])
    assert 0 < len(after) < 40
    for name in ("boxes", "quads", "labels", "difficult", "scores", "width", "height", "metadata", "image_id", "path"):
        assert np.array_equal(getattr(after, name), getattr(expected, name)), name


def test_nothing_is_done_where_nothing_is_asked(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    before = record(rbox_to_quad(np.array([[20.0, 20, 10, 5, 0.3]])), 50, 40)
    after_image, after = Augmentation().apply(image, before, rng)
    assert np.array_equal(after_image, image)
    assert np.array_equal(after.quads, before.quads)
    assert Augmentation().draw(rng, (50, 40)) == Change()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def test_a_record_without_size_takes_the_images(rng: np.random.Generator) -> None:
    before = replace(record(rbox_to_quad(np.array([[20.0, 20, 10, 5, 0.3]])), 50, 40), width=None, height=None)
    _, after = Change(turns=1).apply(np.zeros((40, 50, 3), np.uint8), before)
    assert after.size == (40, 50)
    with pytest.raises(ImageError, match=r"a\.png: expected an image of the record's size, 50x41, got 50x40"):
        Change().apply(np.zeros((40, 50, 3), np.uint8), replace(before, width=50, height=41))


ALL = Augmentation(
    horizontal_flip=0.2, vertical_flip=0.3, diagonal_flip=0.1, quarter_turns=0.5, rotation=0.4, max_angle=30.0,
    scaling=0.7, scale_range=(0.5, 2.0), cropping=0.6, crop_range=(0.5, 0.8),
)  # fmt: skip


def test_what_is_drawn_is_as_likely_as_asked(rng: np.random.Generator) -> None:
    """20,000 draws: a share is off by 0.0035 (one deviation) at most."""
    changes = [ALL.draw(rng, (100, 60)) for _ in range(20_000)]

    def share(holds: list[bool]) -> float:
        return sum(holds) / len(holds)

    for flip, probability in (("horizontal", 0.2), ("vertical", 0.3), ("diagonal", 0.1), (None, 0.4)):
        assert share([change.flip == flip for change in changes]) == pytest.approx(probability, abs=0.015)
    for turns, probability in enumerate((0.5, 1 / 6, 1 / 6, 1 / 6)):
        assert share([change.turns == turns for change in changes]) == pytest.approx(probability, abs=0.015)
    angles = np.degrees([change.angle for change in changes if change.angle])
    assert len(angles) / len(changes) == pytest.approx(0.4, abs=0.015)
    assert (angles.min(), angles.max(), angles.mean()) == pytest.approx((-30, 30, 0), abs=0.6)
    scales = np.array([change.scale for change in changes if change.scale != 1])
    assert len(scales) / len(changes) == pytest.approx(0.7, abs=0.015)
    assert (scales.min(), scales.max(), np.log(scales).mean()) == pytest.approx((0.5, 2.0, 0.0), abs=0.02)
    windows = [(change.window, change.turns) for change in changes if change.window]
    assert len(windows) / len(changes) == pytest.approx(0.6, abs=0.015)
    assert {window.size for window, _ in windows} == set(range(30, 49))
    for window, turns in windows:
        width, height = (60, 100) if turns % 2 else (100, 60)
        assert 0 <= window.x <= width - window.size
        assert 0 <= window.y <= height - window.size
    assert max(window.x + window.size for window, turns in windows if turns % 2 == 0) == 100
    assert max(window.y + window.size for window, turns in windows if turns % 2 == 1) == 100


def test_one_probability_does_not_move_the_others_draws() -> None:
    without = replace(ALL, horizontal_flip=0.0, vertical_flip=0.0, diagonal_flip=0.0, cropping=0.0)
    for index in range(20):
        one, two = (augmentation.draw(sample_rng(0, 0, index), (100, 60)) for augmentation in (ALL, without))
        assert replace(one, flip=None, window=None) == two


def augmented(sample: int) -> tuple[bytes, bytes]:
    image = np.random.default_rng(sample).integers(0, 256, (60, 100, 3), dtype=np.uint8)
    before = record(rbox_to_quad(np.array([[50.0, 30, 40, 20, 0.3]])), 100, 60)
    pixels, after = ALL.apply(image, before, sample_rng(7, 3, sample))
    return pixels.tobytes(), after.quads.tobytes()


def test_the_same_whichever_process_runs_it() -> None:
    run = subprocess.run([sys.executable, __file__, "4", "2"], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [part.hex() for sample in (4, 2) for part in augmented(sample)]


def test_seed_epoch_and_sample_all_count() -> None:
    draws = [tuple(sample_rng(*key).random(3)) for key in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1))]
    assert len(set(draws)) == 5
    assert tuple(sample_rng(0, 1, 1).random(3)) == draws[-1]


BAD_SETTINGS = [
    ({"rotation": 1.2}, "expected rotation from 0 to 1, got 1.2"),
    ({"quarter_turns": -0.1}, "expected quarter_turns from 0 to 1, got -0.1"),
    ({"iof_threshold": 7.0}, "expected iof_threshold from 0 to 1, got 7.0"),
    ({"horizontal_flip": 0.5, "vertical_flip": 0.6}, "expected flips of a probability of at most 1 together, got 1.1"),
    ({"max_angle": 181.0}, "expected max_angle from 0 to 180 degrees, got 181"),
    ({"scale_range": (2.0, 1.0)}, r"expected scale_range of two rising numbers above 0, got \(2\.0, 1\.0\)"),
    ({"scale_range": (0.0, 1.0)}, "expected scale_range of two rising numbers above 0"),
    ({"scale_range": [1.0]}, "expected scale_range of two rising numbers above 0"),
    ({"scale_range": (1.0, math.inf)}, "expected scale_range of two rising numbers above 0"),
    ({"crop_range": (0.5, 1.5)}, "expected crop_range of two rising numbers above 0 and at most 1, got"),
    ({"scaling": math.nan}, "expected scaling from 0 to 1, got nan"),
]


@pytest.mark.parametrize("values, expected", BAD_SETTINGS)
def test_bad_settings(values: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        Augmentation(**values)  # type: ignore[arg-type]


if __name__ == "__main__":  # the other process of the test above
    print(*(part.hex() for number in sys.argv[1:] for part in augmented(int(number))))
