"""What DOTA's and FAIR1M's servers take."""

from __future__ import annotations

import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rbox_formats import ClassNames, ImageRecord, RboxError, datasets
from rbox_metrics import read_predictions, write_dota_submission, write_fair1m_submission
from rbox_testing.places import SHARED

EXAMPLE = SHARED / "data/dota-example"
NAMES = ClassNames(["plane", "Small Car", "ship"])


def record(image_id: str = "P1", n: int = 2, **fields: object) -> ImageRecord:
    boxes = np.array([[10.0 + 7 * k, 20, 8, 4, 0.5] for k in range(n)]).reshape(-1, 5)
    return ImageRecord(image_id, boxes, np.arange(n) % 2, **{"scores": np.linspace(0.9, 0.1, n), **fields})


def kit_lines(path: Path) -> dict[str, list[tuple[str, float, list[float]]]]:
    """As DOTA_devkit's `voc_eval` takes a class's file apart: lines at newlines, fields at single spaces."""
    found = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            rows = [line.strip().split(" ") for line in archive.read(name).decode().splitlines()]
            found[name] = [(row[0], float(row[1]), [float(field) for field in row[2:]]) for row in rows]
    return found


def test_a_file_for_every_class_with_a_line_for_every_detection(tmp_path: Path) -> None:
    quads = np.array([[[0, 0], [6, 1], [5, 4], [0, 3]], [[1.25, 0], [6, 1], [5, 4], [-0.0000001, 3]]])
    records = [record("P2"), record("P1", quads=quads, scores=None), record("none", 0)]
    found = kit_lines(write_dota_submission(tmp_path / "deep/out.zip", iter(records), NAMES))
    assert list(found) == ["Task1_plane.txt", "Task1_Small-Car.txt", "Task1_ship.txt"]
    assert found["Task1_ship.txt"] == []
    (first, second) = found["Task1_plane.txt"]
    assert first[:2] == ("P2", 0.9)
    assert np.abs(np.array(first[2]).reshape(4, 2) - record().corners[0]).max() < 1e-6
    assert second == ("P1", 1.0, [0, 0, 6, 1, 5, 4, 0, 3])
    assert found["Task1_Small-Car.txt"][1] == ("P1", 1.0, [1.25, 0, 6, 1, 5, 4, 0, 3])
    with zipfile.ZipFile(tmp_path / "deep/out.zip") as archive:
        assert b"-0" not in archive.read("Task1_Small-Car.txt").replace(b"-0.", b"")


@pytest.mark.skipif(not EXAMPLE.is_dir(), reason="the example data is not here")
def test_the_example_comes_back_byte_for_meaning(tmp_path: Path) -> None:
    names = datasets.FORMATS["dota"].class_names
    found = read_predictions(EXAMPLE / "Task1", class_names=names)
    written = kit_lines(write_dota_submission(tmp_path / "out.zip", found, names))
    assert len(written) == 15
    for path in (EXAMPLE / "Task1").glob("*.txt"):
        rows = [line.split(" ") for line in path.read_text().splitlines()]
        lines = [(row[0], float(row[1]), [float(field) for field in row[2:]]) for row in rows]
        # By image; within one as they stood.
        assert written.pop(path.name) == sorted(lines, key=lambda line: line[0])
    assert not any(written.values())


@given(st.lists(st.floats(-1e6, 1e6), min_size=8, max_size=8), st.floats(0, 1))
def test_what_is_written_reads_back(
    tmp_path_factory: pytest.TempPathFactory, corners: list[float], score: float
) -> None:
    quads = np.array(corners).reshape(1, 4, 2)
    one = ImageRecord.from_quads("P1", quads, np.array([2]), scores=np.array([score]))
    folder = tmp_path_factory.mktemp("written")
    for write in (write_dota_submission, write_fair1m_submission):
        (back,) = read_predictions(write(folder / "out.zip", [one], NAMES), class_names=NAMES)
        assert np.abs(back.quads - quads).max() <= 1e-6
        assert back.scores.tolist() == [score]
        assert back.labels.tolist() == [2]


@pytest.mark.parametrize("write", [write_dota_submission, write_fair1m_submission])
def test_the_same_detections_give_the_same_bytes(write: object, tmp_path: Path) -> None:
    first, second = (write(tmp_path / name, [record(), record("P2")], NAMES).read_bytes() for name in ("a", "b"))
    assert first == second


def test_fair1m_has_a_file_for_every_image(tmp_path: Path) -> None:
    path = write_fair1m_submission(
        tmp_path / "test.zip", [record("7"), record("12", 0)], NAMES, details={"author": "Ä & B"}
    )
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["test/12.xml", "test/7.xml"]
        empty, full = (ElementTree.fromstring(archive.read(name)) for name in archive.namelist())
    assert empty.findall("objects/object") == []
    assert full.findtext("source/filename") == "7.tif"
    assert full.findtext("research/author") == "Ä & B"
    assert [element.text for element in full.iterfind("objects/object/possibleresult/name")] == ["plane", "Small Car"]
    assert [element.text for element in full.iterfind("objects/object/possibleresult/probability")] == ["0.9", "0.1"]
    points = [element.text for element in full.iterfind("objects/object[1]/points/point")]
    assert len(points) == 5
    assert points[0] == points[4]
    corners = np.array([point.split(",") for point in points[:4]], dtype=float)
    assert np.abs(corners - record().corners[0]).max() < 1e-6


@pytest.mark.parametrize("write", [write_dota_submission, write_fair1m_submission])
@pytest.mark.parametrize(
    "records, message",
    [
        ([record("P1"), record("P1")], "each image once, got 'P1' again"),
        ([record(scores=np.array([0.5, np.inf]))], "a finite number as score"),
        ([record(scores=np.array([0.5, np.nan]))], "number as score"),
        ([record(quads=np.full((2, 4, 2), np.nan))], "finite numbers"),
    ],
)
def test_bad_detections_leave_no_file(write: object, records: list[ImageRecord], message: str, tmp_path: Path) -> None:
    (tmp_path / "out.zip").write_bytes(b"before")
    with pytest.raises(RboxError, match=message):
        write(tmp_path / "out.zip", records, NAMES)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"out.zip": b"before"}


def test_a_label_out_of_range_is_named(tmp_path: Path) -> None:
    with pytest.raises(RboxError, match=r"0 or more, below 1, got 1 at the labels of image 'P1'\[1\]"):
        write_dota_submission(tmp_path / "out.zip", [record()], ["plane"])


def test_names_that_a_file_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(RboxError, match="image id without spaces, got 'a b'"):
        write_dota_submission(tmp_path / "out.zip", [record("a b")], NAMES)
    with pytest.raises(RboxError, match=r"plain file name .*'\.\./P1\.xml'"):
        write_fair1m_submission(tmp_path / "out.zip", [record("../P1")], NAMES)
    with pytest.raises(RboxError, match=r"plain file name .*'Task1_\.\./plane\.txt'"):
        write_dota_submission(tmp_path / "out.zip", [record(n=0)], ["../plane"])
    with pytest.raises(RboxError, match=r"details among version, .*got name"):
        write_fair1m_submission(tmp_path / "out.zip", [], NAMES, details={"name": "x"})
