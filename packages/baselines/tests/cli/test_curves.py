from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image
from rbox_baselines.cli.main import main

RUN = Path(__file__).parents[1] / "data" / "run"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["curves", *map(str, arguments)], catch_exceptions=False)


def test_draws_and_writes(tmp_path: Path) -> None:
    out, table = tmp_path / "new" / "curves.png", tmp_path / "curves.csv"
    # The second part alone is another run.
    result = run(RUN, RUN / "20240102_000000", RUN, "--out", out, "--out", table, "--key", "loss_*, mAP")
    assert result.exit_code == 0, result.output
    with Image.open(out) as picture:
        assert picture.format == "PNG"
        assert picture.width == 2100
    first, second = csv.DictReader(table.read_text().splitlines())
    assert [first["run"], second["run"]] == ["run", "20240102_000000"]
    assert float(first["rbox/map best"]) == float(second["rbox/map best"]) == pytest.approx(0.15068, abs=1e-5)
    assert f"The chart is in {out}" in result.output


def test_the_table_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs no matplotlib."""
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    result = run(RUN, "--out", tmp_path / "curves.csv")
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == ["curves.csv"]


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        ([RUN], 2, "Missing option '--out'"),
        (["--out", "c.png"], 2, "Missing argument 'RUN...'"),
        ([RUN, "--out", "c.pdf"], 2, "expected a file ending in .png or .csv, got c.pdf"),
        ([RUN, "--out", "c.png", "--out", "c.md"], 2, "expected a file ending in .png or .csv, got c.md"),
        (
            [RUN, "--out", "c.png", "--key", "mAP_75"],
            1,
            "expected a key among lr, loss, loss_cls, loss_bbox, rbox/map",
        ),
        (["nowhere", "--out", "c.png"], 1, "expected the log of a training, found none"),
    ],
)
def test_bad_input_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list, code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == code
    assert message in result.output
    assert not list(tmp_path.iterdir())


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    result = run(RUN, "--out", tmp_path / "c.png")
    assert result.exit_code == 1
    assert "pip install 'rbox-metrics[plot]'" in result.output
