"""`rbox-metrics sweep`, `confusion` and `compare`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rbox_metrics.cli._tables import run_names

Run = Callable[..., tuple[int, str]]


def test_sweep(run: Run, truth: Path, predictions: Path, tmp_path: Path) -> None:
    table, values = tmp_path / "sweep.csv", tmp_path / "sweep.json"
    code, output = run(
        "sweep", "--data", truth, "--split", "val", "--predictions", predictions,
        "--score-threshold", 0.5, "--score-threshold", 0.95, "--out", table, "--out", values,
    )  # fmt: skip
    assert code == 0, output
    rows = list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))
    assert [(row["score"], row["precision"], row["recall"], row["F1"]) for row in rows] == [
        ("0.5", "1.0", "0.5", "0.6666666666666666"),
        ("0.95", "0.0", "0.0", "0.0"),
    ]
    assert json.loads(values.read_text(encoding="utf-8"))["f1"] == [[None, 2 / 3], [None, 0]]
    assert "best F1, all together: 66.67 from score 0.5" in output


def test_confusion(run: Run, truth: Path, write: Callable[..., Path], tmp_path: Path) -> None:
    """A plane is taken for a ship, and there is a ship where nothing is, with a low score."""
    predictions = write("p.jsonl", [[5.0, 2, 10, 4, 0], [90.0, 2, 10, 4, 0]], [0, 0], [0.9, 0.2])
    out = tmp_path / "confusion.md"
    inputs = ("confusion", "--data", truth, "--split", "val", "--predictions", predictions)
    code, output = run(*inputs, "--out", out)
    assert code == 0, output
    assert out.read_text(encoding="utf-8").splitlines()[2:] == [
        r"| truth \ detected | ship | plane | background |",
        "| --- | ---: | ---: | ---: |",
        "| ship | 0 | 0 | 0 |",
        "| plane | 1 | 0 | 1 |",
        "| background | 1 | 0 | 0 |",
    ]
    run(*inputs, "--out", out, "--score-threshold", 0.5)
    assert "| background | 0 | 0 | 0 |" in out.read_text(encoding="utf-8")


def test_compare(run: Run, truth: Path, write: Callable[..., Path], tmp_path: Path) -> None:
    good = write("good.jsonl", [[5.0, 2, 10, 4, 0]], [1], [0.9])
    bad = write("bad.jsonl", [[85.0, 2, 10, 4, 0]], [1], [0.9])
    out = tmp_path / "difference.json"
    code, output = run(
        "compare", "--data", truth, "--split", "val", "--predictions", bad, "--other", good,
        "--resamples", 50, "--out", out,
    )  # fmt: skip
    assert code == 0, output
    figure = json.loads(out.read_text(encoding="utf-8"))["figures"]["f1_micro"]
    assert (figure["a"], figure["b"]) == (0, 2 / 3)
    assert figure["low"] <= figure["difference"] <= figure["high"]
    assert 0 < figure["p_value"] <= 1
    row = next(line for line in output.splitlines() if line.split()[:1] == ["f1_micro"])
    assert row.split()[1:4] == ["0.00", "66.67", "66.67"]


def test_compare_tells_classes_by_their_names(run: Run, truth: Path, predictions: Path, tmp_path: Path) -> None:
    """The same detections in a file that lists its classes the other way round are no better and no worse."""
    lines = predictions.read_text(encoding="utf-8").splitlines()
    header, record = map(json.loads, lines)
    header["class_names"] = header["class_names"][::-1]
    record["labels"] = [1 - label for label in record["labels"]]
    other = tmp_path / "other" / predictions.name
    other.parent.mkdir()
    other.write_text("\n".join(map(json.dumps, (header, record))) + "\n", encoding="utf-8")
    out = tmp_path / "difference.json"
    code, output = run(
        "compare", "--data", truth, "--split", "val", "--predictions", predictions, "--other", other,
        "--resamples", 20, "--out", out,
    )  # fmt: skip
    assert code == 0, output
    figures = json.loads(out.read_text(encoding="utf-8"))["figures"]
    assert figures["f1_micro"]["a"] == figures["f1_micro"]["b"] == 2 / 3
    assert figures["map"]["difference"] == 0
    assert "other/pre" in output.replace("\n", "")


@pytest.mark.parametrize(
    "paths, expected",
    [
        (["a.jsonl", "b.jsonl"], ["a", "b"]),
        (["one/p.jsonl", "two/p.jsonl"], ["one/p", "two/p"]),
        (["x/one/p.jsonl", "y/one/p.jsonl", "q.jsonl"], ["x/one/p", "y/one/p", "q"]),
        (["p.jsonl", "p.jsonl"], ["p.jsonl (1)", "p.jsonl (2)"]),
    ],
)
def test_runs_are_called_what_tells_them_apart(paths: list[str], expected: list[str]) -> None:
    assert run_names([Path(path) for path in paths]) == expected
