from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from rbox_baselines.cli.main import main


def test_says_what_is_left_out_and_where_the_file_is(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(2)}, "optimizer": {}, "ema_state_dict": {}}, tmp_path / "epoch_1.pth")
    arguments = ["publish", str(tmp_path / "epoch_1.pth"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    (path,) = (tmp_path / "out").iterdir()
    assert f"The checkpoint is in {path}" in result.output
    assert "Removed: optimizer, ema_state_dict." in result.output
    assert "average" in result.output


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["none.pth", "--out", "out"], 1, "none.pth: expected a checkpoint file, got none"),
        (["text.pth", "--out", "out"], 1, "text.pth: expected a checkpoint, got a file that cannot be read"),
        (["text.pth"], 2, "Missing option '--out'"),
        (["text.pth", "--out", "text.pth/out"], 1, "expected a folder that can be written to"),
    ],
)
def test_bad_input_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.pth").write_text("text")
    result = CliRunner().invoke(main, ["publish", *arguments], catch_exceptions=False)
    assert result.exit_code == code
    assert message in result.output
    assert not Path("out").exists()
