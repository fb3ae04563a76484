"""Which files are opened, and how many pixels are decoded, whatever their endings and headers say."""

from __future__ import annotations

import io
import struct
import subprocess
import threading
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rbox_formats import draw, images, tiling
from rbox_formats.errors import ImageError
from rbox_formats.images import _opening, _rows

READERS = [images.read_size, images.load, images.check, images.read_orientation]


def opened_rows(path: Path) -> None:
    with images.open_rows(path) as rows:
        rows.read(0, 1)


def other_formats() -> dict[str, bytes]:
    """Files of all other formats that Pillow writes by itself."""
    found = {"PDF by hand": b"%PDF-1.4\n1 0 obj\n"}
    for name in ("EPS", "PDF", "GIF", "ICO", "PPM", "TGA", "PCX", "SGI", "DDS", "XBM", "AVIF", "ICNS"):
        buffer = io.BytesIO()
        try:
            Image.new("1" if name == "XBM" else "RGB", (32, 32)).save(buffer, format=name)
        except (OSError, KeyError):  # a codec that this Pillow was built without
            continue
        found[name] = buffer.getvalue()
    return found


OTHERS = other_formats()


@pytest.mark.parametrize("kind", OTHERS)
@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".eps"])
def test_no_other_format_is_opened(kind: str, ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by its ending and not by its content: no Ghostscript is looked for."""

    def never(*arguments: Any, **options: Any) -> None:
        raise AssertionError(f"started {arguments}")

    for name in ("Popen", "run", "call", "check_call", "check_output"):
        monkeypatch.setattr(subprocess, name, never)
    path = tmp_path / f"a{ending}"
    path.write_bytes(OTHERS[kind])
    for function in (*READERS, opened_rows):
        with pytest.raises(ImageError, match=r"none of the formats PNG, JPEG, BMP, TIFF, WEBP, JPEG2000\nFetch"):
            function(path)


def test_the_files_that_are_read_are_those_that_are_found(tmp_path: Path) -> None:
    for suffix in images.SUFFIXES:
        Image.new("RGB", (5, 4)).save(tmp_path / f"{suffix[1:]}{suffix}")
    found = images.find(tmp_path)
    assert len(found) == len(images.SUFFIXES)
    for path in found:
        assert images.load(path).shape == (4, 5, 3)


def png(width: int, height: int, pixels: bytes, depth: int = 1, colour: int = 0) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def bomb() -> bytes:
    """50,000 x 50,000 zeros, of one bit each, in 310 kB."""
    compressor = zlib.compressobj(9)
    row = b"\0" * (1 + 50_000 // 8)
    parts = [compressor.compress(row * 500) for _ in range(100)]
    return png(50_000, 50_000, b"".join(parts) + compressor.flush())


def bmp(width: int, height: int) -> bytes:
    return struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)


def jpeg(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "JPEG")
    data = buffer.getvalue()
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def tiff(width: int, height: int, *more: tuple[int, int]) -> bytes:
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 1, **dict(more)}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())]
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + b"\0\0\0\0"


BOMBS = {
    "a.png": lambda: png(50_000, 50_000, zlib.compress(b"")),
    "b.png": bomb,
    "a.bmp": lambda: bmp(50_000, 50_000),
    "a.jpg": lambda: jpeg(50_000, 50_000),
    "a.tif": lambda: tiff(50_000, 50_000),
    "one tile.tif": lambda: tiff(100, 100, (322, 60_000), (323, 60_000), (324, 8), (325, 1)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_no_pixel_is_decoded_above_the_limit(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import ImageFile

    path = tmp_path / name
    path.write_bytes(BOMBS[name]())
    assert path.stat().st_size < 400_000
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    side = 100 if name == "one tile.tif" else 50_000
    assert images.read_size(path) == (side, side)
    message = "expected an image of at most 268,435,456 pixels, .*(?s:.*)RBOX_MAX_PIXELS higher"
    for function in (
        images.load,
        opened_rows,
        lambda path: draw.fitted(path),
        lambda path: draw.fitted(path, max_side=9),
    ):
        with pytest.raises(ImageError, match=message):
            function(path)


def test_the_environment_sets_another_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (60, 40)).save(path := tmp_path / "a.bmp")
    monkeypatch.setenv("RBOX_MAX_PIXELS", "2399")
    with pytest.raises(ImageError, match=r"at most 2,399 pixels, .* got 60x40\n"):
        images.load(path)
    monkeypatch.setenv("RBOX_MAX_PIXELS", "2400")
    assert images.load(path).shape == (40, 60, 3)
    monkeypatch.setattr(_opening, "LARGEST_WHOLE", 5)
    assert images.load(path).shape == (40, 60, 3)
    for wrong in ("2k", "-5", "0", "1e6", "9" * 5000):
        monkeypatch.setenv("RBOX_MAX_PIXELS", wrong)
        with pytest.raises(ImageError, match="expected a whole number of pixels in RBOX_MAX_PIXELS") as error:
            images.load(path)
        assert len(str(error.value)) < 300


def test_a_row_of_windows_has_a_limit_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Width times the height of the windows is held at once, however the file is read."""
    pytest.importorskip("rasterio")
    Image.new("RGB", (600, 40)).save(path := tmp_path / "a.png")
    monkeypatch.setattr(_rows, "LARGE", 0)
    monkeypatch.setenv("RBOX_MAX_PIXELS", "9000")
    assert len(list(tiling.crops(path, tiling.windows(600, 40, 15, 5)))) > 100
    with pytest.raises(
        ImageError, match=r"at most 9,000 pixels of the image at once, .* got 16 rows of 600\nTake smaller"
    ):
        list(tiling.crops(path, [tiling.Window(0, 0, 16)]))


def test_pillows_own_limit_is_as_it_was(tmp_path: Path) -> None:
    """Also where threads come and go in another order than they came."""
    Image.new("RGB", (60, 40)).save(path := tmp_path / "a.png")
    before = Image.MAX_IMAGE_PIXELS
    first, second = _opening.any_size(), _opening.any_size()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert Image.MAX_IMAGE_PIXELS is None
    second.__exit__(None, None, None)
    assert before == Image.MAX_IMAGE_PIXELS
    threads = [threading.Thread(target=lambda: [images.load(path) for _ in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert before == Image.MAX_IMAGE_PIXELS
    with images.open_rows(path) as rows:
        rows.read(0, 1)
        assert before == Image.MAX_IMAGE_PIXELS  # not kept from others for as long as a file is open


def test_large_images_are_drawn_smaller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rasterio")
    from rbox_formats import ImageRecord
    from rbox_formats.draw import _fitted

    pixels = np.random.default_rng(0).integers(0, 255, (70, 101, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path := tmp_path / "a.png")
    record = ImageRecord("a", [[50, 30, 20, 10, 0.3]], [0], path=path, width=101, height=70)
    whole, (same,) = draw.fitted(path, record, max_side=20)
    np.testing.assert_array_equal(whole, pixels)
    assert same is record
    monkeypatch.setattr(_fitted, "LARGE", 1000)
    small, (scaled,) = draw.fitted(path, record, max_side=20)
    np.testing.assert_array_equal(
        small, pixels[:70, :100].reshape(14, 5, 20, 5, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    )
    np.testing.assert_allclose(scaled.boxes, [[10, 6, 4, 2, 0.3]])
    assert scaled.size == (20, 14)
    small, _ = draw.fitted(path, record)  # the largest of up to 1,000 pixels
    assert small.shape == (23, 33, 3)


def test_errors_of_every_kind_are_ours(tmp_path: Path) -> None:
    """Bytes changed and files cut, in each format: an image, or an ImageError."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)
    for suffix, options in (
        ("png", {}),
        ("jpg", {}),
        ("bmp", {}),
        ("tif", {}),
        ("tif", {"compression": "tiff_lzw"}),
        ("webp", {}),
    ):
        Image.fromarray(pixels).save(path := tmp_path / f"a.{suffix}", exif=Image.Exif(), **options)
        whole = path.read_bytes()
        for _ in range(60):
            data = bytearray(whole)
            for _ in range(int(rng.integers(1, 5))):
                data[int(rng.integers(min(len(data), 300)))] = int(rng.integers(256))
            path.write_bytes(data[: int(rng.integers(1, len(data)))] if rng.random() < 0.3 else data)
            for function in (*READERS, opened_rows):
                with suppress(ImageError):
                    function(path)
