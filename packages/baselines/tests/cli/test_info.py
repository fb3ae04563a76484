from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from rbox_baselines._tools import _info
from rbox_baselines._tools._info import Info
from rbox_baselines.cli.main import main


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["info", *map(str, arguments)], catch_exceptions=False)


def test_prints_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}

    def measure(config: str, **settings: object) -> Info:
        asked.update(settings)
        return Info(2_000_000, 10, (64, 32), 5 * 10**9, (0.1,), None, "growth of the process", "cpu", False)

    monkeypatch.setattr(_info, "measure", measure)
    out = tmp_path / "info.json"
    result = run("rotated-fcos-rsar-800", "--input-size", "64x32", "--rounds", 1, "--out", out)
    assert result.exit_code == 0, result.output
    assert asked == {"checkpoint": None, "size": (64, 32), "device": None, "rounds": 1}
    assert json.loads(out.read_text())["config"] == "rotated-fcos-rsar-800"
    for part in ("2.00 M", "64x32 px", "10.00 G", "random", "Not counted: normalisation", str(out)):
        assert part in result.output.replace("\n", "")


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        ([], 2, "Missing argument 'CONFIG'"),
        (["a", "--input-size", "big"], 2, "expected WIDTHxHEIGHT in pixels"),
        (["a", "--rounds", 0], 2, "Invalid value for '--rounds'"),
        (
            ["rotated-retinanet-nothing"],
            1,
            "expected a preset, a config of MMRotate's or mmdet's zoo, or a config file",
        ),
        (["none.py"], 1, "none.py: expected a config file, found none"),
    ],
)
def test_bad_input_is_one_message(arguments: list, code: int, message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == code
    assert message in result.output
