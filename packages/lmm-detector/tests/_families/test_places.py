"""What language models get of each place of an image: that places lie where the image has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from lmm_detector import _families
from lmm_detector._families import FAMILIES, WITH_GRID, Family, Sample
from lmm_detector.errors import ModelError


@pytest.fixture
def family(folder: Path) -> Family:
    """As it was drawn; Gemma 3's projection begins as zeros."""
    found = _families.load(str(folder))
    found.model.eval()
    for name, value in found.model.named_parameters():
        if name.endswith("mm_input_projection_weight"):
            torch.nn.init.normal_(value, generator=torch.Generator().manual_seed(0))
    return found


def places(family: Family, image: np.ndarray) -> torch.Tensor:
    batch = family.collate([Sample(image, "", complete=False)] * 2, "Find all ships.")
    with torch.no_grad():
        return family.places(family.on_device(batch))


def test_places_lie_where_the_image_has_them(family: Family, model_type: str) -> None:
    """A patch that changes in the image changes its own place most, of all the others."""
    rng = np.random.default_rng(0)
    width, height = family.input_size((112, 112))
    image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
    if model_type not in WITH_GRID:
        with pytest.raises(ModelError, match="expected a model that sees an image as one grid, got"):
            places(family, image)
        return
    before = places(family, image)
    images, rows, columns, _ = before.shape
    assert images == 2
    assert rows == columns > 1
    cell = height // rows
    for row, column in ((0, 0), (0, columns - 1), (rows - 1, 0), (rows // 2, columns // 2)):
        changed = image.copy()
        changed[row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] //= 8
        moved = (places(family, changed) - before)[1].norm(dim=-1)
        assert int(moved.argmax()) == row * columns + column


def test_places_are_the_tokens_that_the_language_model_gets(family: Family, model_type: str) -> None:
    """In its embeddings, in the order of the image's tokens; Florence-2 has their mean before them."""
    if model_type not in WITH_GRID:
        pytest.skip("sees images in tiles")
    seen = []
    text = family.base.model.language_model
    reader = text.encoder if model_type == "florence2" else text
    reader.register_forward_pre_hook(
        lambda _module, _given, options: seen.append(options["inputs_embeds"]), with_kwargs=True
    )
    rng = np.random.default_rng(1)
    width, height = family.input_size((112, 112))
    image = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
    batch = family.on_device(family.collate([Sample(image, "", complete=False)] * 2, "Find all ships."))
    ids = batch["input_ids"]
    batch.pop("labels")
    if model_type == "florence2":
        batch["decoder_input_ids"] = ids[:, :1]
    with torch.no_grad():
        found = family.places(batch).flatten(1, 2)
        family.model(**batch)
    token = family.base.config.image_token_id
    (given,) = seen
    expected = given[0][ids[0] == token][1 if model_type == "florence2" else 0 :]
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=1e-4)


def test_every_type_with_a_grid_is_a_family() -> None:
    assert set(WITH_GRID) <= set(FAMILIES)
