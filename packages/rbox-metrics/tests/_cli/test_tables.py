"""`rbox-metrics sweep`, `confusion` and `compare`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

Run = Callable[..., tuple[int, str]]


def test_sweep(run: Run, truth: Path, predictions: Path, tmp_path: Path) -> None:
    table, values = tmp_path / "sweep.csv", tmp_path / "sweep.json"
    code, output = run(
        "sweep", "--truth", truth, "--split", "val", "--predictions", predictions,
        "--score", 0.5, "--score", 0.95, "--out", table, "--out", values,
    )  # fmt: skip
    assert code == 0, output
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert [(row["score"], row["precision"], row["recall"], row["F1"]) for row in rows] == [
        ("0.5", "100.00", "50.00", "66.67"),
        ("0.95", "0.00", "0.00", "0.00"),
    ]
    assert json.loads(values.read_text(encoding="utf-8"))["f1"] == [[None, 2 / 3], [None, 0]]
    assert "best F1, all together: 66.67 from score 0.5" in output


def test_confusion(run: Run, truth: Path, write: Callable[..., Path], tmp_path: Path) -> None:
    """A plane is taken for a ship, and there is a ship where nothing is, with a low score."""
    predictions = write("p.jsonl", [[5.0, 2, 10, 4, 0], [90.0, 2, 10, 4, 0]], [0, 0], [0.9, 0.2])
    out = tmp_path / "confusion.md"
    inputs = ("confusion", "--truth", truth, "--split", "val", "--predictions", predictions)
    code, output = run(*inputs, "--out", out)
    assert code == 0, output
    assert out.read_text(encoding="utf-8").splitlines()[2:] == [
        r"| truth \ detected | ship | plane | background |",
        "| --- | ---: | ---: | ---: |",
        "| ship | 0 | 0 | 0 |",
        "| plane | 1 | 0 | 1 |",
        "| background | 1 | 0 | 0 |",
    ]
    run(*inputs, "--out", out, "--score", 0.5)
    assert "| background | 0 | 0 | 0 |" in out.read_text(encoding="utf-8")


def test_compare(run: Run, truth: Path, write: Callable[..., Path], tmp_path: Path) -> None:
    good = write("good.jsonl", [[5.0, 2, 10, 4, 0]], [1], [0.9])
    bad = write("bad.jsonl", [[85.0, 2, 10, 4, 0]], [1], [0.9])
    out = tmp_path / "difference.json"
    code, output = run(
        "compare", "--truth", truth, "--split", "val", "--predictions", bad, "--other", good,
        "--resamples", 50, "--out", out,
    )  # fmt: skip
    assert code == 0, output
    figure = json.loads(out.read_text(encoding="utf-8"))["figures"]["f1_micro"]
    assert (figure["a"], figure["b"]) == (0, 2 / 3)
    assert figure["low"] <= figure["difference"] <= figure["high"]
    assert 0 < figure["p_value"] <= 1
    row = next(line for line in output.splitlines() if line.split()[:1] == ["f1_micro"])
    assert row.split()[1:4] == ["0.00", "66.67", "66.67"]
