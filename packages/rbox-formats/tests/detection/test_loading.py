"""A detector is found by its path, whichever package it is of; a third package can offer one."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rbox_formats import Detector, load_detector
from rbox_formats.detection import ENTRY_POINTS, command_of
from rbox_formats.errors import ModelFileError

PACKAGE = """
    from dataclasses import dataclass
    from rbox_formats import ClassNames, ImageRecord, tiling
    from rbox_formats.detection import Prediction, scenes_of

    COMMAND = "third-detector"

    def is_detector(path):
        return str(path).endswith(".third")

    def load_detector(path, *, device=None):
        return Bright(ClassNames(["bright"]))

    @dataclass
    class Bright:
        class_names: ClassNames

        def detect(self, crops):
            return [ImageRecord("", [[c.shape[1] / 2, c.shape[0] / 2, 9, 3, 0]], [0], scores=[1]) for c in crops]

        def predict(self, images, *, window=None, gap=None, score_threshold=None, batch_size=None):
            scenes, is_one = scenes_of(images, lambda w, h: [tiling.Window(0, 0, max(w, h))], pad_whole=False)
            found = (Prediction.of(self.detect([c for _, c in s.crops()])[0], self.class_names)
                     for s in scenes)
            return next(found) if is_one else found

        __call__ = predict
"""


@pytest.fixture
def third(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a package as pip installs it."""
    (tmp_path / "third_detector.py").write_text(textwrap.dedent(PACKAGE))
    about = tmp_path / "third_detector-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: third-detector\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[{ENTRY_POINTS}]\nthird = third_detector\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("third_detector", None)


def test_a_third_package_offers_a_detector(third: Path) -> None:
    detector = load_detector(third / "weights.third")
    assert isinstance(detector, Detector)
    found = detector.predict(np.zeros((20, 40, 3), np.uint8))
    np.testing.assert_array_equal(found.boxes, [[20, 10, 9, 3, 0]])
    assert found.names == ["bright"]
    assert command_of("weights.third") == "third-detector"


def test_what_no_package_knows(third: Path) -> None:
    with pytest.raises(ModelFileError, match=r"(?s)expected a detector of .*third.*; 'weights.xyz' is not one"):
        load_detector("weights.xyz")
    assert command_of("weights.xyz") is None


def test_a_package_that_cannot_be_imported_is_named(third: Path) -> None:
    (third / "third_detector.py").write_text("import a_module_that_nobody_has")
    with pytest.raises(ModelFileError, match=r"(?s)the package of the detectors 'third'.*pip uninstall third-detector"):
        load_detector(third / "weights.third")
