"""`hatch run kills`: a sample of the kills, and that it sees what it is for."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from rbox_testing.commands import Writing
from rbox_testing.samples import sampled

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import kills


@pytest.mark.parametrize(
    "name, count, scenes",
    [
        ("convert", 1, 12),
        pytest.param("convert", 3, 12, marks=pytest.mark.slow),
        pytest.param("split", 2, 3, marks=pytest.mark.slow),
        pytest.param("evaluate", 3, 3, marks=pytest.mark.slow),
        *(pytest.param(name, 2, 3, marks=pytest.mark.slow) for name in list(kills.COMMANDS)[3:]),
    ],
)
def test_a_killed_command_comes_to_the_same_files(name: str, count: int, scenes: int) -> None:
    words = [sys.executable, str(Path(kills.__file__)), "--count", str(count), "--scenes", str(scenes), name]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{name}: {count} kills between " in done.stdout


@pytest.mark.parametrize(
    "ending, seen",
    sampled(
        [("print('done')", "out"), ("sys.exit('refused') if again else print('done')", "refused"), ("", None)],
        [("print('done')", "out")],
    ),
)
def test_it_sees_what_is_not_as_without_a_kill(
    ending: str, seen: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that appends to what is there; one that refuses what is there; one that begins anew."""
    mode = "a" if seen == "out" else "w"
    (tmp_path / "torn.py").write_text(
        "import pathlib, sys, time\n"
        "again = pathlib.Path('out').exists()\n"
        f"file = open('out', '{mode}')\n"
        "for _ in range(40):\n    file.write('line\\n')\n    file.flush()\n    time.sleep(0.01)\n"
        f"{ending or 'print(1)'}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "in").mkdir()
    command = Writing(("torn",), ("out",))
    found = kills.kill(command, tmp_path, kills.unbroken(command, tmp_path), random.Random(0))
    assert found.left == 1
    assert found.different == (("out",) if seen == "out" else ())
    assert (found.error or "").strip() == (seen if seen == "refused" else "")
