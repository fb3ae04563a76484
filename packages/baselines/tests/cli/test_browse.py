from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image
from rbox_baselines.cli.main import main
from rbox_formats.synthetic import CLASS_NAMES as NAMES

ZOO_NAME = "rotated-retinanet-rbox-le90_r50_fpn_1x_dota"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["browse", *map(str, arguments)], catch_exceptions=False)


def test_draws(scenes: Path, tmp_path: Path) -> None:
    result = run(
        ZOO_NAME, "--data", scenes, "--class-names", ",".join(NAMES), "--out", tmp_path / "out", "--limit", 2
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "2 pictures are in" in result.output
    assert len(list((tmp_path / "out").iterdir())) == 3
    with Image.open(next(iter(sorted((tmp_path / "out").glob("scene*"))))) as picture:
        assert picture.size == (1024, 1024)  # to which the config resizes


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        ([ZOO_NAME], 2, "Missing option '--out'"),
        ([ZOO_NAME, "--out", "out", "--format", "dota"], 2, "go with --data"),
        ([ZOO_NAME, "--out", "out", "--data", "nowhere"], 1, "nowhere"),
        (
            ["rotated-fcos-nothing", "--out", "out"],
            1,
            "expected a preset, a config of MMRotate's or mmdet's zoo, or a config file",
        ),
    ],
)
def test_bad_input_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list, code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == code
    assert message in result.output
    assert not Path("out").exists()
