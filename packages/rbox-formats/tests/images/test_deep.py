"""Images of more than 8 bits, and of other bands."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from rbox_formats import datasets, images
from rbox_formats.cli.main import main
from rbox_formats.errors import ImageError

rasterio = pytest.importorskip("rasterio")
RAMP = np.arange(40 * 60, dtype=np.float64).reshape(40, 60)


@pytest.fixture(autouse=True)
def nobody_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (images.BANDS_VARIABLE, images.STRETCH_VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def write(path: Path, *bands: np.ndarray, nodata: float | None = None) -> Path:
    stack = np.stack(bands)
    shape = {"count": len(stack), "height": stack.shape[1], "width": stack.shape[2]}
    with rasterio.open(path, "w", driver="GTiff", dtype=stack.dtype, nodata=nodata, **shape) as file:
        file.write(stack)
    return path


def stretched(values: np.ndarray, low: float = 2, high: float = 98) -> np.ndarray:
    """As the module's text says, by hand."""
    first, last = np.percentile(values, [low, high])
    return np.rint(np.clip((values - first) / (last - first), 0, 1) * 255).astype(np.uint8)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "uint32", "float32", "float64"])
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_percentiles_of_each_band(dtype: str, count: int, tmp_path: Path) -> None:
    bands = [(RAMP * (i + 1) + 7 * i).astype(dtype) for i in range(count)]
    path = write(tmp_path / "a.tif", *bands)
    assert images.read_size(path) == (60, 40)
    images.check(path)
    found = images.load(path)
    shown = bands[:3] if count >= 3 else bands[:1] * 3
    np.testing.assert_array_equal(found, np.stack([stretched(band.astype(np.float64)) for band in shown], axis=2))
    with images.open_rows(path) as rows:
        np.testing.assert_array_equal(rows.read(10, 20), found[10:20])


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_bands_and_range_of_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bands = [(RAMP + 100 * i).astype(np.uint16) for i in range(4)]
    path = write(tmp_path / "a.tif", *bands)
    monkeypatch.setenv(images.BANDS_VARIABLE, "4,2,1")
    monkeypatch.setenv(images.STRETCH_VARIABLE, "100,1100")
    by_hand = [np.rint(np.clip((bands[b].astype(float) - 100) / 1000, 0, 1) * 255) for b in (3, 1, 0)]
    np.testing.assert_array_equal(images.load(path), np.stack(by_hand, axis=2).astype(np.uint8))
    monkeypatch.setenv(images.STRETCH_VARIABLE, "10%,90%")
    np.testing.assert_array_equal(images.load(path)[..., 0], stretched(bands[3].astype(float), 10, 90))
    monkeypatch.setenv(images.BANDS_VARIABLE, "5")
    with pytest.raises(ImageError, match=r"a.tif: expected an image with a band 5, got 4 bands\n.*--bands"):
        images.load(path)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_eight_bits_stay_as_they_are_until_someone_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bands = [(RAMP % (50 * (i + 1))).astype(np.uint8) for i in range(5)]
    path = write(tmp_path / "a.tif", *bands)
    np.testing.assert_array_equal(images.load(path), np.stack(bands[:3], axis=2))
    monkeypatch.setenv(images.BANDS_VARIABLE, "3,2,1")
    np.testing.assert_array_equal(images.load(path), np.stack(bands[2::-1], axis=2))
    Image.fromarray(np.stack(bands[:3], axis=2)).save(tmp_path / "b.png")
    np.testing.assert_array_equal(images.load(tmp_path / "b.png"), np.stack(bands[2::-1], axis=2))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_what_is_no_data_does_not_count(tmp_path: Path) -> None:
    values = RAMP.astype(np.float32)
    values[0, :9] = np.nan
    values[1, :9] = -9999
    found = images.load(write(tmp_path / "a.tif", *[values] * 5, nodata=-9999))
    valid = values[np.isfinite(values) & (values > -9999)].astype(float)
    low, high = np.percentile(valid, [2, 98])
    assert found[20, 30, 0] == np.rint((values[20, 30] - low) / (high - low) * 255)
    assert found[:2, :9].max() == 0


def test_sixteen_bits_in_a_png(tmp_path: Path) -> None:
    Image.fromarray((RAMP * 20).astype(np.uint16)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(images.load(tmp_path / "a.png")[..., 2], stretched(RAMP * 20))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_without_rasterio_labels_read_and_pixels_say_what_is_wanting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labelTxt").mkdir()
    path = write(tmp_path / "images" / "a.tif", *[RAMP.astype(np.uint16)] * 7)
    (tmp_path / "labelTxt" / "a.txt").write_text("1 1 9 1 9 5 1 5 ship 0\n")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (record,) = datasets.read("dota", tmp_path)
    assert record.size == (60, 40)
    with pytest.raises(ImageError, match=r"expected rasterio for a TIFF of bands .*\nInstall it") as error:
        images.load(path)
    assert "whole" not in str(error.value)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_many_bands_are_no_news(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Pillow logs an error, which a terminal would show, before rasterio reads them."""
    file = write(tmp_path / "a.tif", *np.zeros((8, 20, 30), dtype=np.uint16))
    assert images.read_size(file) == (30, 20)
    assert not [record for record in caplog.records if record.name.startswith("PIL") and record.levelname != "DEBUG"]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_command_takes_bands_and_stretch(tmp_path: Path) -> None:
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "data" / "labelTxt").mkdir()
    bands = [(RAMP + 100 * i).astype(np.uint16) for i in range(4)]
    write(tmp_path / "data" / "images" / "a.tif", *bands)
    (tmp_path / "data" / "labelTxt" / "a.txt").write_text("1 1 9 1 9 5 1 5 ship 0\n")
    arguments = ["split", "--data", tmp_path / "data", "--out", tmp_path / "out", "--window", 64, "--workers", 1]
    result = CliRunner().invoke(main, list(map(str, [*arguments, "--bands", "4", "--stretch", "0,3000"])))
    assert result.exit_code == 0, result.output
    (window,) = (tmp_path / "out" / "images").iterdir()
    found = np.asarray(Image.open(window))[:40, :60]
    np.testing.assert_array_equal(found[..., 0], np.rint(bands[3] / 3000 * 255))
    assert images.is_default()  # once the command is over
    for option, value in (
        ("--bands", "0"),
        ("--bands", "1,2"),
        ("--stretch", "5,1"),
        ("--stretch", "1%,5"),
        ("--stretch", "x"),
    ):
        result = CliRunner().invoke(main, list(map(str, [*arguments, option, value])))
        assert result.exit_code == 2
        assert "expected" in result.output


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_tiff_cut_short_is_broken(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", *[RAMP.astype(np.uint16)] * 5)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ImageError, match=r"a\.tif: expected a"):
        images.load(path)
