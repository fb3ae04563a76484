"""`rbox-metrics merge`: predictions on windows become predictions on images."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rbox_formats import ClassNames, ImageRecord, predictions
from rbox_formats.predictions import Header, Writer

Run = Callable[..., tuple[int, str]]

HEADER = Header(ClassNames(["ship", "plane"]), fingerprint="none", generation={"beams": 1})


def write(path: Path, records: list[ImageRecord]) -> Path:
    with Writer(path, HEADER) as writer:
        for record in records:
            writer.write(record)
    return path


def record(name: str, boxes: list, labels: list, scores: list | None) -> ImageRecord:
    array = np.array(boxes, dtype=float).reshape(-1, 5)
    return ImageRecord(name, array, np.array(labels, int), scores=None if scores is None else np.array(scores))


def test_what_two_windows_saw_is_kept_once(run: Run, tmp_path: Path) -> None:
    """The windows of P0001 share the columns 824 to 1024; another image has one window."""
    parts = [
        record("P0001__1024__0___0", [[900, 50, 40, 20, 0.5], [100, 100, 40, 20, 0]], [0, 0], [0.6, 0.9]),
        record("P0001__1024__824___0", [[76, 50, 40, 20, 0.5], [77, 50, 40, 20, 0.5]], [0, 1], [0.8, 0.7]),
        record("P0002__1024__0___0", [], [], []),
    ]
    out = tmp_path / "merged.jsonl"
    code, output = run("merge", "--predictions", write(tmp_path / "parts.jsonl", parts), "--out", out)
    assert code == 0, output
    assert "2 images" in output
    found = predictions.read(out)
    assert found.header == HEADER
    first, second = found
    assert (first.image_id, second.image_id) == ("P0001", "P0002")
    # Of the ship seen twice the better is kept; the plane at nearly its place is of another class.
    assert sorted(map(tuple, first.boxes.tolist())) == [
        (100, 100, 40, 20, 0), (900, 50, 40, 20, 0.5), (901, 50, 40, 20, 0.5),
    ]  # fmt: skip
    assert sorted(first.scores.tolist()) == [0.7, 0.8, 0.9]
    assert len(second) == 0


def test_windows_that_were_resized(run: Run, tmp_path: Path) -> None:
    part = record("P0001__512__100___200", [[50, 60, 40, 20, math.pi / 4]], [0], None)
    out = tmp_path / "merged.jsonl"
    code, _ = run(
        "merge", "--predictions", write(tmp_path / "parts.jsonl", [part]), "--out", out, "--window-size", 1024
    )
    assert code == 0
    (found,) = predictions.read(out)
    assert found.boxes[0] == pytest.approx([125, 230, 20, 10, math.pi / 4])


def test_names_that_are_no_windows(run: Run, tmp_path: Path) -> None:
    parts = write(tmp_path / "parts.jsonl", [record("P0001", [], [], None)])
    code, output = run("merge", "--predictions", parts, "--out", tmp_path / "merged.jsonl")
    assert code == 1
    assert "expected a window's name, as in P0706__1024__87___158, got 'P0001'" in output
    assert not (tmp_path / "merged.jsonl").exists()
