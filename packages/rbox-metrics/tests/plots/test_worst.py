"""The sheet of the worst images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from rbox_formats import ClassNames, Dataset, ImageRecord, draw, rbox_to_quad
from rbox_metrics import MetricsError, Placement, evaluate
from rbox_metrics.plots import judged_sheet, worst_images
from rbox_metrics.plots._worst import _COLOURS, caption, judge, outlined, window

NAMES = ClassNames(["ship", "plane"])
GROUND = (90, 110, 80)


def dataset(records: list[ImageRecord], names: ClassNames = NAMES) -> Dataset:
    return Dataset(names, records, lambda record: record)


def record(image_id: str, *boxes: tuple[float, ...], labels: list[int] | None = None, **fields: object) -> ImageRecord:
    array = np.array(boxes, dtype=float).reshape(-1, 5)
    return ImageRecord(image_id, array, np.array(labels or [0] * len(array), dtype=int), **fields)


@pytest.fixture
def image(tmp_path: Path) -> Callable[..., Path]:
    """Writes a plain image."""

    def image(name: str, width: int = 240, height: int = 160) -> Path:
        path = tmp_path / f"{name}.png"
        Image.new("RGB", (width, height), GROUND).save(path)
        return path

    return image


FOUND, MISSED, FALSE = (60, 40, 40, 20, 0.3), (170, 40, 40, 20, 0.0), (60, 120, 40, 20, 1.0)
NEAR = (62, 41, 40, 20, 0.3)  # found by this one, at an IoU above 0.8


def scored(truth: list[ImageRecord], detections: list[ImageRecord]) -> Placement:
    placement = evaluate(truth, detections, NAMES, full=True).placement
    assert placement is not None
    return placement


@pytest.mark.parametrize("score_levels", [10**6, 3, None])
@pytest.mark.parametrize("seed", range(4))
def test_judged_as_the_placement_counts(seed: int, score_levels: int | None, crowded_scene: Callable) -> None:
    truth, detections = crowded_scene(seed, 8, score_levels)
    names = ClassNames(["ship", "plane", "tank"])
    placement = evaluate(truth, detections, names, full=True).placement
    judged = judge(truth, detections[::-1], names, 0.5)
    for number, each in enumerate(judged):
        assert each.truth.image_id == placement.images[number]
        counts = [int(mask.sum()) for mask in (each.right, each.false, each.missed)]
        assert counts == [placement.hits[number], placement.false_positives[number], placement.missed[number]]
        assert each.found.sum() == each.right.sum()
        assert not (each.found & each.missed).any()
        assert not ((each.found | each.missed) & each.truth.difficult).any()


def test_judged_by_quads_where_quads_were_scored() -> None:
    """Two halves of a box that lie on each other as boxes, and in different corners as quads."""
    square = rbox_to_quad(np.array([[50.0, 50, 40, 40, 0]]))[0]
    lower, upper = square[[0, 1, 2, 2]], square[[2, 3, 0, 0]]
    truth, detection = (ImageRecord.from_quads("a", quad[None], np.array([0])) for quad in (lower, upper))
    by_box, by_quad = (judge([truth], [detection], NAMES, 0.5, geometry=geometry)[0] for geometry in ("rbox", "quad"))
    assert (by_box.found.tolist(), by_quad.found.tolist()) == ([True], [False])
    assert (by_box.false.tolist(), by_quad.false.tolist()) == ([False], [True])


def test_each_outcome_has_its_colour(image: Callable[..., Path]) -> None:
    """Along the outlines of three boxes, in the legend's colours; the detection of a match is not drawn."""
    truth = record("a", FOUND, MISSED, path=image("a"))
    detected = record("a", NEAR, FALSE)
    (judged,) = judge([truth], [detected], NAMES, 0.5)
    picture = outlined(np.full((160, 240, 3), GROUND, np.uint8), judged, NAMES, (0, 0))
    assert picture.size == (640, 427)
    pixels = np.array(picture).astype(int)

    def share(box: tuple[float, ...], outcome: str) -> float:
        """How much of the outline has the colour near it."""
        quad = 640 / 240 * rbox_to_quad(np.array([box]))[0]
        ends = np.linspace(quad, np.roll(quad, -1, axis=0), 40)[4:-4].reshape(-1, 2)
        colour = np.array(draw.class_colour(_COLOURS[outcome]))
        near = [
            np.abs(pixels[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2] - colour).sum(-1).min() for x, y in ends
        ]
        return float(np.mean(np.array(near) < 120))

    boxes = {"missed": MISSED, "false": FALSE, "found": FOUND}
    for outcome, box in boxes.items():
        assert share(box, outcome) > 0.7, outcome
    assert share(MISSED, "false") == share(FALSE, "missed") == share(MISSED, "found") == 0
    # What is right takes less ink than what is not.
    inked = {
        outcome: int((np.abs(pixels - draw.class_colour(_COLOURS[outcome])).sum(-1) < 40).sum()) for outcome in boxes
    }
    assert 3 * inked["found"] < min(inked["missed"], inked["false"])


def texts_of(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is written on pictures from here on."""
    written: list[str] = []
    plain = ImageDraw.ImageDraw.text

    def text(self: ImageDraw.ImageDraw, at: object, text: str, *arguments: object, **options: object) -> None:
        written.append(text)
        plain(self, at, text, *arguments, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return written


def test_tags_tell_the_class_and_not_what_the_colour_says(monkeypatch: pytest.MonkeyPatch) -> None:
    written = texts_of(monkeypatch)
    (judged,) = judge([record("a", MISSED)], [record("a", FALSE, labels=[1], scores=np.array([0.25]))], NAMES, 0.5)
    outlined(np.full((160, 240, 3), GROUND, np.uint8), judged, NAMES, (0, 0))
    assert sorted(written) == ["plane 0.25", "ship"]


def test_very_many_errors_have_no_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the part that is shown: those elsewhere do not count."""
    written = texts_of(monkeypatch)
    x, y = np.meshgrid(np.arange(8) * 30 + 15, np.arange(8) * 20 + 10)
    boxes = np.stack([x, y, x * 0 + 20, x * 0 + 10, x * 0], axis=-1).reshape(-1, 5)
    for shift, some in ((0, False), (120, True)):
        (judged,) = judge([record("a", *map(tuple, boxes))], [], NAMES, 0.5)
        outlined(np.full((160, 240, 3), GROUND, np.uint8), judged, NAMES, (shift, 0))
        assert bool(written) is some


def test_part_of_an_image_is_drawn_where_it_begins() -> None:
    truth = record("a", (1000 + MISSED[0], 500 + MISSED[1], *MISSED[2:]))
    (shifted,) = judge([truth], [], NAMES, 0.5)
    (plain,) = judge([record("a", MISSED)], [], NAMES, 0.5)
    pixels = np.full((160, 240, 3), GROUND, np.uint8)
    one, other = outlined(pixels, shifted, NAMES, (1000, 500)), outlined(pixels, plain, NAMES, (0, 0))
    np.testing.assert_array_equal(np.array(one), np.array(other))
    assert (np.array(one) != np.array(Image.new("RGB", one.size, GROUND))).any()


def test_worst_come_first_and_those_without_a_file_are_passed_over(image: Callable[..., Path], tmp_path: Path) -> None:
    truth = [
        record("good", FOUND, path=image("good")),
        record("half", FOUND, MISSED, path=image("half")),
        record("without file", MISSED),
        record("bad", MISSED, path=image("bad")),
    ]
    detections = [record("good", NEAR), record("half", NEAR), record("bad", FALSE)]
    placement = scored(truth, detections)
    assert [placement.images[number] for number in placement.worst(9)] == ["bad", "without file", "half"]
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    assert worst_images(dataset(truth), detections, placement, one, count=1) == one
    assert worst_images(dataset(truth[:2] + truth[:1:-1]), detections, placement, str(two)) == two
    with Image.open(one) as first, Image.open(two) as both:
        assert first.width == 640 + 24
        assert both.width == 2 * 640 + 36
        # The first tile is the same on both, below the legend, which takes more rows on the narrow sheet.
        tiles = [np.array(sheet)[-500:-12, 12:652] for sheet in (first, both)]
        np.testing.assert_array_equal(*tiles)


def test_a_sheet_of_any_images(image: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Four beside each other, in the order given, each with its counts."""
    written = texts_of(monkeypatch)
    pairs = [(record(f"P{k}", FOUND, MISSED, path=image(f"P{k}")), record(f"P{k}", NEAR, FALSE)) for k in range(5)]
    sheet = judged_sheet(pairs, NAMES)
    assert sheet.width == 4 * 640 + 5 * 12
    assert [text for text in written if text[0] == "P"] == ["P0", "P1", "P2", "P3", "P4"]
    assert written.count("1 right, 1 wrong, 1 missed") == 5
    pixels = np.array(sheet).astype(int)
    for outcome in ("missed", "false", "found"):
        colour = draw.class_colour(_COLOURS[outcome])
        assert (np.abs(pixels[40:] - colour).sum(-1) < 40).any(), outcome
    strict = judged_sheet(pairs, NAMES, iou_threshold=0.99)
    assert written[-1].startswith(("right", "wrong", "missed"))
    assert "0 right, 2 wrong, 2 missed" in written
    assert strict.size == sheet.size
    with pytest.raises(MetricsError, match="expected at least one image to draw"):
        judged_sheet([], NAMES)


def test_captions(image: Callable[..., Path]) -> None:
    truth = [record("a", FOUND, MISSED), record("b")]
    placement = scored(truth, [record("a", NEAR, FALSE)])
    assert caption(placement, 0) == "F1 50.0 %: 1 found, 1 missed, 1 false"
    assert caption(placement, 1) == "F1 100.0 %: 0 found, 0 missed, 0 false"


@pytest.mark.parametrize("path", [None, "there"])
def test_nothing_to_draw(path: str | None, image: Callable[..., Path], tmp_path: Path) -> None:
    """Errors on an image without a file; an image without errors."""
    boxes = (FOUND, MISSED) if path is None else (FOUND,)
    truth = [record("a", *boxes, path=path and image(path))]
    placement = scored(truth, [record("a", NEAR)])
    assert worst_images(dataset(truth), [record("a", NEAR)], placement, tmp_path / "sheet.png") is None
    assert not (tmp_path / "sheet.png").exists()


def test_large_image_is_cut_to_its_errors(image: Callable[..., Path], tmp_path: Path) -> None:
    truth = [record("a", *[(3000 + 30 * k, 1500, 25, 10, 0) for k in range(5)], path=image("a", 4000, 2500))]
    placement = scored(truth, [])
    path = worst_images(dataset(truth), [], placement, tmp_path / "sheet.png")
    with Image.open(path) as sheet:
        pixels = np.array(sheet).astype(int)
    yellow = np.abs(pixels - draw.class_colour(_COLOURS["missed"])).sum(-1) < 40
    # Outlines of 25 px at more than twice their size, 2.5 px wide, and labels: not a few specks.
    assert yellow[60:].sum() > 5 * 2 * (25 + 10) * 2 * 2


@given(
    st.lists(st.tuples(st.floats(-50, 5000), st.floats(-50, 5000), st.floats(0, 700)), min_size=1, max_size=8),
    st.integers(1, 5000),
    st.integers(1, 5000),
)
def test_window_is_inside_the_image(errors: list[tuple[float, float, float]], width: int, height: int) -> None:
    corners = np.array([[[x, y], [x + s, y], [x + s, y + s], [x, y + s]] for x, y, s in errors])
    x0, y0, x1, y1 = window(corners, width, height)
    assert 0 <= x0 < x1 <= width
    assert 0 <= y0 < y1 <= height
    assert max(x1 - x0, y1 - y0) <= 1.3 * 1600


def test_window_has_the_most_errors() -> None:
    alone, crowd = [[100, 100]], [[3000, 3000], [3050, 3020], [2980, 3060]]
    corners = np.array(alone + crowd, dtype=float)[:, None] + np.array([[0, 0], [20, 0], [20, 20], [0, 20]])
    x0, y0, x1, y1 = window(corners, 4000, 4000)
    assert (x1 - x0, y1 - y0) == (120, 120)
    for x, y in crowd:
        assert x0 <= x <= x1
        assert y0 <= y <= y1


def test_bad_arguments(image: Callable[..., Path], tmp_path: Path) -> None:
    path = image("a")
    truth = dataset([record("a", MISSED, path=path)])
    placement = scored(list(truth), [])
    with pytest.raises(MetricsError, match="expected 1 image or more, got 0"):
        worst_images(truth, [], placement, tmp_path / "sheet.png", count=0)
    with pytest.raises(MetricsError, match="full report, got None"):
        worst_images(truth, [], None, tmp_path / "sheet.png")
    with pytest.raises(MetricsError, match="the ground truth has no image 'a'"):
        worst_images(dataset([record("b", MISSED)]), [], placement, tmp_path / "sheet.png")
    with pytest.raises(ValueError, match="this one is read"):
        worst_images(truth, [], placement, path)
    other_size = dataset([record("a", MISSED, path=path, width=100, height=160)])
    with pytest.raises(MetricsError, match="an image of 100x160 px, got 240x160"):
        worst_images(other_size, [], placement, tmp_path / "sheet.png")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
