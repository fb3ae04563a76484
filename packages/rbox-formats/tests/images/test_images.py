from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image
from rbox_formats import images
from rbox_formats.errors import ImageError
from rbox_formats.images import _opening, _rows

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


def test_sixteen_bits_are_scaled_and_not_cut(tmp_path: Path) -> None:
    Image.fromarray(np.arange(100, dtype=np.uint16).reshape(10, 10) * 600).save(tmp_path / "a.png")
    assert images.read_size(tmp_path / "a.png") == (10, 10)
    found = images.load(tmp_path / "a.png")[..., 0].ravel()
    assert (found[:2].max(), found[98:].min(), found[49:51].tolist()) == (0, 255, [126, 129])


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


def small() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (7, 9, 4), dtype=np.uint8)).resize((90, 70))


def write_png(path: Path, width: int, height: int, depth: int, colour: int, rows: Iterable[bytes]) -> None:
    """A PNG by its specification, a row at a time."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    compressor = zlib.compressobj(1)
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.write(chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)))
        for row in rows:
            if data := compressor.compress(b"\0" + row):
                file.write(chunk(b"IDAT", data))
        file.write(chunk(b"IDAT", compressor.flush()) + chunk(b"IEND", b""))


def grey_bits(depth: int) -> Callable[[Path], None]:
    rows = [np.random.default_rng(row).bytes(8 * depth) for row in range(50)]
    return lambda path: write_png(path, 64, 50, depth, 0, rows)


def saved(mode: str, **options: Any) -> Callable[[Path], None]:
    # Only mode "RGBA" holds transparency; to the others it is dropped first, and to a palette with it by way of RGB.
    image = small() if mode in ("LA", "RGBA") else small().convert("RGB")
    return lambda path: image.convert(mode).save(path, **options)


def palette(colours: int, **options: Any) -> Callable[[Path], None]:
    return lambda path: small().convert("RGB").quantize(colours).save(path, **options)


# Files that GDAL reads, by their suffix.
PARTS = [
    *[("png", saved(mode)) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")],
    *[("bmp", saved(mode)) for mode in ("1", "L", "P", "RGB", "RGBA")],
    *[("tif", saved(mode)) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")],
    *[("png", grey_bits(depth)) for depth in (1, 2, 4)],
    *[("png", palette(colours, bits=bits)) for colours, bits in ((2, 1), (4, 2), (12, 4))],
    ("png", saved("RGB", transparency=(1, 2, 3))),
    ("png", saved("P", transparency=3)),
    ("png", saved("RGB", interlace=1)),
    ("bmp", palette(7)),
    ("tif", palette(7)),
    ("tif", saved("RGB", compression="tiff_lzw")),
    ("tif", saved("1", compression="group4")),
    ("tif", saved("L", tiffinfo={262: 0})),  # white is zero
]
# Files that it reads in a way of its own: small ones are Pillow's whether it is there or not.
WHOLE = [
    *[("jpg", saved(mode)) for mode in ("L", "RGB", "CMYK")],
    ("tif", saved("CMYK")),
    # Pillow before 13 cannot read what it writes itself.
    *([("tif", saved("YCbCr"))] if int(PIL.__version__.split(".")[0]) >= 13 else []),
    ("tif", saved("RGB", compression="jpeg")),
    ("tif", saved("RGB", tiffinfo={0x112: 6})),  # to be turned by a quarter
]


@pytest.mark.parametrize("suffix, save", PARTS + WHOLE)
@pytest.mark.parametrize("large", [False, True])
def test_rows_are_those_of_the_whole_image(
    suffix: str, save: Callable[[Path], None], large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a.{suffix}"
    save(path)
    expected = images.load(path)
    if large:
        pytest.importorskip("rasterio")
        monkeypatch.setattr(_rows, "LARGE", 0)
        with Image.open(path) as image:
            assert _rows.wants_gdal(image, path) == ((suffix, save) in PARTS)
    with images.open_rows(path) as rows:
        assert (rows.height, rows.width) == expected.shape[:2]
        found = [rows.read(row, min(row + 13, rows.height)) for row in range(0, rows.height, 13)]
        np.testing.assert_array_equal(rows.read(2, 5), expected[2:5])  # and back
    np.testing.assert_array_equal(np.concatenate(found), expected)
    assert found[0].dtype == np.uint8
    assert [file.name for file in tmp_path.iterdir()] == [path.name]  # GDAL leaves no notes of its own


def test_a_jpeg_too_large_for_pillow_has_nearly_its_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rasterio")
    saved("RGB", quality=95, subsampling=0)(tmp_path / "a.jpg")
    expected = images.load(tmp_path / "a.jpg").astype(int)
    monkeypatch.setattr(_rows, "LARGE", 0)
    monkeypatch.setattr(_opening, "LARGEST_WHOLE", 0)
    with images.open_rows(tmp_path / "a.jpg") as rows:
        found = rows.read(0, rows.height)
    assert np.abs(found - expected).max() <= 3


def test_an_image_too_large_without_rasterio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved("RGB")(tmp_path / "a.png")
    monkeypatch.setattr(_rows, "LARGE", 0)
    monkeypatch.setattr(_rows, "_has_rasterio", lambda: False)
    with images.open_rows(tmp_path / "a.png") as rows:
        np.testing.assert_array_equal(rows.read(0, 70), images.load(tmp_path / "a.png"))
    monkeypatch.setattr(_opening, "LARGEST_WHOLE", 6299)
    message = r"a\.png: expected an image of at most 6,299 pixels, .* got 90x70\nInstall rasterio.*rbox-formats\[geo\]"
    with pytest.raises(ImageError, match=message), images.open_rows(tmp_path / "a.png"):
        pass
    monkeypatch.setattr(_rows, "_has_rasterio", lambda: True)
    saved("CMYK")(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=r"mode 'CMYK'\)\nConvert it"), images.open_rows(tmp_path / "a.tif"):
        pass


def read_all(path: Path) -> np.ndarray:
    with images.open_rows(path) as rows:
        return np.concatenate([rows.read(row, min(row + 100, rows.height)) for row in range(0, rows.height, 100)])


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "jpg"])
def test_rows_of_a_large_file_cut_short(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rasterio")
    monkeypatch.setattr(_rows, "LARGE", 0)
    monkeypatch.setattr(_opening, "LARGEST_WHOLE", 0)
    pixels = np.random.default_rng(0).integers(0, 255, (1500, 900, 3), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(ImageError, match=rf"a\.{suffix}: expected a whole image, got: "):
        read_all(path)


def test_what_fails_beside_an_open_image_is_not_the_images(path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as error, images.open_rows(path):
        raise OSError("No space left on device")
    assert not isinstance(error.value, ImageError)


# What a process has used at most, by Linux' own account, in MB: of the resource module's figure a process inherits its
# parent's.
PEAK = """
import sys
from rbox_formats import images, tiling
size = images.read_size(sys.argv[1])
places = tiling.windows(*size, 1024, 500, scales=[float(scale) for scale in sys.argv[2:]])
count = sum(1 for _ in tiling.crops(sys.argv[1], places))
assert count == len(places)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) / 1000)
"""


def peak_of_windows(path: Path, *scales: float) -> float:
    command = [sys.executable, "-c", PEAK, str(path), *map(str, scales)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def write_large(path: Path, side: int, **options: Any) -> None:
    """An RGB image, a row or a few of them at a time."""
    texture = np.random.default_rng(0).integers(0, 255, (64, side * 3), dtype=np.uint8) // 64 * 64
    if path.suffix == ".png":
        write_png(path, side, side, 8, 2, (texture[row % 64].tobytes() for row in range(side)))
        return
    import rasterio
    from rasterio.windows import Window

    profile = {"driver": "GTiff", "width": side, "height": side, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, compress="deflate", zlevel=1, interleave="pixel", **options) as file:
        for row in range(0, side, 64):
            count = min(64, side - row)
            rows = np.moveaxis(texture[:count].reshape(count, side, 3), 2, 0)
            file.write(rows, window=Window(0, row, side, count))


LARGE_FILES = [("a.png", {}), ("a.tif", {}), ("a.tif", {"tiled": True, "blockxsize": 512, "blockysize": 512})]
needs_linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux' /proc")


@pytest.mark.slow
@needs_linux
@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")  # rasterio's, where the test writes a TIFF
@pytest.mark.parametrize("name, options", LARGE_FILES[::2])
def test_large_images_go_through_in_bounded_memory(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    """8,000 px a side are 192 MB as RGB, twice that on the way through Pillow; seen at most: 181 MB."""
    pytest.importorskip("rasterio")
    write_large(tmp_path / name, 8000, **options)
    assert peak_of_windows(tmp_path / name, 1.0) < 240


@pytest.mark.slow
@pytest.mark.variant
@needs_linux
@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
@pytest.mark.parametrize("name, options", LARGE_FILES)
def test_huge_images_go_through_in_bounded_memory(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    """30,000 px a side are 2.7 GB as RGB; a band of the largest windows is 184 MB; seen at most: 412 MB."""
    pytest.importorskip("rasterio")
    write_large(tmp_path / name, 30_000, **options)
    assert peak_of_windows(tmp_path / name, 0.5, 1.0) < 500
