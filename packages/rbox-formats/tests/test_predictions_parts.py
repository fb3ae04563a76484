"""Predictions that several processes wrote, each into a file of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rbox_formats import ClassNames, ImageRecord, predictions
from rbox_formats.errors import PredictionsError

HEADER = predictions.Header(ClassNames(["plane", "ship"]), fingerprint="sha256:é")


def write(path: Path, ids: str, header: predictions.Header = HEADER) -> Path:
    with predictions.Writer(path, header) as writer:
        for image_id in ids:
            boxes = np.full((1, 5), ord(image_id) / 7)
            writer.write(ImageRecord(image_id, boxes, np.array([1]), metadata={"status": "boxes"}))
    return path


def ids(path: Path) -> str:
    return "".join(record.image_id for record in predictions.read(path))


@pytest.mark.parametrize("cut", [0, 1, 30, -1])
def test_what_a_file_holds_so_far(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    assert predictions.held(path, HEADER) == set()
    write(path, "ab")
    assert predictions.held(path, HEADER) == {"a", "b"}
    path.write_bytes(path.read_bytes()[:cut])
    assert predictions.held(path, HEADER) == ({"a"} if cut == -1 else set())
    with pytest.raises(PredictionsError, match="fingerprint"):
        predictions.held(write(tmp_path / "q.jsonl", "a"), replace(HEADER, fingerprint="other"))


def test_joined_files_are_as_one_process_writes_them(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.jsonl", "abcdeé")
    path = write(tmp_path / "p.jsonl", "d")
    parts = [write(tmp_path / "1", "éa"), write(tmp_path / "2", "ceb"), tmp_path / "3", tmp_path / "4"]
    parts[2].write_bytes(parts[0].read_bytes()[:5])  # killed in its first line
    predictions.join(path, parts, HEADER, "abcdeé")
    assert path.read_bytes() == whole.read_bytes()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["p.jsonl", "whole.jsonl"]


def test_torn_lines_and_images_that_come_twice(tmp_path: Path) -> None:
    """As a run leaves them that was stopped while it wrote, or after it had joined them."""
    path = write(tmp_path / "p.jsonl", "ab")
    parts = [write(tmp_path / "1", "bc"), write(tmp_path / "2", "xd")]
    with parts[0].open("ab") as file:
        file.write('{"image_id": "é'.encode()[:-1])
    predictions.join(path, parts, HEADER, "dcba")
    assert ids(path) == "dcbax"  # what the order does not name, last
    predictions.join(path, parts, HEADER, "dcbax")
    assert ids(path) == "dcbax"


def test_a_part_of_another_run_leaves_everything_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", "a")
    before = path.read_bytes()
    parts = [write(tmp_path / "1", "b"), write(tmp_path / "2", "c", replace(HEADER, fingerprint="other"))]
    with pytest.raises(PredictionsError, match="2: expected predictions of the same run"):
        predictions.join(path, parts, HEADER, "abc")
    assert path.read_bytes() == before
    assert all(part.exists() for part in parts)
