"""JPEG 2000: by Pillow, part by part by rasterio, and where it lies on a map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from rbox_formats import images
from rbox_formats.datasets import geojson
from rbox_formats.images import _rows

pytestmark = pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow has no JPEG 2000")
PIXELS = np.random.default_rng(0).integers(0, 255, (40, 50, 3), dtype=np.uint8)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jp2"
    Image.fromarray(PIXELS).save(path)
    assert images.find(tmp_path) == [path]
    assert images.read_size(path) == (50, 40)
    np.testing.assert_array_equal(images.load(path), PIXELS)  # lossless is what Pillow writes


def test_large_ones_are_read_part_by_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rasterio")
    path = tmp_path / "a.jp2"
    Image.fromarray(PIXELS).save(path)
    monkeypatch.setattr(_rows, "LARGE", 100)
    read = []
    monkeypatch.setattr(_rows, "whole_rows", lambda *arguments: read.append(arguments))
    with images.open_rows(path) as rows:
        parts = [rows.read(row, min(row + 7, 40)) for row in range(0, 40, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), PIXELS)
    assert not read


def test_its_place_on_the_map(tmp_path: Path) -> None:
    """Written by GDAL itself, as agencies give out their scenes."""
    rasterio = pytest.importorskip("rasterio")
    from rasterio.transform import Affine

    place = Affine(10, 0, 500000, 0, -10, 4982960)
    about = {"driver": "JP2OpenJPEG", "width": 50, "height": 40, "count": 3, "dtype": "uint8"}
    with rasterio.open(tmp_path / "a.jp2", "w", **about, crs="EPSG:32631", transform=place, QUALITY=100) as file:
        file.write(np.moveaxis(PIXELS, 2, 0))
    assert geojson.find_placement(tmp_path / "a.jp2") == (10, 0, 500000, 0, -10, 4982960, "EPSG:32631")
