"""tools/try_configs.py on a small made-up project: two configs that work, a broken one, one that takes too long."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import try_configs  # noqa: E402

SMALL = """\
_base_ = "mmrotate::rotated_retinanet/rotated-retinanet-rbox-le90_r50_fpn_1x_dota.py"
custom_imports = {"imports": ["heads"]}
model = {
    "backbone": {"depth": 18, "base_channels": 8},
    "neck": {"in_channels": [8, 16, 32, 64], "out_channels": 16},
    "bbox_head": {"type": "OwnHead", "in_channels": 16, "feat_channels": 16, "stacked_convs": 1},
}
"""
FILES = {
    "heads.py": """\
from mmdet.models.dense_heads import RetinaHead
from mmrotate.registry import MODELS


@MODELS.register_module()
class OwnHead(RetinaHead):
    pass
""",
    "configs/_base_/model.py": "raise ValueError('not tried by itself')\n",
    "configs/data.py": "data_root = 'data/'\n",
    "configs/small.py": SMALL,
    "configs/two/smaller.py": "_base_ = '../small.py'\nmodel = {'bbox_head': {'stacked_convs': 0}}\n",
    "configs/broken.py": "_base_ = 'small.py'\nmodel = {'neck': {'type': 'No|Neck'}}\n",
    "configs/slow.py": "import time\n\ntime.sleep(600)\n",
    "tests/configs.py": "raise ValueError('no config')\n",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "made-up" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "made-up"


def run(project: Path, *words: str) -> tuple[list[str], str]:
    """What the script says, a line for each config that it tried, and the page."""
    out = project.parent / "page.md"
    command = [sys.executable, str(ROOT / "tools" / "try_configs.py"), "--project", str(project), "--out", str(out)]
    result = subprocess.run([*command, "--size", "64", *words], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines(), out.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.variant
def test_each_config_is_tried_once_whatever_becomes_of_the_others(project: Path) -> None:
    said, page = run(project, "--config", "configs/slow.py", "--limit", "3")
    assert said == ["configs/slow.py: out of time not done after 3 s"]
    assert "**Of 1 configs 0 learn and predict, 1 ran out of time.**" in page

    said, page = run(project, "--limit", "2", "--config", "configs/slow.py")
    assert said == []  # with less time it would not do more

    (project / "configs/slow.py").write_text("raise ValueError('no | longer\\nslow')\n", encoding="utf-8")
    said, page = run(project, "--limit", "300")
    assert [line.partition(":")[0] for line in said] == [
        "configs/broken.py",
        "configs/data.py",
        "configs/slow.py",
        "configs/small.py",
        "configs/two/smaller.py",
    ]
    lines = page.splitlines()
    assert "**Of 4 configs 2 learn and predict, 2 failed.**" in lines
    kept = json.loads((project.parent / "page.json").read_text(encoding="utf-8"))["models"]
    assert kept["configs/data.py"]["ended"] == "no model"
    for name in ("configs/small.py", "configs/two/smaller.py"):
        assert kept[name]["passed"] == ["build", "loss", "gradients", "predict"]
        assert f"| `{name}` | learns and predicts |  |" in page
    assert "| `configs/broken.py` | is not built | KeyError: 'No\\|Neck is not in the" in page
    assert "| `configs/slow.py` | not read | ValueError: no \\| longer slow |" in page

    said, again = run(project, "--limit", "300")
    assert said == []
    assert again == page


def test_what_is_tried(project: Path) -> None:
    assert try_configs.configs_of(project) == [
        "configs/broken.py",
        "configs/data.py",
        "configs/slow.py",
        "configs/small.py",
        "configs/two/smaller.py",
    ]


@pytest.mark.slow
def test_a_process_that_takes_too_long_ends_with_what_it_started(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = project / "starts.py"
    script.write_text(
        "import subprocess, time\n"
        "started = subprocess.Popen(['sleep', '600'])\n"
        f"open({str(project / 'number')!r}, 'w').write(str(started.pid))\n"
        "time.sleep(600)\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(try_configs, "__file__", str(script))
    entry = try_configs.try_apart(project, "configs/slow.py", 64, 1)
    assert (entry["ended"], entry["reason"]) == ("out of time", "not done after 1 s")
    assert not try_configs.is_settled(entry, 2)
    assert try_configs.is_settled(entry, 1)
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int((project / "number").read_text())).wait(60)


def test_a_process_that_dies_is_told_with_its_last_words(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = project / "dies.py"
    script.write_text("import sys\nprint('about to die')\nsys.exit('the last words')\n", encoding="utf-8")
    monkeypatch.setattr(try_configs, "__file__", str(script))
    entry = try_configs.try_apart(project, "configs/small.py", 64, 60)
    assert (entry["ended"], entry["reason"]) == ("crashed", "exit code 1: the last words")
    assert try_configs.is_settled(entry, 1000)


def test_a_page_has_one_line_for_a_config_and_a_summary() -> None:
    entry = {"passed": [], "reason": None, "seconds": 1.25, "limit": 10.0, "ended": "tried"}
    models = {
        "good": {**entry, "passed": list(try_configs.STEPS)},
        "bad": {**entry, "passed": ["build"], "reason": "ValueError: " + "long " * 100},
        "late": {**entry, "passed": ["build"], "reason": "not done after 10 s", "ended": "out of time"},
        "data": {**entry, "ended": "no model"},
    }
    setup = {"size": 64, "commit": "abc", **dict.fromkeys(try_configs.VERSIONED, "1")}
    text = try_configs.page(
        "made-up", {"setup": setup, "models": models, "notes": ["A note. " * 20]}, Path("x/page.md")
    )
    lines = text.splitlines()
    assert "**Of 3 configs 1 learn and predict, 1 failed, 1 ran out of time.**" in lines
    assert "| `good` | learns and predicts |  | 1 |" in lines
    assert "| `late` | out of time (is built) | not done after 10 s | 1 |" in lines
    [bad] = [line for line in lines if line.startswith("| `bad`")]
    assert bad.startswith("| `bad` | is built | ValueError: long long")
    assert len(bad) < 220
    assert sum(line.count("A note.") for line in lines) == 20
    assert not any("`data`" in line for line in lines)
    assert max(len(line) for line in lines if not line.startswith("|")) <= 120
