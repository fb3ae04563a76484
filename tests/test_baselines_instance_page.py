"""docs/baselines-instance.md is what tools/baselines_instance.py makes of the committed trials, which all passed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def check(docs: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "tools" / "baselines_instance.py"), "--check", "--docs", str(docs)]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_page_is_that_of_its_file() -> None:
    result = check(DOCS)
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_model_that_failed_is_told(tmp_path: Path) -> None:
    (tmp_path / "baselines-zoo").mkdir()
    shutil.copy(DOCS / "baselines-instance.md", tmp_path)
    found = json.loads((DOCS / "baselines-zoo" / "instance.json").read_text(encoding="utf-8"))
    assert not [name for name, outcome in found["models"].items() if outcome["reason"]]
    found["models"]["yolact_r50_1xb8-55e_coco"] |= {"passed": ["build"], "reason": "OperatorError: none", "losses": {}}
    (tmp_path / "baselines-zoo" / "instance.json").write_text(json.dumps(found), encoding="utf-8")
    result = check(tmp_path)
    assert result.returncode == 1
    assert "| yes | no: OperatorError: none |" in result.stdout
