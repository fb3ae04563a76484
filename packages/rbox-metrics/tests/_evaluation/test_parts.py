"""Predictions in many files, of lines or Parquet, in any order: the report is that of one file."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rbox_formats import ClassNames, Dataset, ImageRecord, datasets, predictions
from rbox_formats.errors import RboxError
from rbox_metrics import evaluate_file, read_predictions
from rbox_metrics._plain import plain
from rbox_metrics.cli.main import main

NAMES = ClassNames(["plane", "ship"])
HEADER = predictions.Header(NAMES, "sha256:1")
IDS = ("10", "9", "B", "a", "b", "é")


def scene(seed: int) -> tuple[Dataset, list[ImageRecord]]:
    """Truths, and detections whose scores and places tie within images and between them."""
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for name in IDS:
        count = int(rng.integers(0, 5))
        boxes = rng.integers(1, 4, (count, 5)) * [10.0, 10, 4, 4, 0.2]
        truths.append(ImageRecord(name, boxes, rng.integers(0, 2, count)))
        each = int(rng.integers(0, 9))
        drawn = rng.integers(1, 4, (each, 5)) * [10.0, 10, 4, 4, 0.2] + rng.integers(0, 2, (each, 5))
        scores = rng.integers(1, 4, each) / 4
        found.append(ImageRecord(name, drawn, rng.integers(0, 2, each), scores=scores))
    return Dataset(NAMES, truths), found


def report(truth: Dataset, path: Path | list[Path], protocol: str = "voc07") -> str:
    return json.dumps(plain(evaluate_file(truth, path, protocol=protocol, full=True).to_dict()))


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 1000),
    order=st.permutations(range(len(IDS))),
    cuts=st.sets(st.integers(1, len(IDS) - 1)),
    names=st.permutations("abcdef"),
)
@example(seed=0, order=range(len(IDS))[::-1], cuts={1, 2, 3, 4, 5}, names="fedcba")
def test_the_order_of_parts_and_of_images_does_not_matter(
    seed: int, order: list[int], cuts: set[int], names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    truth, found = scene(seed)
    predictions.write(folder / "whole.jsonl", HEADER, found)
    expected = {protocol: report(truth, folder / "whole.jsonl", protocol) for protocol in ("voc07", "coco")}
    bounds = [0, *sorted(cuts), len(IDS)]
    parts = []
    for number, (start, end) in enumerate(pairwise(bounds)):
        ending = (".jsonl", ".parquet")[number % 2]
        parts.append(folder / "parts" / f"{names[number]}{ending}")
        predictions.write(parts[-1], HEADER, [found[place] for place in order[start:end]])
    for protocol, text in expected.items():
        assert report(truth, folder / "parts", protocol) == text
        assert report(truth, parts[::-1], protocol) == text


def test_the_command_takes_parts(tmp_path: Path) -> None:
    truth, found = scene(3)
    data = datasets.write("coco-rotated", truth, tmp_path / "data", None, NAMES)
    assert data.exists()
    predictions.write(tmp_path / "whole.jsonl", HEADER, found)
    folder = tmp_path / "parts"
    predictions.write(folder / "1.parquet", HEADER, found[3:])
    predictions.write(folder / "0.jsonl", HEADER, found[:3])
    ways = {
        "whole": ["whole.jsonl"],
        "folder": ["parts"],
        "files": ["parts/1.parquet", "parts/0.jsonl"],
    }
    words = ["evaluate", "--data", str(tmp_path / "data"), "--format", "coco-rotated"]
    texts = {}
    for way, names in ways.items():
        given = [word for name in names for word in ("--predictions", str(tmp_path / name))]
        out = tmp_path / f"{way}.json"
        result = CliRunner().invoke(main, [*words, *given, "--out", str(out)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        texts[way] = out.read_text()
    assert texts["folder"] == texts["files"] == texts["whole"]

    result = CliRunner().invoke(main, [*words, "--predictions", str(folder), "--predictions", str(folder)])
    assert result.exit_code == 1
    assert "expected each image once" in result.output


def test_parts_are_of_one_kind(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"Task1_{name}.txt").write_text("P1 0.9 1 1 9 1 9 5 1 5\n")
    with pytest.raises(RboxError, match="expected one file or folder of the kind dota-task1, got 2"):
        read_predictions([tmp_path / "Task1_a.txt", tmp_path / "Task1_b.txt"])
    with pytest.raises(RboxError, match="expected predictions files, got an empty list"):
        read_predictions([])
    (tmp_path / "b.jsonl").write_text("")
    assert read_predictions(tmp_path).kind == "dota-task1"  # a file beside them changes nothing
