from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from rbox_formats import ClassNames, ImageRecord, datasets
from rbox_formats.datasets import geojson
from rbox_formats.errors import DatasetError, FormatsError
from shapely.geometry import shape
from shapely.geometry.polygon import orient

NAMES = ClassNames(["plane", "ship"])
QUADS = np.array([[[10.0, 20], [30, 20], [30, 44.5], [10, 40]], [[10, 20], [10, 40], [30, 40], [30, 20]]])

# Half a metre a pixel, north up: the first pixel's centre is at (500000.25, 5999999.75).
WORLD_FILE = "0.5\n0.0\n0.0\n-0.5\n500000.25\n5999999.75\n"


def record(path: Path | None = None, **other: Any) -> ImageRecord:
    return ImageRecord.from_quads("P1", QUADS, np.array([1, 0]), path=path, difficult=np.array([False, True]), **other)


def written(name: str, folder: Path, one: ImageRecord) -> dict[str, Any]:
    out = datasets.write(name, [one], folder, "train", NAMES)
    assert out == folder / "train"
    return json.loads((out / "P1.geojson").read_text())


def test_pixels(tmp_path: Path) -> None:
    found = written("geojson", tmp_path, record(metadata={"gsd": "0.5"}, width=64, height=48))
    assert {key: found[key] for key in ("type", "image_id", "width", "height", "metadata")} == {
        "type": "FeatureCollection",
        "image_id": "P1",
        "width": 64,
        "height": 48,
        "metadata": {"gsd": "0.5"},
    }
    assert "crs" not in found
    first, second = found["features"]
    assert first["geometry"]["coordinates"] == [[[10, 20], [30, 20], [30, 44.5], [10, 40], [10, 20]]]
    assert first["properties"] == {"class": "ship", "difficult": False, "angle": pytest.approx(-90)}
    assert second["properties"]["difficult"] is True
    for feature, quad in zip(found["features"], QUADS, strict=True):
        polygon = shape(feature["geometry"])
        assert polygon.exterior.is_ccw
        assert polygon.equals(orient(shape({"type": "Polygon", "coordinates": [[*quad.tolist(), quad[0].tolist()]]})))
        assert feature["geometry"]["coordinates"][0][0] == quad[0].tolist()


def test_a_world_file(tmp_path: Path) -> None:
    image = tmp_path / "P1.png"
    Image.new("L", (64, 48)).save(image)
    (tmp_path / "P1.pgw").write_text(WORLD_FILE)
    found = written("geojson-map", tmp_path, record(image, scores=np.array([0.5, 1])))
    # The image's upper left corner is at (500000, 6000000), the annotated first corner 10 px right, 20 px down.
    assert found["features"][0]["geometry"]["coordinates"][0][0] == [500005, 5999990]
    assert all(shape(feature["geometry"]).exterior.is_ccw for feature in found["features"])
    assert found["features"][0]["properties"]["score"] == 0.5
    assert "crs" not in found


@pytest.mark.parametrize(
    ("image", "beside"),
    [
        ("a.png", "a.pgw"),
        ("a.jpg", "a.jgw"),
        ("a.jpeg", "a.jpegw"),
        ("a.bmp", "a.wld"),
        ("a.tif", "a.tfw"),
        ("a.png", "a.PGW"),
        ("a", "a.wld"),
    ],
)
def test_the_names_of_world_files(image: str, beside: str, tmp_path: Path) -> None:
    Image.new("L", (64, 48)).save(tmp_path / image, Image.registered_extensions().get(Path(image).suffix, "PNG"))
    (tmp_path / beside).write_text(WORLD_FILE)
    placement = geojson.placement_of(tmp_path / image)
    assert (placement.a, placement.c, placement.f) == (0.5, 500000, 6000000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n0\n0\n-1\n5\n", r"a\.wld: expected six lines with a number each, got 5 lines"),
        ("1\n0\n0\n-1\n5\n6\n7", r"a\.wld: expected six lines with a number each, got 7 lines"),
        ("1\n0\nx\n-1\n5\n6", r"a\.wld:3: expected a finite number, got 'x'"),
        ("1\n1_0\n0\n-1\n5\n6", r"a\.wld:2: expected a finite number, got '1_0'"),
        ("1\n0\n0\nnan\n5\n6", r"a\.wld:4: expected a finite number, got 'nan'"),
        ("1\n1\n1\n1\n5\n6", r"a\.wld: expected a transform that can be inverted"),
        ("", r"a\.wld: expected six lines with a number each, got 0 lines"),
    ],
)
def test_bad_world_files(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.wld").write_text(text)
    with pytest.raises(DatasetError, match=message):
        geojson.world_file(tmp_path / "a.wld")


def test_turned_world_files_are_as_rasterio_reads_them(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    Image.new("L", (64, 48)).save(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text("0.4\r\n0.3\r\n-0.2\r\n-0.5\r\n1000\r\n2000\r\n\r\n")
    with rasterio.open(tmp_path / "a.png") as source:
        theirs = source.transform
    np.testing.assert_allclose(geojson.placement_of(tmp_path / "a.png")[:6], theirs[:6])
    found = written("geojson-map", tmp_path, record(tmp_path / "a.png"))
    assert found["features"][0]["geometry"]["coordinates"][0][0] == pytest.approx(
        [theirs.a * 10 + theirs.b * 20 + theirs.c, theirs.d * 10 + theirs.e * 20 + theirs.f]
    )


def geotiff(path: Path, crs: str | None) -> None:
    rasterio = pytest.importorskip("rasterio")
    transform = rasterio.Affine(0.5, 0, 500000, 0, -0.5, 6000000)
    kind = {"driver": "GTiff", "width": 64, "height": 48, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", **kind, crs=crs, transform=transform) as target:
        target.write(np.zeros((1, 48, 64), dtype=np.uint8))


@pytest.mark.parametrize(
    ("crs", "name"), [("EPSG:32631", "urn:ogc:def:crs:EPSG::32631"), ("EPSG:4326", None), (None, None)]
)
def test_a_geotiff(crs: str | None, name: str | None, tmp_path: Path) -> None:
    geotiff(tmp_path / "P1.tif", crs)
    (tmp_path / "P1.tfw").write_text("9\n0\n0\n9\n9\n9\n")  # the file's own comes first
    found = written("geojson-map", tmp_path, record(tmp_path / "P1.tif"))
    assert found["features"][0]["geometry"]["coordinates"][0][0] == [500005, 5999990]
    assert found.get("crs") == (name and {"type": "name", "properties": {"name": name}})


@pytest.mark.parametrize("numbers", [(0, 0, 500000, 0, 0, 6000000), (1, 2, 500000, 2, 4, 6000000)])
def test_a_geotiff_whose_pixels_have_no_area_is_refused(numbers: tuple[float, ...], tmp_path: Path) -> None:
    """As a world file of them is: no point of such a map is one of the image."""
    rasterio = pytest.importorskip("rasterio")
    kind = {"driver": "GTiff", "width": 8, "height": 8, "count": 3, "dtype": "uint8", "crs": "EPSG:32631"}
    with rasterio.open(tmp_path / "a.tif", "w", **kind, transform=rasterio.Affine(*numbers)) as target:
        target.write(np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(DatasetError, match="a transform that can be inverted"):
        geojson.find_placement(tmp_path / "a.tif")


def test_without_rasterio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    geotiff(tmp_path / "P1.tif", None)
    monkeypatch.setattr(geojson, "_has_rasterio", lambda: False)
    with pytest.raises(
        DatasetError, match=r"P1\.tif: expected an image with a place on the map.*\n.*rbox-formats\[geo\]"
    ):
        geojson.placement_of(tmp_path / "P1.tif")


def test_images_without_a_place(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    for name in ("P1.png", "P1.tif"):
        Image.new("L", (64, 48)).save(tmp_path / name)
        with pytest.raises(
            DatasetError, match=r"P1\.\w+: expected an image with a place on the map, found no transform"
        ):
            written("geojson-map", tmp_path, record(tmp_path / name))
    with pytest.raises(FormatsError, match="expected an image file for 'P1', found none"):
        written("geojson-map", tmp_path, record())
    (tmp_path / "P1.tif").write_bytes(b"no image")
    with pytest.raises(DatasetError, match=r"P1\.tif: expected a GeoTIFF, got: "):
        written("geojson-map", tmp_path, record(tmp_path / "P1.tif"))


def test_a_place_that_may_be_there(tmp_path: Path) -> None:
    """None without one; with a world file what `placement_of` gives; an error where that is broken."""
    path = tmp_path / "a.png"
    Image.new("RGB", (4, 4)).save(path)
    assert geojson.find_placement(path) is None
    (tmp_path / "a.pgw").write_text("2\n0\n0\n-2\n101\n199\n")
    assert geojson.find_placement(path) == geojson.placement_of(path) == geojson.Placement(2, 0, 100, 0, -2, 200)
    (tmp_path / "a.pgw").write_text("2\n")
    with pytest.raises(DatasetError, match="expected six lines"):
        geojson.find_placement(path)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_an_image_that_is_to_be_turned_stays_at_its_place(suffix: str, orientation: int, tmp_path: Path) -> None:
    """GDAL turns nothing: where it has a bright pixel on the map, the box around it on the turned image is."""
    rasterio = pytest.importorskip("rasterio")
    pixels = np.zeros((48, 64), dtype=np.uint8)
    pixels[8:16, 40:56] = 255
    path = tmp_path / f"P1.{suffix}"
    noted = Image.Exif()
    noted[0x112] = orientation
    extra = {"tiffinfo": {0x112: orientation}} if suffix == "tif" else {"exif": noted, "quality": 100}
    Image.fromarray(pixels).save(path, **extra)
    path.with_suffix(f".{suffix[0]}{suffix[-1]}w").write_text("0.4\n0.3\n-0.2\n-0.5\n1000\n2000\n")
    with rasterio.open(path) as source:
        rows, columns = np.nonzero(source.read(1) > 128)
        there = {source.xy(y, x, offset="ul") for x, y in ((40, 8), (56, 8), (56, 16), (40, 16))}
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 15, 40, 55)

    with Image.open(io.BytesIO(path.read_bytes())) as image:  # by its name Pillow tears a TIFF's rows
        shown = np.asarray(ImageOps.exif_transpose(image)) > 128
    y, x = np.nonzero(shown)
    quad = [[x.min(), y.min()], [x.max() + 1, y.min()], [x.max() + 1, y.max() + 1], [x.min(), y.max() + 1]]
    height, width = shown.shape
    about = ImageRecord.from_quads("P1", np.array([quad], float), [0], path=path, width=width, height=height)
    found = written("geojson-map", tmp_path, about)["features"][0]["geometry"]["coordinates"][0]
    assert len(there) == 4
    for corner in there:
        assert any(math.dist(corner, place) < 1e-6 for place in found), (corner, found)
