"""Real images through `predict`: what it writes and draws, with a model that has learnt nothing."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from rbox_baselines.cli.main import main
from rbox_formats import images, predictions
from rbox_testing.places import SHARED

DATA = SHARED / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="real images are not here")


@pytest.mark.parametrize(
    "name, size",
    [
        pytest.param("aerial-demo/dota_demo.jpg", (1616, 1565), marks=pytest.mark.slow),
        ("dior-example/dior_00001.jpg", (800, 800)),
    ],
)
def test_predict_on_a_real_image(
    name: str, size: tuple[int, int], mmrotate: ModuleType, checkpoint: Path, tmp_path: Path
) -> None:
    image, out, pictures = DATA / name, tmp_path / "found.jsonl", tmp_path / "pictures"
    options = ["--window", "512", "--gap", "100", "--batch-size", "8", "--score-threshold", "0.02"]
    arguments = [image, "--model", checkpoint, "--out", out, "--pictures", pictures, *options]
    result = CliRunner().invoke(main, ["predict", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    [record] = predictions.read(out)
    assert (record.width, record.height) == size
    assert np.isfinite(record.boxes).all()
    assert record.scores is not None
    assert ((record.scores >= 0.02) & (record.scores <= 1)).all()
    drawn, before = (images.load(path).astype(int) for path in (pictures / f"{image.stem}.png", image))
    assert drawn.shape == before.shape
    assert (np.abs(drawn - before).max(axis=2) > 60).any() == (len(record) > 0)
