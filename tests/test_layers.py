"""`hatch run layers` sees what it is there for: each kind of import that the house forbids, planted in a copy."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rbox_testing.places import ROOT

pytest.importorskip("importlinter", reason="import-linter needs a newer rich than the oldest that the packages take")

# The contract, the module that gets another line, that line, and how the report names it.
PLANTED = {
    "a package imports one above it": (
        "Imports only run down the house, and the two detectors never meet",
        "rbox_formats/files.py",
        "import rbox_metrics.errors",
        "rbox_formats.files -> rbox_metrics.errors",
    ),
    "a detector imports the other": (
        "Imports only run down the house, and the two detectors never meet",
        "rbox_baselines/errors.py",
        "import lmm_detector.errors",
        "rbox_baselines.errors -> lmm_detector.errors",
    ),
    "a private module of another package": (
        "No package imports what is private to another",
        "lmm_detector/_spec.py",
        "from rbox_formats._records import ImageRecord",
        "lmm_detector._spec -> rbox_formats._records",
    ),
    "up, between the rooms of rbox-formats": (
        "The rooms of rbox-formats",
        "rbox_formats/images/_rows.py",
        "def late() -> None:\n    from rbox_formats import datasets",
        "rbox_formats.images._rows -> rbox_formats.datasets",
    ),
    "up, between the rooms of rbox-metrics": (
        "The rooms of rbox-metrics",
        "rbox_metrics/_overlaps/_search.py",
        "from rbox_metrics._scores import Sweep",
        "rbox_metrics._overlaps._search -> rbox_metrics._scores",
    ),
    "past the door of a room": (
        "A room of rbox-metrics is entered by its door, __init__",
        "rbox_metrics/_evaluation/_files.py",
        "from rbox_metrics._scores._sweep import Sweep",
        "rbox_metrics._evaluation._files -> rbox_metrics._scores._sweep",
    ),
    "up, between the rooms of lmm-detector": (
        "The rooms of lmm-detector",
        "lmm_detector/_spec.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lmm_detector._training import _config",
        "lmm_detector._spec -> lmm_detector._training._config",
    ),
    "a detector imports the server": (
        "The detectors do without the server",
        "lmm_detector/errors.py",
        "def late() -> None:\n    from rbox_serve import Settings",
        "lmm_detector.errors -> rbox_serve",
    ),
    "the server imports a detector": (
        "Imports only run down the house, and the two detectors never meet",
        "rbox_serve/errors.py",
        "import lmm_detector.errors",
        "rbox_serve.errors -> lmm_detector.errors",
    ),
    "up, between the rooms of rbox-baselines": (
        "The rooms of rbox-baselines",
        "rbox_baselines/_ops/_check.py",
        "from rbox_baselines._configs import _names",
        "rbox_baselines._ops._check -> rbox_baselines._configs._names",
    ),
    "a circle of two files of one room": (
        "No circles, in any room",
        "rbox_formats/codecs/_stream.py",
        "def late() -> None:\n    from rbox_formats.codecs import _base",
        "are allowed in rbox_formats.codecs.",
    ),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the check says of a copy of the packages with all of it planted, read once for all."""
    root = tmp_path_factory.mktemp("house")
    for package in ROOT.glob("packages/*/src/*"):
        shutil.copytree(package, root / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    for _, module, line, _ in PLANTED.values():
        with (root / module).open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (root / "pyproject.toml").write_text(settings, encoding="utf-8")
    run = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    return run.stdout


@pytest.mark.parametrize("planted", PLANTED)
def test_what_the_house_forbids_is_refused(planted: str, report: str) -> None:
    contract, _, _, named = PLANTED[planted]
    assert f"{contract} BROKEN" in report
    words = report.partition("Broken contracts")[2].split()
    assert named in " ".join(words)
