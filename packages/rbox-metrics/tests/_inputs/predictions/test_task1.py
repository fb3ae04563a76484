"""DOTA's Task1 files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rbox_formats import RboxError, datasets
from rbox_metrics import read_predictions
from rbox_metrics._inputs.predictions import _task1
from rbox_testing.places import SHARED

EXAMPLE = SHARED / "data/dota-example"


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"Task1_{name.replace('_', '-')}.txt").write_bytes(text.encode())
    return folder


def test_classes_come_from_the_names_of_the_files(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        ship="b 0.25 0 0 4 0 4 2 0 2\r\na 1 9 9 12 9 12 11 9 11\r\n",
        large_vehicle="\nb 5e-1 1.5 1 4 0 4 2 0 -2\n\n",
        plane="",
    )
    found = read_predictions(folder)
    assert found.class_names == ("large-vehicle", "plane", "ship")
    first, second = found
    assert [first.image_id, second.image_id] == ["a", "b"]
    assert second.labels.tolist() == [0, 2]
    assert second.scores.tolist() == [0.5, 0.25]
    assert second.quads[0].tolist() == [[1.5, 1], [4, 0], [4, 2], [0, -2]]
    assert first.quads.tolist() == [[[9, 9], [12, 9], [12, 11], [9, 11]]]
    assert first.boxes[0] == pytest.approx([10.5, 10, 3, 2, 0])


def test_a_list_of_classes_gives_their_order(tmp_path: Path) -> None:
    folder = write(tmp_path, ship="a 1 0 0 4 0 4 2 0 2\n", large_vehicle="a 1 0 0 4 0 4 2 0 2\n")
    found = read_predictions(folder, class_names=["Ship", "plane", "Large Vehicle"])
    assert found.class_names == ("Ship", "plane", "Large Vehicle")
    assert found[0].labels.tolist() == [0, 2]
    with pytest.raises(RboxError, match=r"Task1_ship.txt: expected a class among plane, large-vehicle, got 'ship'"):
        read_predictions(folder, class_names=["plane", "large-vehicle"])


@pytest.mark.parametrize(
    "line, message",
    [
        ("a 0.5 1 2 3 4 5 6 7", "got 9 fields\nA line reads: image score"),
        ("a 0.5 1 2 3 4 5 6 7 8 plane", "got 11 fields"),
        ("a 0.5 1 2 3 4 5 6 7 eight", "expected 8 coordinates, got 'eight' as number 8"),
        ("a high 1 2 3 4 5 6 7 8", "expected a score, got 'high'"),
        ("a nan 1 2 3 4 5 6 7 8", "finite"),
        ("a 0.5 1 2 3 4 inf 6 7 8", "finite"),
        ("a 0.5 1_0 2 3 4 5 6 7 8", "got '1_0'"),
        ("a 0.5 1 2 3 4 5e9 6 7 8", "up to 1000000000"),
    ],
)
def test_a_bad_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    folder = write(tmp_path, plane=f"a 0.5 0 0 4 0 4 2 0 2\n\n{line}\n")
    with pytest.raises(RboxError, match=rf"Task1_plane.txt:3: (.|\n)*{message}"):
        read_predictions(folder)


def test_text_of_another_encoding_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "Task1_plane.txt").write_bytes(b"\xff\xfea\0 \0")
    with pytest.raises(RboxError, match=r"Task1_plane.txt: expected UTF-8"):
        read_predictions(tmp_path)


def test_the_quick_way_and_the_way_by_line_agree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    rows = [f"im{rng.integers(9)} {' '.join(map(repr, rng.normal(0, 1000, 9).tolist()))}" for _ in range(200)]
    folder = write(tmp_path, plane="\n".join(rows))
    quick = list(read_predictions(folder))
    monkeypatch.setattr(_task1, "_at_once", lambda rows: None)
    for one, other in zip(quick, read_predictions(folder), strict=True):
        assert one.image_id == other.image_id
        assert (one.quads == other.quads).all()
        assert (one.scores == other.scores).all()


@pytest.mark.skipif(not EXAMPLE.is_dir(), reason="the example data is not here")
def test_the_examples_lines_are_all_there() -> None:
    found = read_predictions(EXAMPLE / "Task1", class_names=datasets.FORMATS["dota"].class_names)
    rows = []
    for record in found:
        for label, score, quad in zip(record.labels, record.scores, record.quads, strict=True):
            rows.append((found.class_names[label], record.image_id, float(score), *quad.ravel().tolist()))
    lines = []
    for path in (EXAMPLE / "Task1").glob("*.txt"):
        for line in path.read_text().split("\n"):
            if line:
                image, *numbers = line.split(" ")
                lines.append((path.name[6:-4], image, *map(float, numbers)))
    assert sorted(rows) == sorted(lines)
    assert len(rows) == 760
