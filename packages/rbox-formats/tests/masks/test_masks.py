from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as coco
from rbox_formats import ImageRecord, flip, intersection_over_foreground, masks, rbox_to_quad, rotate90
from rbox_formats.errors import FormatsError
from rbox_formats.masks import Masks, PolygonMask, RunMask
from shapely.geometry import Point, Polygon


def blobs(seed: int, width: int = 61, height: int = 47) -> np.ndarray:
    """Pixels of several parts, with holes, at the border too."""
    rng = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(rng.random((height, width)), (0, 0), 2.0 + seed % 3)
    return noise > np.quantile(noise, 0.3 + 0.1 * (seed % 5))


def outlines(seed: int) -> list[list[float]]:
    """Stars of random corners, some beyond an image of 61 x 47 px, and some that cross themselves."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(1 + seed % 3):
        count = int(rng.integers(3, 12))
        angles = np.sort(rng.random(count)) * 2 * np.pi if seed % 2 else rng.random(count) * 2 * np.pi
        away = rng.uniform(2, 25, count)
        centre = rng.uniform(0, [61, 47])
        found.append((centre + np.stack([away * np.cos(angles), away * np.sin(angles)], axis=1)).ravel().tolist())
    return found


@pytest.mark.parametrize("seed", range(8))
def test_run_lengths_are_those_of_pycocotools(seed: int) -> None:
    pixels = blobs(seed)
    mask, theirs = RunMask.of_array(pixels), coco.encode(np.asfortranarray(pixels))
    assert mask.to_coco(61, 47) == {"size": [47, 61], "counts": theirs["counts"].decode()}
    assert mask.area == pixels.sum()
    x, y, w, h = coco.toBbox(theirs)
    assert mask.bounds == (x, y, x + w, y + h)
    for form in (theirs, mask.to_coco(61, 47), torch.from_numpy(pixels)):
        assert (masks.as_mask(form).to_runs().runs == mask.runs).all()
    assert (mask.to_array(61, 47) == pixels).all()


@pytest.mark.parametrize("pixels", [np.zeros((3, 4)), np.ones((3, 4)), np.eye(4), np.zeros((0, 0)), np.ones((1, 1))])
def test_run_lengths_of_the_plainest_masks(pixels: np.ndarray) -> None:
    mask = RunMask.of_array(pixels.astype(np.uint8))
    theirs = coco.encode(np.asfortranarray(pixels.astype(np.uint8)))
    height, width = pixels.shape
    assert mask.to_coco(width, height)["counts"] == theirs["counts"].decode()
    if pixels.size:
        assert (RunMask.of_coco(mask.to_coco(width, height)).to_array(width, height) == pixels).all()


def test_counts_in_a_list_are_read() -> None:
    pixels = blobs(3)
    flat = pixels.ravel(order="F").astype(np.int8)
    bounds = np.flatnonzero(np.diff(np.concatenate([[0], flat, [0]])))
    counts = np.diff(np.concatenate([[0], bounds, [flat.size]])).tolist()
    assert (RunMask.of_coco({"size": [47, 61], "counts": counts}).to_array(61, 47) == pixels).all()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools 2.0.11
@pytest.mark.parametrize("seed", range(24))
def test_polygons_cover_the_pixels_of_pycocotools(seed: int) -> None:
    segmentation = outlines(seed)
    theirs = coco.decode(coco.merge(coco.frPyObjects(segmentation, 47, 61))).astype(bool)
    assert (masks.as_mask(segmentation).to_runs(61, 47).to_array(61, 47) == theirs).all()


def test_an_outline_far_beyond_its_image_costs_no_memory() -> None:
    mask = masks.as_mask([[-1e9, -1e9, 1e9, -1e9, 1e9, 1e9, -1e9, 1e9]])
    assert mask.to_runs(20, 10).area == 200


@pytest.mark.parametrize("seed", range(6))
def test_flips_turns_and_windows_are_those_of_the_pixels(seed: int) -> None:
    pixels = blobs(seed)
    column = Masks([pixels])
    expected = {"horizontal": pixels[:, ::-1], "vertical": pixels[::-1], "diagonal": pixels[::-1, ::-1]}
    for direction, array in expected.items():
        assert (column.flipped((61, 47), direction)[0].to_runs().runs == RunMask.of_array(array).runs).all()
    for turns in range(-1, 4):
        turned = np.rot90(pixels, -turns)
        assert (column.turned((61, 47), turns)[0].to_runs().runs == RunMask.of_array(turned).runs).all()
    cut = column.clipped(7, 9, 40, 33).moved(-7, -9)[0].to_runs()
    assert (cut.runs == RunMask.of_array(pixels[9:33, 7:40]).runs).all()
    for factors in ((2.0, 2.0), (0.5, 0.5), (1.3, 0.7)):
        width, height = (math.ceil(side * factor) for side, factor in zip((61, 47), factors, strict=True))
        x, y = (
            np.minimum(((np.arange(n) + 0.5) / f).astype(int), side - 1)
            for n, f, side in ((width, factors[0], 61), (height, factors[1], 47))
        )
        found = column.scaled(*factors)[0].to_runs(width, height).to_array(width, height)
        inside = ((np.arange(width) + 0.5) / factors[0] < 61) & ((np.arange(height) + 0.5) / factors[1] < 47)[:, None]
        assert (found == pixels[y][:, x] & inside).all()


@pytest.mark.parametrize("seed", [1, 3, 5, 7, 9])
def test_polygons_move_as_quads_do(seed: int) -> None:
    quads = rbox_to_quad(np.random.default_rng(seed).uniform([5, 5, 4, 2, -1], [50, 40, 20, 9, 1], (3, 5)))
    column = Masks([[quad.ravel().tolist()] for quad in quads])
    stack = [
        (column.flipped((61, 47), "horizontal"), flip(quads, (61, 47), "horizontal")),
        (column.turned((61, 47), 1), rotate90(quads, (61, 47), 1)[0]),
        (column.turned((61, 47), -1), rotate90(quads, (61, 47), -1)[0]),
        (column.scaled(2, 0.5).moved(3, 4), quads * (2, 0.5) + (3, 4)),
    ]
    for moved, expected in stack:
        assert np.allclose([mask.to_polygons()[0] for mask in moved], expected)
    window = (10.0, 8.0, 45.0, 30.0)
    areas = column.clipped(*window).areas
    assert np.allclose(areas, column.areas * intersection_over_foreground(quads, window))


@pytest.mark.parametrize("seed", range(8))
def test_rings_are_the_outlines_of_the_pixels(seed: int) -> None:
    pixels = blobs(seed)
    parts = RunMask.of_array(pixels).rings()
    polygons = [Polygon(part[0], part[1:]) for part in parts]
    assert all(polygon.is_valid for polygon in polygons)
    assert sum(polygon.area for polygon in polygons) == pixels.sum()
    count, _ = cv2.connectedComponents(pixels.astype(np.uint8), connectivity=4)
    assert len(parts) == count - 1
    # The pixels inside, by their centres.
    drawn = np.zeros(pixels.shape, np.int32)
    for polygon in polygons:
        for x in range(pixels.shape[1]):
            for y in range(pixels.shape[0]) if polygon.bounds[0] <= x <= polygon.bounds[2] else ():
                if polygon.bounds[1] <= y <= polygon.bounds[3]:
                    drawn[y, x] += polygon.covers(_point(x, y))
    assert (drawn == pixels).all()


def _point(x: int, y: int) -> Point:
    return Point(x + 0.5, y + 0.5)


@pytest.mark.parametrize("tolerance", [0.5, 1.0, 3.0])
def test_simpler_rings_stay_close_and_valid(tolerance: float) -> None:
    for seed in range(6):
        mask = RunMask.of_array(blobs(seed))
        for part, simple in zip(mask.rings(), mask.rings(tolerance), strict=True):
            for ring, fewer in zip(part, simple, strict=True):
                assert len(fewer) <= len(ring)
                assert Polygon(fewer).is_valid
                assert Polygon(ring).exterior.hausdorff_distance(Polygon(fewer).exterior) <= tolerance + 1e-9


def test_the_rectangle_of_a_mask_is_close_to_the_box_that_it_was_made_of() -> None:
    """As measured for `shared/facts`: 0.98 on average for sides of 20 to 60 px, by hulls of the pixels' centres."""
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(40):
        box = np.array([*rng.uniform(40, 60, 2), *rng.uniform(20, 60, 2), rng.uniform(-1.5, 1.5)])
        y, x = np.mgrid[:100, :100] + 0.5
        along = (x - box[0]) * np.cos(box[4]) + (y - box[1]) * np.sin(box[4])
        across = -(x - box[0]) * np.sin(box[4]) + (y - box[1]) * np.cos(box[4])
        mask = RunMask.of_array((abs(along) <= box[2] / 2) & (abs(across) <= box[3] / 2))
        one, other = (Polygon(rbox_to_quad(each)) for each in (box, mask.to_rbox()))
        shares.append(one.intersection(other).area / one.union(other).area)
    assert np.mean(shares) > 0.97
    assert min(shares) > 0.9


@pytest.mark.parametrize("seed", range(6))
def test_the_rectangle_of_a_mask_is_that_of_opencv(seed: int) -> None:
    pixels = blobs(seed)
    y, x = np.nonzero(pixels)
    _, sides, _ = cv2.minAreaRect(np.stack([x, y], axis=1).astype(np.float32))
    box = RunMask.of_array(pixels).to_rbox()
    assert box[2] * box[3] == pytest.approx(sides[0] * sides[1], rel=1e-4)


def test_masks_on_a_line_and_of_a_pixel_have_boxes() -> None:
    pixels = np.zeros((9, 9), bool)
    pixels[4, 2:7] = True
    assert RunMask.of_array(pixels).to_rbox().tolist() == [4.5, 4.5, 4, 1, 0]
    pixels[4, 3:] = False
    assert RunMask.of_array(pixels).to_rbox()[:4].tolist() == [2.5, 4.5, 1, 1]
    four = np.zeros((9, 9), bool)
    four[[1, 1, 5, 5], [1, 5, 1, 5]] = True
    assert RunMask.of_array(four).to_rbox()[:4].tolist() == [3.5, 3.5, 4, 4]


def test_a_record_keeps_its_masks_in_step() -> None:
    record = ImageRecord.from_masks("a", [blobs(0), np.zeros((47, 61), bool), [[0, 0, 9, 0, 9, 5]]], [2, 0, 1])
    assert record.labels.tolist() == [2, 1]  # that without pixels is gone
    assert record.masks is not None
    part = record.select([1])
    assert part.masks is not None
    assert isinstance(part.masks[0], PolygonMask)
    assert len(record.select(np.zeros(2, bool)).masks or []) == 0
    with pytest.raises(FormatsError, match=r"as many masks as boxes \(2\) on 'a', got 1"):
        ImageRecord("a", record.boxes, [0, 0], masks=record.masks[:1])


@pytest.mark.parametrize(
    "value, match",
    [
        (np.zeros((3, 3)), "float64"),
        ([[0, 0, 1, 1]], r"of at least 3 corners"),
        ([[0, 0, 1, 1, float("nan"), 2]], "finite"),
        ([], "at least one outline"),
        ({"size": [2, 2]}, "run lengths as"),
        ({"size": [2, 2], "counts": [1, 2]}, "of 2x2 pixels, got 3"),
        ({"size": [2, 2], "counts": [5, -1]}, "whole numbers from 0"),
        ({"size": [2, 2], "counts": "not these"}, "compressed as pycocotools"),
        ({"size": [2, 2], "counts": "Q" * 30 + "0"}, "too many digits"),
        ({"size": [2, 2], "counts": "é"}, "other characters"),
        ({"size": ["2", 2], "counts": [4]}, "numbers"),
        ({"size": [2.5, 2], "counts": [4]}, "size of run lengths"),
    ],
)
def test_what_is_no_mask_is_refused(value: object, match: str) -> None:
    with pytest.raises(FormatsError, match=match):
        Masks([value])


def test_run_lengths_of_another_size_are_refused() -> None:
    with pytest.raises(FormatsError, match="of the image's size 3x2, got 2x2"):
        RunMask.of_coco({"size": [2, 2], "counts": [4]}, 3, 2)
    with pytest.raises(FormatsError, match="inside the image of 40x40"):
        RunMask.of_array(blobs(0)).to_coco(40, 40)
    with pytest.raises(FormatsError, match="expected the size of the image"):
        RunMask.of_array(blobs(0)).to_coco()


def test_damaged_run_lengths_are_read_or_refused() -> None:
    """Any text is either counts of the size, which are written the same again, or refused by our own error."""
    rng = np.random.default_rng(0)
    good = RunMask.of_array(blobs(1)).to_coco(61, 47)["counts"]
    read = 0
    for _ in range(2000):
        text = list(good)
        for _ in range(int(rng.integers(1, 4))):
            place = int(rng.integers(len(text)))
            change = int(rng.integers(3))
            text[place : place + (change != 1)] = [] if change == 0 else [chr(int(rng.integers(40, 120)))]
        value = {"size": [47, 61], "counts": "".join(text)}
        try:
            mask = RunMask.of_coco(value)
        except FormatsError:
            continue
        read += 1
        assert np.array_equal(RunMask.of_coco(mask.to_coco(61, 47)).runs, mask.runs)
    assert 0 < read < 2000
