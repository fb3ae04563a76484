"""Connected parts of rasters, with OpenCV as the witness."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from rbox_formats import masks
from rbox_formats.errors import FormatsError
from rbox_testing.samples import sampled


def raster(seed: int, width: int = 70, height: int = 50) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.random((height, width))
    if seed % 2:
        noise = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return noise > np.quantile(noise, 0.35 + 0.05 * (seed % 6))


def by_first_pixel(parts: list[np.ndarray]) -> list[np.ndarray]:
    return sorted(parts, key=lambda part: int(np.flatnonzero(part.ravel())[0]))


def of_opencv(pixels: np.ndarray, connectivity: int) -> list[np.ndarray]:
    count, labels = cv2.connectedComponents(pixels.astype(np.uint8), connectivity=connectivity)
    return by_first_pixel([labels == i for i in range(1, count)])


def filled_by_opencv(part: np.ndarray, connectivity: int) -> np.ndarray:
    around = np.pad(~part, 1, constant_values=True)
    _, labels = cv2.connectedComponents(around.astype(np.uint8), connectivity=12 - connectivity)
    return ~(labels == labels[0, 0])[1:-1, 1:-1]


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("seed", sampled(range(8), [0, 1]))
@pytest.mark.parametrize("at_once", [1, 7, 50])
def test_parts_are_those_of_opencv(seed: int, connectivity: int, at_once: int) -> None:
    pixels = raster(seed)
    bands = (pixels[first : first + at_once] for first in range(0, 50, at_once))
    found = masks.instances(bands, connectivity=connectivity)
    expected = of_opencv(pixels, connectivity)
    assert len(found) == len(expected)
    for mask, part in zip(found, expected, strict=True):
        assert np.array_equal(mask.to_runs().to_array(70, 50), part)


@pytest.mark.parametrize("connectivity", [4, 8])
@pytest.mark.parametrize("seed", range(6))
def test_holes_and_small_parts(seed: int, connectivity: int) -> None:
    pixels = raster(seed)
    found = masks.instances([pixels], connectivity=connectivity, fill_holes=True, min_area=9)
    whole = [filled_by_opencv(part, connectivity) for part in of_opencv(pixels, connectivity)]
    expected = [part for part in whole if part.sum() >= 9]
    assert any((part != one).any() for part, one in zip(whole, of_opencv(pixels, connectivity), strict=True))
    assert len(found) == len(expected)
    for mask, part in zip(found, expected, strict=True):
        assert np.array_equal(mask.to_runs().to_array(70, 50), part)
    unfilled = masks.instances([pixels], connectivity=connectivity, min_area=9)
    assert unfilled.areas.tolist() == [part.sum() for part in of_opencv(pixels, connectivity) if part.sum() >= 9]


def test_an_empty_raster_has_no_parts() -> None:
    assert len(masks.instances([])) == len(masks.instances([np.zeros((5, 6), bool)], fill_holes=True)) == 0


def test_wrong_rasters_are_named() -> None:
    with pytest.raises(FormatsError, match="connectivity of 4 or 8, got 6"):
        masks.instances([], connectivity=6)
    with pytest.raises(FormatsError, match=r"rows of a raster \(K, 6\), got \(2, 5\)"):
        masks.instances([np.zeros((5, 6), bool), np.zeros((2, 5), bool)])
