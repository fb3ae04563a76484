"""The page on the real server, with the small detector that comes with lmm-detector."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="rbox-serve is not installed")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where `rbox-serve run --demo` is."""
    command = [sys.executable, "-m", "rbox_serve", "run", "--demo", "--port", "0", "--device", "cpu"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if match := re.search(r"http://[\d.]+:\d+/", line):
                yield match[0]
                break
        else:
            pytest.fail(said)
        process.terminate()
        process.communicate(timeout=60)


def georeferenced(png: bytes, path: Path) -> Path:
    """Write an image as a GeoTIFF, turned a little on its map."""
    rasterio = pytest.importorskip("rasterio")
    pixels = np.moveaxis(np.asarray(Image.open(BytesIO(png)).convert("RGB")), 2, 0)
    place = rasterio.Affine(0.4, -0.3, 500000, -0.3, -0.4, 6000000)
    with rasterio.open(path, "w", "GTiff", *pixels.shape[:0:-1], 3, "EPSG:32631", place, "uint8") as target:
        target.write(pixels)
    return path


def test_a_geotiff(browser: Any, address: str, shoot: Any, tmp_path: Path) -> None:
    """It looks as the PNG of the same pixels does, and its GeoJSON is the server's own."""
    drawn = "(canvas) => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
    page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="dark")
    page.set_default_timeout(120_000)
    png = page.request.get(f"{address}v1/scenes/harbour").body()
    path = georeferenced(png, tmp_path / "harbour.tif")
    shown = []
    for file in ({"name": "harbour.png", "mimeType": "image/png", "buffer": png}, path):
        page.goto(address)
        page.locator("#model-A option").nth(1).wait_for(state="attached")
        page.locator("#files").set_input_files(file)
        page.locator("#run-A", has_text="boxes in").wait_for()
        shown.append(page.locator("#stage canvas").first.evaluate(drawn))
    assert shown[0] == shown[1]
    assert len(set(shown[1])) > 20
    shoot(page, "served-geotiff")
    with page.expect_download() as download:
        page.locator("#download-list button", has_text="GeoJSON").click()
    written = json.loads(Path(download.value.path()).read_text())
    upload = {"name": "harbour.tif", "mimeType": "image/tiff", "buffer": path.read_bytes()}
    asked = page.request.post(f"{address}v1/models/demo/detect?format=geojson", multipart={"image": upload})
    expected = asked.json()
    assert len(written["features"]) == len(expected["features"]) > 0
    for mine, servers in zip(written["features"], expected["features"], strict=True):
        rings = [each["geometry"]["coordinates"] for each in (mine, servers)]
        np.testing.assert_allclose(rings[0], rings[1], rtol=0, atol=1e-6)
        assert mine["properties"] == pytest.approx(servers["properties"])
    assert written["crs"] == expected["crs"]
    # Dropped as ground truth it lies where the boxes are.
    layer = {"name": "truth.geojson", "mimeType": "application/geo+json", "buffer": json.dumps(written).encode()}
    page.locator("#files").set_input_files(layer)
    page.locator("#truth-name", has_text="truth.geojson").wait_for()
    assert page.locator("#problems .problem").count() == 0
    true, wrong, missed, *_ = page.locator("#score-table tbody tr td").all_inner_texts()
    assert (int(true), wrong, missed) == (len(written["features"]), "0", "0")
    shoot(page, "served-geotiff-truth")
    page.close()


def test_a_scene_of_the_demonstration(browser: Any, address: str, shoot: Any) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    complaints: list[str] = []
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.set_default_timeout(120_000)
    page.goto(address)
    page.locator(".scene", has_text="harbour").click()
    page.locator("#run-A", has_text="boxes in").wait_for()
    boxes = page.locator("#stage .box.shown[data-layer=A]")
    boxes.first.wait_for()
    assert boxes.count() == page.locator("#results .row[data-key^=A]:not([hidden])").count()
    assert page.locator("#answers mark").count() == boxes.count()
    assert page.locator("#score-table tbody tr").count() == 1
    page.locator("#results .row[data-key^=A]").first.click()
    page.locator("#answers mark[data-selected]").wait_for()
    shoot(page, "served")
    page.locator(".scene", has_text="region").click()
    page.locator("#image-name", has_text="region.png").wait_for()
    page.locator("#run-A", has_text="boxes in").wait_for()
    assert boxes.count() > 50
    assert page.locator("#answers figure").count() > 10
    shoot(page, "served-region")
    page.close()
    assert not complaints
