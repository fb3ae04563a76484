"""Features as colours: principal components by numpy's SVD, and what a picture shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rbox_baselines._distillation._pictures import colours, draw


def test_colours_are_the_principal_components() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(2, 7, 5, 6)) * np.arange(7, 0, -1)[:, None, None]
    rows = maps.transpose(0, 2, 3, 1).reshape(-1, 7)
    centred = rows - rows.mean(0)
    vectors = np.linalg.svd(centred, full_matrices=False)[2][:3].T
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), range(3)])
    values = centred @ vectors
    low, high = np.percentile(values, (1, 99), axis=0)
    expected = ((values - low) / (high - low)).clip(0, 1) * 255
    found, same, other = colours([maps, maps, maps + 1.0])
    np.testing.assert_allclose(found.reshape(-1, 3), expected, rtol=0, atol=0.51)
    np.testing.assert_array_equal(found, same)
    assert (other != found).any()  # as far from the teacher as the student is


def test_constant_and_narrow_maps_have_colours() -> None:
    [flat] = colours([np.ones((1, 4, 3, 3))])
    assert flat.shape == (1, 3, 3, 3)
    [narrow] = colours([np.random.default_rng(1).normal(size=(1, 1, 3, 3))])
    assert narrow.shape == (1, 3, 3, 3)


def test_a_row_for_each_image(tmp_path: Path) -> None:
    images = torch.full((2, 3, 32, 32), 10.0)
    images[1] = 200
    maps = torch.randn(2, 8, 2, 2)
    draw(images, maps, maps, tmp_path / "features.png")
    picture = np.asarray(Image.open(tmp_path / "features.png"))
    assert picture.shape == (512, 768, 3)
    assert (picture[:256, :256] == 10).all()
    assert (picture[256:, :256] == 200).all()
    np.testing.assert_array_equal(picture[:, 256:512], picture[:, 512:])
