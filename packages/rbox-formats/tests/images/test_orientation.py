"""Images are turned as their files note; the witnesses are Pillow's `exif_transpose` and OpenCV's `imread`."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from rbox_formats import ClassNames, ImageRecord, draw, images, tiling
from rbox_formats.errors import ImageError
from rbox_formats.images import _rows

PIXELS = np.random.default_rng(0).integers(0, 255, (20, 40, 3), dtype=np.uint8)
# Flat quarters: what a lossy format leaves as it is.
PIXELS[:10, :20], PIXELS[:10, 20:] = (250, 10, 10), (10, 250, 10)
PIXELS[10:, :20], PIXELS[10:, 20:] = (10, 10, 250), 200
ORIENTATIONS = range(1, 9)
SHIP = ClassNames(["ship"])


def exif_of(orientation: Any) -> Image.Exif:
    exif = Image.Exif()
    exif[0x112] = orientation
    return exif


def pillow(**options: Any) -> Callable[[Path, int], None]:
    return lambda path, orientation: Image.fromarray(PIXELS).save(path, exif=exif_of(orientation), **options)


def late_png(path: Path, orientation: int) -> None:
    """The EXIF chunk behind the pixels, as exiftool and others put it."""
    pillow()(path, orientation)
    data, moved, kept = path.read_bytes(), b"", b"\x89PNG\r\n\x1a\n"
    place = len(kept)
    while place < len(data):
        (length,), kind = struct.unpack(">I", data[place : place + 4]), data[place + 4 : place + 8]
        chunk = data[place : place + length + 12]
        if kind == b"eXIf":
            moved = chunk
        elif kind == b"IEND":
            kept += moved + chunk
        else:
            kept += chunk
        place += len(chunk)
    assert moved
    path.write_bytes(kept)


def tiff(**options: Any) -> Callable[[Path, int], None]:
    return lambda path, orientation: Image.fromarray(PIXELS).save(path, tiffinfo={0x112: orientation}, **options)


KINDS: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "jpeg": ("a.jpg", pillow(quality=95, subsampling=0)),
    "png": ("a.png", pillow()),
    "png, behind the pixels": ("a.png", late_png),
    "webp": ("a.webp", pillow(lossless=True)),
    "tiff": ("a.tif", tiff()),
    "tiff, lzw": ("a.tif", tiff(compression="tiff_lzw")),
}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_reader_turns_as_pillow_does(kind: str, orientation: int, tmp_path: Path) -> None:
    name, save = KINDS[kind]
    save(path := tmp_path / name, orientation)
    with Image.open(path) as image:
        shown = np.array(ImageOps.exif_transpose(image).convert("RGB"))
    assert shown.shape == ((40, 20, 3) if orientation > 4 else (20, 40, 3))
    assert images.read_orientation(path) == orientation
    assert images.read_size(path) == shown.shape[1::-1]
    np.testing.assert_array_equal(images.load(path), shown)
    with images.open_rows(path) as rows:
        assert (rows.width, rows.height) == shown.shape[1::-1]
        parts = [rows.read(row, min(row + 7, rows.height)) for row in range(0, rows.height, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), shown)
    ((_, crop),) = tiling.crops(path, [tiling.Window(3, 5, 12)])
    np.testing.assert_array_equal(crop, shown[5:17, 3:15])
    images.check(path)
    with Image.open(path) as image:
        np.testing.assert_array_equal(images.as_rgb(image), shown)


MODES = {"tif": ["1", "L", "P", "RGB", "RGBA", "CMYK"], "png": ["1", "L", "P", "RGBA"], "webp": ["RGBA"]}


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("suffix, mode", [(suffix, mode) for suffix, modes in MODES.items() for mode in modes])
def test_every_mode_is_turned(suffix: str, mode: str, orientation: int, tmp_path: Path) -> None:
    """As numpy turns what is stored: Pillow's own pixels of a TIFF of one grey strip are torn."""
    stored = Image.fromarray(PIXELS).convert(mode)
    path = tmp_path / f"a.{suffix}"
    tiff_note: dict[str, Any] = {"tiffinfo": {0x112: orientation}}
    stored.save(path, **(tiff_note if suffix == "tif" else {"exif": exif_of(orientation), "lossless": True}))
    pixels = np.array(stored.convert("RGB"))
    by_hand = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.swapaxes(0, 1),
        6: np.rot90(pixels, -1),
        7: np.rot90(pixels.swapaxes(0, 1), 2),
        8: np.rot90(pixels, 1),
    }
    np.testing.assert_array_equal(images.load(path), by_hand[orientation])
    with images.open_rows(path) as rows:
        np.testing.assert_array_equal(rows.read(0, rows.height), by_hand[orientation])
    assert images.read_size(path) == by_hand[orientation].shape[1::-1]


# OpenCV 5.0 fails on a TIFF that is to be turned by a quarter ("original_ptr == real_mat.data").
TURNED_BY_OPENCV = [(kind, turn) for kind in KINDS for turn in ORIENTATIONS if "tiff" not in kind or turn < 5]


@pytest.mark.parametrize("kind, orientation", TURNED_BY_OPENCV)
def test_they_turn_as_opencv_does(kind: str, orientation: int, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    name, save = KINDS[kind]
    save(path := tmp_path / name, orientation)
    seen = cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1]
    found = images.load(path)
    assert seen.shape == found.shape
    assert np.abs(seen.astype(int) - found).max() <= (4 if kind == "jpeg" else 0)


def write_tiled(path: Path, pixels: np.ndarray, orientation: int, **options: Any) -> None:
    rasterio = pytest.importorskip("rasterio")
    height, width = pixels.shape[:2]
    profile = {"driver": "GTiff", "width": width, "height": height, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, **options) as file:
        file.write(np.moveaxis(pixels, 2, 0))
    # GDAL writes no orientation: one more entry of the first directory, by hand.
    data = bytearray(path.read_bytes())
    assert data[:4] == b"II*\0"
    (start,) = struct.unpack("<I", data[4:8])
    (count,) = struct.unpack("<H", data[start : start + 2])
    entries = [bytes(data[start + 2 + 12 * i : start + 14 + 12 * i]) for i in range(count)]
    entries.append(struct.pack("<HHIHH", 0x112, 3, 1, orientation, 0))
    entries.sort(key=lambda entry: struct.unpack("<H", entry[:2])[0])
    data[4:8] = struct.pack("<I", len(data))
    data += struct.pack("<H", len(entries)) + b"".join(entries) + b"\0\0\0\0"
    path.write_bytes(data)


TILED = {"tiled": True, "blockxsize": 32, "blockysize": 16, "compress": "deflate"}


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("options", [TILED, {}], ids=["tiles", "strips"])
def test_large_scenes_are_turned_part_by_part(
    options: dict[str, Any], orientation: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (70, 110, 3), dtype=np.uint8)
    write_tiled(path := tmp_path / "a.tif", pixels, orientation, **options)
    with Image.open(path) as image:
        shown = np.array(ImageOps.exif_transpose(image))
    monkeypatch.setattr(_rows, "LARGE", 0)
    with Image.open(path) as image:
        assert _rows.wants_gdal(image, path) == (bool(options) or orientation < 5)
    with images.open_rows(path) as rows:
        assert (rows.width, rows.height) == shown.shape[1::-1]
        parts = [rows.read(row, min(row + 13, rows.height)) for row in range(0, rows.height, 13)]
        np.testing.assert_array_equal(rows.read(20, 31), shown[20:31])  # and back
    np.testing.assert_array_equal(np.concatenate(parts), shown)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_a_huge_image_on_its_side_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiled(path := tmp_path / "a.tif", PIXELS, 6)
    monkeypatch.setenv(images.LIMIT_VARIABLE, "100")
    with pytest.raises(ImageError, match=r"got 40x20 \(noted to be turned .*\nStore it turned, without the note"):
        images.open_rows(path).__enter__()


def test_where_a_place_is_stored(tmp_path: Path) -> None:
    """The pixel at each place of the turned image is the one at that place of what is stored."""
    for orientation in ORIENTATIONS:
        pillow()(path := tmp_path / "a.png", orientation)
        shown = images.load(path)
        height, width = shown.shape[:2]
        to_stored = images.as_stored((width, height), orientation)
        y, x = np.mgrid[:height, :width]
        places = np.stack([x + 0.5, y + 0.5, np.ones_like(x)], axis=-1) @ to_stored.T
        columns, rows = np.floor(places).astype(int).transpose(2, 0, 1)
        np.testing.assert_array_equal(PIXELS[rows, columns], shown)


TEXT = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHI4s", 0x112, 2, 4, b"six\0") + b"\0\0\0\0"


@pytest.mark.parametrize("exif", [exif_of(0), exif_of(9), exif_of(65535), TEXT], ids=["0", "9", "65535", "a text"])
def test_a_number_that_means_nothing_turns_nothing(exif: Any, tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "a.webp"):
        Image.fromarray(PIXELS).save(path := tmp_path / name, exif=exif)
        assert images.read_size(path) == (40, 20)
        assert images.load(path).shape == (20, 40, 3)


def broken_notes() -> list[bytes]:
    whole = exif_of(6).tobytes()
    rng = np.random.default_rng(0)
    found = [whole[:length] for length in range(len(whole))] + [b"", b"Exif\0\0", b"Exif\0\0garbage", rng.bytes(60)]
    for _ in range(60):
        flipped = bytearray(whole)
        flipped[int(rng.integers(len(whole)))] ^= 1 << int(rng.integers(8))
        found.append(bytes(flipped))
    return found


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of EXIF data cut short
def test_a_broken_note_is_none(tmp_path: Path) -> None:
    """Size and pixels agree, whatever was made of it."""
    for number, exif in enumerate(broken_notes()):
        for suffix in ("jpg", "png", "webp"):
            Image.fromarray(PIXELS).save(path := tmp_path / f"{number}.{suffix}", exif=exif)
            assert images.load(path).shape[1::-1] == images.read_size(path)


def test_sizes_of_png_files_come_without_their_pixels(tmp_path: Path) -> None:
    """Pixels that nobody can decode, and the note behind them: Pillow's own `getexif` fails on it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8000, 4000, 8, 2, 0, 0, 0))
    note = chunk(b"eXIf", exif_of(8).tobytes()[6:])
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"no pixels") + note + chunk(b"IEND", b""))
    with Image.open(path) as image, pytest.raises((OSError, SyntaxError, ValueError)):
        image.getexif()
    assert images.read_size(path) == (4000, 8000)


def test_a_picture_is_turned_once(tmp_path: Path) -> None:
    """Drawn on the file that Pillow opened, or on its pixels: the same; and what is written notes no turn."""
    pillow(quality=95)(path := tmp_path / "a.jpg", 6)
    record = ImageRecord("a", [[10, 15, 12, 6, 0.2]], [0], path=path, width=20, height=40)
    with Image.open(path) as image:
        of_file = draw.marked_page(image, record, SHIP)
    of_pixels = draw.marked_page(images.load(path), record, SHIP)
    np.testing.assert_array_equal(np.asarray(of_file), np.asarray(of_pixels))
    draw.save(of_file, tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        assert not image.getexif().get(0x112)
    again = images.upright(images.upright(Image.open(path)))
    np.testing.assert_array_equal(np.asarray(again.convert("RGB")), images.load(path))
