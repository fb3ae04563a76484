"""Outlines of masks as GeoJSON and GeoPackage, with shapely as the witness."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from rbox_formats import ClassNames, ImageRecord, datasets
from rbox_formats.cli.main import main
from rbox_formats.datasets import geojson
from rbox_formats.detection import Prediction
from rbox_formats.detection._maps import write_geojson
from rbox_formats.errors import DatasetError
from shapely.geometry import Polygon, shape

NAMES = ClassNames(["building"])
OUTLINE = [[10.0, 10.0, 40.5, 12.0, 38.0, 40.0, 25.0, 20.0, 12.0, 40.0]]


def pixels() -> np.ndarray:
    """Two parts, one with a hole."""
    drawn = np.zeros((120, 160), np.uint8)
    cv2.ellipse(drawn, (60, 60), (40, 22), 30, 0, 360, 1, -1)
    cv2.ellipse(drawn, (60, 60), (12, 8), 0, 0, 360, 0, -1)
    drawn[5:15, 120:150] = 1
    return drawn.astype(bool)


def record() -> ImageRecord:
    return ImageRecord.from_masks("a", [pixels(), OUTLINE], [0, 0], width=160, height=120)


def test_features_are_the_outlines_of_masks() -> None:
    collection = geojson.collection(record(), NAMES)
    first, second = (shape(feature["geometry"]) for feature in collection["features"])
    assert first.is_valid
    assert (first.geom_type, len(first.geoms)) == ("MultiPolygon", 2)
    assert first.area == pixels().sum()
    assert sorted(len(part.interiors) for part in first.geoms) == [0, 1]
    for part in first.geoms:  # counter-clockwise where y points up, holes the other way
        assert part.exterior.is_ccw
        assert not any(hole.is_ccw for hole in part.interiors)
    assert second.equals(Polygon(np.reshape(OUTLINE, (-1, 2))))


def test_a_tolerance_makes_outlines_simpler_and_no_further_off() -> None:
    whole, simple = (
        shape(geojson.collection(record(), NAMES, tolerance=tolerance)["features"][0]["geometry"])
        for tolerance in (0.0, 1.5)
    )
    corners = [sum(len(part.exterior.coords) for part in each.geoms) for each in (whole, simple)]
    assert corners[1] < corners[0] / 3
    assert whole.hausdorff_distance(simple) <= 1.5
    assert whole.intersection(simple).area / whole.union(simple).area > 0.95
    with pytest.raises(DatasetError, match="expected a tolerance in pixels, 0 or more, got -1"):
        geojson.collection(record(), NAMES, tolerance=-1)


def test_predictions_are_placed_on_the_map(tmp_path: Path) -> None:
    Image.new("RGB", (160, 120)).save(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text("0.5\n0\n0\n-0.5\n500000.25\n4982959.75\n")
    found = Prediction.of(record(), NAMES, path=tmp_path / "a.png")
    (feature, _) = found.to_geojson(tolerance=1.0)["features"]
    placed = shape(feature["geometry"])
    assert placed.is_valid
    assert placed.area == pytest.approx(pixels().sum() / 4, rel=0.05)
    assert placed.bounds == pytest.approx((500000 + 21 / 2, 4982960 - 93 / 2, 500000 + 75, 4982960 - 2.5), abs=4)
    assert all(part.exterior.is_ccw for part in placed.geoms)
    out = write_geojson(found, tmp_path / "found.geojson", tolerance=1.0)
    assert json.loads(out.read_text())["features"][0]["geometry"] == feature["geometry"]


@pytest.mark.filterwarnings("ignore:'crs' was not provided")  # a world file names none
def test_geopackages_hold_parts_and_holes(tmp_path: Path) -> None:
    pyogrio = pytest.importorskip("pyogrio")
    Image.new("RGB", (160, 120)).save(tmp_path / "a.png")
    (tmp_path / "a.pgw").write_text("1\n0\n0\n-1\n0.5\n-0.5\n")
    found = Prediction.of(record(), NAMES, path=tmp_path / "a.png")
    try:
        out = write_geojson(found, tmp_path / "found.gpkg")
    except DatasetError as error:
        pytest.skip(str(error))  # GDAL without a driver that writes them
    from shapely import from_wkb

    geometries = from_wkb(pyogrio.raw.read(out)[2])
    assert [each.geom_type for each in geometries] == ["MultiPolygon"] * 2
    assert geometries[0].area == pixels().sum()


def test_the_command_writes_them(tmp_path: Path) -> None:
    datasets.write("coco", [record()], tmp_path / "coco.json", None, NAMES)
    call = ["convert", "--data", str(tmp_path / "coco.json"), "--format", "coco", "--to", "geojson"]
    sizes = []
    for more in ([], ["--to-option", "tolerance=2"]):
        out = tmp_path / f"geo{len(more)}"
        result = CliRunner().invoke(main, [*call, *more, "--out", str(out)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        sizes.append(len((out / "a.geojson").read_text()))
    assert sizes[1] < sizes[0]
    result = CliRunner().invoke(main, [*call, "--to-option", "digits=2", "--out", str(tmp_path / "x")])
    assert "which has tolerance, got digits" in result.output
