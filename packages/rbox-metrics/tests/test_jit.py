"""Numba's cache: written where that can be, done without where it cannot."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import rbox_formats
import rbox_metrics

# A kernel that calls another, and one that stands alone: a call, its result, a dispatcher.
CODES = {
    "overlaps": (
        "rbox_metrics.box_iou_rotated([[0, 0, 2, 2, 0.0]], [[0.5, 0, 1, 2, 0.0]])[0, 0]",
        "0.5",
        "rbox_metrics._overlaps._kernels._overlaps_dense",
    ),
    "suppression": (
        "rbox_metrics._suppression._nms_kernels.suppress(*np.array([[0], [1]]), gone := np.zeros(2, dtype=bool))"
        " or gone",
        "[False  True]",
        "rbox_metrics._suppression._nms_kernels.suppress",
    ),
}
CODE = """
import sys
import numpy as np
import rbox_metrics, rbox_metrics._overlaps._kernels, rbox_metrics._suppression._nms_kernels
print({})
print({}.stats.cache_path)
print("torch" in sys.modules)
"""


@pytest.mark.parametrize(
    "home_is_writable, kernel",
    [
        pytest.param(True, "overlaps", marks=pytest.mark.slow),
        (False, "suppression"),
        pytest.param(False, "overlaps", marks=pytest.mark.slow),
    ],
)
def test_kernels_run_where_the_package_cannot_be_written(home_is_writable: bool, kernel: str, tmp_path: Path) -> None:
    """A file in the way of each cache folder stops every user, root included."""
    call, expected, dispatcher = CODES[kernel]
    package = tmp_path / "rbox_metrics"
    source = Path(rbox_metrics.__file__).parent
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (package, *(path for path in package.rglob("*") if path.is_dir())):
        (folder / "__pycache__").touch()
    home = tmp_path / "home"
    home.mkdir() if home_is_writable else home.touch()
    names = ("NUMBA_CACHE_DIR", "RBOX_CHECK_SHAPES", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"HOME": str(home), "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path(rbox_formats.__file__).parents[1]}"}
    command = [sys.executable, "-c", CODE.format(call, dispatcher)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    found, cache, torch_is_loaded = run.stdout.split("\n")[:3]
    assert found == expected
    assert torch_is_loaded == "False"
    assert bool(list(home.rglob("*.nbi"))) == home_is_writable
    assert cache.startswith(str(home)) == home_is_writable


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys, rbox_metrics.cli.main; "
        "print([m for m in ('numba', 'shapely', 'torch', 'rich') if m in sys.modules])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RBOX_CHECK_SHAPES"}
    paths = [str(Path(module.__file__).parents[1]) for module in (rbox_formats, rbox_metrics)]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
