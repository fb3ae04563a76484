"""Pictures from `evaluate --plots`, and from saved reports by `plot`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

Run = Callable[..., tuple[int, str]]


def pictures(folder: Path) -> list[str]:
    names = sorted(path.name for path in folder.iterdir())
    for name in names:
        with Image.open(folder / name) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 100
    return names


def test_a_saved_report_gives_the_same_pictures(run: Run, truth: Path, predictions: Path, tmp_path: Path) -> None:
    report, first, second = tmp_path / "predictions.json", tmp_path / "first", tmp_path / "second"
    code, output = run(
        "evaluate", "--data", truth, "--split", "val", "--predictions", predictions, "--out", report, "--plots", first
    )
    assert code == 0, output
    code, output = run("plot", report, "--out", second)
    assert code == 0, output
    assert pictures(first) == pictures(second)
    assert {"pr-curves.png", "score-thresholds.png", "calibration.png", "errors.png"} <= set(pictures(first))
    for name in pictures(first):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


@pytest.mark.slow
def test_two_runs_in_one_picture(run: Run, truth: Path, predictions: Path, tmp_path: Path) -> None:
    reports = [tmp_path / "a.json", tmp_path / "b.json"]
    for path in reports:
        run("evaluate", "--data", truth, "--split", "val", "--predictions", predictions, "--out", path)
    code, _ = run("plot", *reports, "--out", tmp_path / "both")
    assert code == 0
    assert {"confusion-a.png", "confusion-b.png", "pr-curves.png"} <= set(pictures(tmp_path / "both"))


def test_what_is_no_report(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    for text, message in (("{", "expected a report in JSON"), ("{}", "full")):
        path.write_text(text, encoding="utf-8")
        code, output = run("plot", path, "--out", tmp_path / "pictures")
        assert code == 1
        assert message in output
    assert run("plot", tmp_path / "none.json", "--out", tmp_path / "pictures")[0] == 1
