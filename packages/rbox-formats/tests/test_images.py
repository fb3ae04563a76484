from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rbox_formats import images
from rbox_formats.errors import ImageError

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


@pytest.fixture(params=["png", "jpg", "bmp", "tif"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"a.{request.param}"
    Image.fromarray(PIXELS).save(path)
    return path


def test_size_and_pixels(path: Path) -> None:
    assert images.read_size(path) == (60, 40)
    images.check(path)
    if path.suffix != ".jpg":
        np.testing.assert_array_equal(images.load(path), PIXELS)


def test_grey_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    for mode in ("L", "RGBA", "P"):
        Image.fromarray(PIXELS).convert(mode).save(tmp_path / "a.png")
        assert images.load(tmp_path / "a.png").shape == (40, 60, 3)


def test_a_file_cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ImageError, match=rf"{path.name}: expected a whole image, got: .*\nFetch the file again"):
        images.load(path)
    if path.suffix in (".png", ".jpg"):  # where the check can see it without decoding
        with pytest.raises(ImageError, match="expected a whole image"):
            images.check(path)


@pytest.mark.parametrize("function", [images.read_size, images.load, images.check])
def test_no_file_and_no_image(function: object, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"text")
    with pytest.raises(ImageError, match=r"a\.png: expected a whole image"):
        function(tmp_path / "a.png")  # type: ignore[operator]
    with pytest.raises(ImageError, match=r"b\.png: expected an image, found no file"):
        function(tmp_path / "b.png")  # type: ignore[operator]


def test_sixteen_bits_are_refused_and_not_cut(tmp_path: Path) -> None:
    Image.fromarray(np.arange(100, dtype=np.uint16).reshape(10, 10) * 600).save(tmp_path / "a.png")
    with pytest.raises(ImageError, match=r"a\.png: expected an image of 8 bits a channel, got .*'I;16'\nConvert"):
        images.load(tmp_path / "a.png")


def test_large_images_are_read(tmp_path: Path) -> None:
    """Beyond the size at which Pillow by itself refuses: 179 million pixels."""
    Image.new("1", (14_000, 14_000)).save(tmp_path / "a.png")
    limit = Image.MAX_IMAGE_PIXELS
    assert images.read_size(tmp_path / "a.png") == (14_000, 14_000)
    images.check(tmp_path / "a.png")
    assert limit == Image.MAX_IMAGE_PIXELS


def test_hidden_files_are_not_images(tmp_path: Path) -> None:
    Image.new("RGB", (5, 5)).save(tmp_path / "a.png")
    (tmp_path / ".a.png.x1.png").write_bytes(b"half written by a process that was killed")
    assert images.find(tmp_path) == [tmp_path / "a.png"]
    assert images.find(tmp_path / "nowhere") == []
