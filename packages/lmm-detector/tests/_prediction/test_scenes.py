"""How images are divided among batches and processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lmm_detector._prediction._scenes import Scene, as_pixels, blocks, is_one_image, shared
from PIL import Image, ImageOps
from rbox_formats import images, tiling
from rbox_formats.errors import ImageError


def scenes(counts: list[int]) -> list[Scene]:
    windows = [tuple(tiling.Window(10 * n, 0, 10) for n in range(count)) for count in counts]
    return [Scene(str(number), None, None, (10, 10), each) for number, each in enumerate(windows)]


@given(counts=st.lists(st.integers(1, 40), max_size=60), batch_size=st.integers(1, 9))
def test_blocks_hold_every_scene_in_order_and_waste_little(counts: list[int], batch_size: int) -> None:
    given_scenes = scenes(counts)
    found = blocks(given_scenes, batch_size)
    assert [scene for block in found for scene in block] == given_scenes
    for block in found[:-1]:
        windows = sum(len(scene.windows) for scene in block)
        assert windows >= 4 * batch_size
        assert windows - len(block[-1].windows) < 16 * batch_size
    # A block's last batch alone is not full.
    batches = sum(-(-sum(len(scene.windows) for scene in block) // batch_size) for block in found)
    assert batches <= -(-sum(counts) // batch_size) * 1.25 + 1


def test_blocks_grow_with_the_run() -> None:
    sizes = {count: len(blocks(scenes([1] * count), 8)[0]) for count in (1, 100, 2000, 100_000)}
    assert sizes == {1: 1, 100: 32, 2000: 56, 100_000: 128}


@given(loads=st.lists(st.integers(1, 1000), max_size=40), count=st.integers(1, 8))
def test_shares_differ_by_no_more_than_a_piece(loads: list[int], count: int) -> None:
    ranks = shared(loads, count)
    totals = [sum(load for load, rank in zip(loads, ranks, strict=True) if rank == each) for each in range(count)]
    assert sum(totals) == sum(loads)
    assert max(totals) - min(totals) <= max(loads, default=0)


def test_images_in_memory_are_seen_as_from_their_files(tmp_path: Any) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (70, 110, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    of_file, of_array, of_picture = (Scene.of(each, 48, 8, "b") for each in (path, pixels, Image.fromarray(pixels)))
    assert (of_file.image_id, of_array.image_id) == ("a", "b")
    assert of_file.size == of_array.size == (110, 70)
    expected = [tiling.crop(images.load(path), window) for window in tiling.windows(110, 70, 48, 8)]
    for scene in (of_file, of_array, of_picture):
        numbers, crops = zip(*scene.crops(), strict=True)
        assert list(numbers) == list(range(6))
        np.testing.assert_array_equal(crops, expected)


def test_one_image_or_many() -> None:
    pixels = np.zeros((4, 5, 3), dtype=np.uint8)
    assert all(map(is_one_image, ["a.png", pixels, Image.fromarray(pixels)]))
    assert not any(map(is_one_image, [["a.png"], [pixels], np.stack([pixels]), iter([])]))


@pytest.mark.parametrize(
    "image, found",
    [
        (np.zeros((4, 5), dtype=np.uint8), r"\(height, width, 3\) of uint8, got \(4, 5\)"),
        (np.zeros((4, 5, 3)), "got .* of float64"),
        (np.zeros((0, 5, 3), dtype=np.uint8), r"got \(0, 5, 3\)"),
        (7, "expected a path, a Pillow image or an array, got int"),
    ],
)
def test_what_is_no_image(image: Any, found: str) -> None:
    with pytest.raises(ImageError, match=found):
        as_pixels(image)


def test_a_folder_is_no_image(tmp_path: Any) -> None:
    with pytest.raises(ImageError, match=r"(?s)expected an image, got a folder.*find_images"):
        Scene.of(tmp_path, 48, 8)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_an_image_is_turned_as_its_file_notes_in_memory_too(name: str, orientation: int, tmp_path: Path) -> None:
    """As Pillow's `exif_transpose` turns it: from a file window by window, and as Pillow opened it."""
    exif = Image.Exif()
    exif[0x112] = orientation
    noted: dict[str, Any] = {"tiffinfo": {0x112: orientation}} if name == "a.tif" else {"exif": exif}
    pixels = np.random.default_rng(0).integers(0, 255, (20, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / name, **noted)
    with Image.open(tmp_path / name) as image:
        shown = np.asarray(ImageOps.exif_transpose(image))
    with Image.open(tmp_path / name) as image:
        np.testing.assert_array_equal(as_pixels(image), shown)
    scene = Scene.of(tmp_path / name, 64, 0)
    assert scene.size == shown.shape[1::-1]
    ((_, crop),) = scene.crops()
    np.testing.assert_array_equal(crop[: shown.shape[0], : shown.shape[1]], shown)
