"""docs/codecs.md is what tools/codecs_page.py makes, and what it says is so."""

from __future__ import annotations

import csv
import dataclasses
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import shapely
from PIL import Image
from rbox_formats import ClassNames, codecs

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGE = (DOCS / "codecs.md").read_text(encoding="utf-8")


def check(docs: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "codecs_page.py"), "--check", "--docs", str(docs)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import _round_trips

    return _round_trips


@pytest.mark.slow
def test_the_page_and_its_figures_are_those_of_the_code() -> None:
    result = check(DOCS)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_stale_page_is_told_with_its_difference(tmp_path: Path) -> None:
    docs = shutil.copytree(DOCS, tmp_path / "docs")
    (docs / "codecs.md").write_text(PAGE.replace("<loc_413>", "<loc_414>", 1), encoding="utf-8")
    result = check(docs)
    assert result.returncode == 1
    removed = [line for line in result.stdout.splitlines() if line.startswith("-") and "<loc_414>" in line]
    assert len(removed) == 1
    assert "run python tools/codecs_page.py" in result.stderr


def test_stale_figures_are_told(round_trips: ModuleType) -> None:
    rows = round_trips.read(DOCS / "codecs" / "round_trip.csv")
    moved = rows[3]._replace(smallest=(rows[3].smallest[0] + 0.01, *rows[3].smallest[1:]))
    assert round_trips.stale(rows, rows) == []
    [line] = round_trips.stale(rows, [*rows[:3], moved, *rows[4:]])
    assert rows[3].format in line
    [line] = round_trips.stale(rows, rows[:-1])
    assert "in one of the two only" in line


def test_every_codec_and_option_is_shown(round_trips: ModuleType) -> None:
    """Each value of each option, from the types of the codecs' fields."""
    sections = re.findall(r"^### (\S+)$", PAGE, re.MULTILINE)
    assert sections == list(codecs.CODECS)
    for name, codec in codecs.CODECS.items():
        shown = [variant.codec for variant in round_trips.VARIANTS if variant.codec.name == name]
        assert shown[0] == codecs.get(name)
        for field in dataclasses.fields(codec):
            hint = get_type_hints(codec)[field.name]
            values = {int: {1, 2, 3}, bool: {False, True}}.get(hint, set(get_args(hint)))
            assert {getattr(variant, field.name) for variant in shown} == values, (name, field.name)


@pytest.mark.parametrize("name", codecs.CODECS)
def test_the_first_example_of_each_codec_says_its_three_boxes(name: str) -> None:
    """Read from the page as a user would: near the boxes that the page lists, within a cell of the coarsest format."""
    listed = re.findall(r"^\| (\S+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (-?\d+)° \|$", PAGE, re.MULTILINE)
    section = re.search(rf"^### {re.escape(name)}\n(.*?)(?=^### |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section
    example = re.search(r"^Example:\n\n(`{3,})text\n(.*?)\n\1$", section[1], re.MULTILINE | re.DOTALL)
    assert example
    codec = codecs.get(name)
    names = ClassNames(["small-vehicle"] if codec.one_class else ["small-vehicle", "ship"])
    decoded = codec.decode(example[2], names, (1024, 768), on_invalid="raise")
    assert decoded.status == "boxes"
    expected = {
        (float(cx), float(cy)): ("small-vehicle" if codec.one_class else label, float(w), float(angle))
        for label, cx, cy, w, _, angle in listed
    }
    assert len(decoded.labels) == len(expected) == 3
    for box, label in zip(decoded.boxes, decoded.labels, strict=True):
        centre = min(expected, key=lambda centre: math.dist(centre, box[:2]))
        true_label, width, degrees = expected.pop(centre)
        assert np.abs(box[:2] - centre).max() <= 16
        assert names[label] == true_label
        if codec.holds_rotation:
            assert box[2] == pytest.approx(width, abs=12)
            assert (math.degrees(box[4]) - degrees + 90) % 180 - 90 == pytest.approx(0, abs=4)


def test_links_and_pictures_are_there() -> None:
    prose = re.sub(r"^(`{3,}).*?^\1$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)]+)\)", prose):
        if target.startswith("#"):
            headings = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
            slugs = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert target[1:] in slugs
        elif target.endswith(".png"):
            with Image.open(DOCS / target) as picture:
                assert picture.width >= 1500
        else:
            assert (DOCS / target).is_file()


def test_boxes_that_are_measured_lie_inside_and_their_overlap_is_shapelys(round_trips: ModuleType) -> None:
    """Florence-2, 32 px, 1024 px: the row of the table from our own corners, bins, and shapely's areas."""
    boxes = round_trips.random_boxes((1024, 1024), 32)
    c, s = np.cos(boxes[:, 4]), np.sin(boxes[:, 4])
    signs = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    x, y = (signs[:, 0] * boxes[:, 2:3], signs[:, 1] * boxes[:, 3:4])
    quads = np.stack(
        [boxes[:, :1] + c[:, None] * x - s[:, None] * y, boxes[:, 1:2] + s[:, None] * x + c[:, None] * y], -1
    )
    assert quads.min() >= 0
    assert quads.max() <= 1024
    ratios = boxes[:, 2] / boxes[:, 3]
    assert 1 <= ratios.min() < 1.05
    assert 7.5 < ratios.max() <= 8

    back = (np.floor(quads / 1.024) + 0.5) * 1.024
    true = shapely.polygons(quads)
    found = shapely.oriented_envelope(shapely.polygons(back))
    overlaps = shapely.area(shapely.intersection(true, found)) / shapely.area(shapely.union(true, found))
    with (DOCS / "codecs" / "round_trip.csv").open(newline="") as file:
        row: dict[str, Any] = next(
            row
            for row in csv.DictReader(file)
            if row["format"] == "florence2" and row["width"] == row["height"] == "1024"
        )
    assert float(row["median 32 px"]) == pytest.approx(np.median(overlaps), abs=0.002)
    assert float(row["smallest 32 px"]) == pytest.approx(overlaps.min(), abs=0.002)
