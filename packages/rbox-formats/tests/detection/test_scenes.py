"""Images as users give them: one or many, of files and of memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from rbox_formats import images, tiling
from rbox_formats.detection import Scene, scenes_of
from rbox_formats.errors import DatasetError, ImageError

RNG = np.random.default_rng(0)


def windows(width: int, height: int) -> list[tiling.Window]:
    return list(tiling.windows(width, height, 48, 8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.png", "c [1].png"):
        Image.fromarray(RNG.integers(0, 255, (20, 30, 3), dtype=np.uint8)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("b.png\n# the others later\na.png\n")
    return tmp_path


def test_images_in_memory_are_seen_as_from_their_files(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pixels = RNG.integers(0, 255, (70, 110, 3), dtype=np.uint8)
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    # A whole number over 255 comes back as the number, in float32 as torchvision's `to_tensor` makes it.
    forms = [path, pixels, Image.fromarray(pixels), tensor, tensor.float() / 255, tensor.double() / 255]
    expected = [tiling.crop(images.load(path), window) for window in windows(110, 70)]
    for number, form in enumerate(forms):
        scene = Scene.of(form, windows, "b")
        assert scene.image_id == ("b" if number else "a")
        assert scene.size == (110, 70)
        numbers, crops = zip(*scene.crops(), strict=True)
        assert list(numbers) == list(range(6))
        np.testing.assert_array_equal(crops, expected)


def test_a_grey_image_is_grey_in_all_colours() -> None:
    grey = RNG.integers(0, 255, (20, 30), dtype=np.uint8)
    np.testing.assert_array_equal(Scene.of(grey, windows).pixels, np.stack([grey] * 3, axis=2))


def test_one_image_or_many(folder: Path) -> None:
    torch = pytest.importorskip("torch")
    pixels = np.zeros((4, 5, 3), dtype=np.uint8)
    path = folder / "a.png"
    for one in (path, str(path), pixels, Image.fromarray(pixels), torch.zeros(3, 4, 5), folder / "c [1].png"):
        (_,), is_one = scenes_of(one, windows)
        assert is_one
    for many in ([path], [pixels], np.stack([pixels]), iter([path]), (path,), torch.zeros(1, 3, 4, 5)):
        (_,), is_one = scenes_of(many, windows)
        assert not is_one
    names = ["a", "b", "c [1]"]
    for source, expected in (
        (folder, names),
        (str(folder / "*.png"), names),
        (folder / "notes.txt", ["b", "a"]),
        (f"@{folder / 'notes.txt'}", ["b", "a"]),
        ([folder / "b.png", f"{folder}/[a]*.png", folder], ["b", "a", *names]),
        ([pixels, folder / "b.png", pixels], ["image-0", "b", "image-2"]),
    ):
        scenes, is_one = scenes_of(source, windows)
        assert ([scene.image_id for scene in scenes], is_one) == (expected, False)


@pytest.mark.parametrize(
    "image, found",
    [
        (np.zeros((4, 5), dtype=np.float32), r"\(height, width, 3\) of uint8, got \(4, 5\) of float32"),
        (np.zeros((4, 5, 3)), "got .* of float64"),
        (np.zeros((4, 5, 4), dtype=np.uint8), r"got \(4, 5, 4\) of uint8"),
        (np.zeros((0, 5, 3), dtype=np.uint8), r"got \(0, 5, 3\)"),
        (7, "expected an image, or a list of images, got int"),
        ([7], "expected a path, a Pillow image, an array or a tensor, got int"),
        ("https://example.org/a.png", "(?s)got an address on the network: 'https://example.org/a.png'.*download it"),
        (Path("https://example.org/a.png"), "got an address on the network"),
        (["s3://bucket/*.tif"], "got an address on the network: 's3://bucket"),
        ("nowhere.png", "nowhere.png: expected an image, found no such file"),
        ("a\0.png", "expected a path that a file system can hold"),
    ],
)
def test_what_is_no_image(image: Any, found: str) -> None:
    with pytest.raises(ImageError, match=found):
        scenes_of(image, windows)


def test_tensors_that_are_no_images() -> None:
    torch = pytest.importorskip("torch")
    for tensor, message in (
        (torch.zeros(4, 5, 3), r"\(3, height, width\), got \(4, 5, 3\)"),
        (torch.full((3, 4, 5), 2.0), r"(?s)floats from 0 to 1 in a tensor, got 2 to 2.*normalisation"),
        (torch.full((3, 4, 5), torch.nan), "floats from 0 to 1"),
        (torch.zeros(3, 4, 5, dtype=torch.int64), "a tensor of uint8 or of floats, got torch.int64"),
    ):
        with pytest.raises(ImageError, match=message):
            scenes_of(tensor, windows)


def test_a_folder_or_a_pattern_without_images(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "*.png"):
        with pytest.raises(DatasetError, match=r"expected images .*, found none"):
            scenes_of(source, windows)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_an_image_is_turned_as_its_file_notes_in_memory_too(name: str, orientation: int, tmp_path: Path) -> None:
    """As Pillow's `exif_transpose` turns it: from a file window by window, and as Pillow opened it."""
    exif = Image.Exif()
    exif[0x112] = orientation
    noted: dict[str, Any] = {"tiffinfo": {0x112: orientation}} if name == "a.tif" else {"exif": exif}
    Image.fromarray(RNG.integers(0, 255, (20, 40, 3), dtype=np.uint8)).save(tmp_path / name, **noted)
    with Image.open(tmp_path / name) as image:
        shown = np.asarray(ImageOps.exif_transpose(image))
    with Image.open(tmp_path / name) as image:
        np.testing.assert_array_equal(Scene.of(image, windows).pixels, shown)
    scene = Scene.of(tmp_path / name, windows)
    assert scene.size == shown.shape[1::-1]
    ((_, crop),) = scene.crops()
    np.testing.assert_array_equal(crop[: shown.shape[0], : shown.shape[1]], shown)


def test_a_whole_image_is_not_filled_up() -> None:
    pixels = RNG.integers(0, 255, (20, 40, 3), dtype=np.uint8)
    scene = Scene.of(pixels, lambda width, height: [tiling.Window(0, 0, max(width, height))], pad_whole=False)
    assert scene.is_whole
    ((_, crop),) = scene.crops()
    np.testing.assert_array_equal(crop, pixels)
    assert not Scene.of(np.zeros((60, 60, 3), np.uint8), windows).is_whole
