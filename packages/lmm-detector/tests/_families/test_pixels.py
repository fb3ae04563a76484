"""Pixels on their way to the model, against what transformers' processors make of the same images on the CPU."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lmm_detector import _families
from lmm_detector._families import Family, Sample
from lmm_detector._families.chat import Gemma3
from PIL import Image as PillowImage

PROMPT = "Find all ships."
# (height, width): of the tiny models' inputs, of several tiles, and of neither; some not square.
SIZES = [(56, 56), (64, 64), (112, 112), (100, 100), (40, 90)]


@pytest.fixture(scope="module")
def family(folder: Path) -> Family:
    return _families.load(str(folder))


def draw(size: tuple[int, int], count: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(sum(size))
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for _ in range(count)]


def stock(family: Family, images: list[Any]) -> np.ndarray:
    """What the processor gives when it is called as transformers' documentation has it."""
    text = PROMPT if family.name == "florence2" else family.render(PROMPT)  # type: ignore[attr-defined]
    # Gemma 3's wants to be told which image belongs to which text.
    given = [[image] for image in images] if isinstance(family, Gemma3) else images
    found = family.processor(images=given, text=[text] * len(images), padding=True, return_tensors="np")
    pixels: np.ndarray = found["pixel_values"]
    return pixels


def batch(family: Family, images: list[np.ndarray]) -> dict[str, Any]:
    return family.collate([Sample(image, "ship", complete=True) for image in images], PROMPT)


@pytest.mark.parametrize("size", SIZES)
def test_pixels_are_the_stock_processors(size: tuple[int, int], family: Family) -> None:
    images = draw(size)
    collated = batch(family, images)
    assert collated["pixel_values"].dtype == torch.uint8
    expected = stock(family, images)
    assert expected.std() > 0.1
    found = family.on_device(collated)["pixel_values"]
    assert found.is_contiguous()
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(3, 60), (60, 3), (3, 3), (1, 40)])
def test_images_of_three_pixels_have_their_channels_last(size: tuple[int, int], family: Family) -> None:
    """As Pillow's images have them, which the processor is given instead."""
    (image,) = draw(size, 1)
    try:
        expected = stock(family, [PillowImage.fromarray(image)])
    except ValueError as error:
        with pytest.raises(type(error), match=re.escape(str(error))):
            batch(family, [image])
        return
    found = family.on_device(batch(family, [image]))["pixel_values"].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6, rtol=0)


def test_images_of_several_sizes_in_a_batch(family: Family) -> None:
    """One is resized, the other has the model's size already."""
    images = [draw(size, 1)[0] for size in ((56, 56), (64, 64), (70, 70), (40, 90))]
    expected = stock(family, images)
    found = family.on_device(batch(family, images))["pixel_values"].numpy()
    # Images of fewer tiles are filled up; LLaVA-OneVision's model leaves these out: zeros before or behind the scaling.
    tiles = expected.reshape(-1, *expected.shape[-3:]) if expected.ndim == 5 else expected
    filled = [not tile.any() for tile in tiles]
    assert any(filled) == (expected.ndim == 5)
    kept = np.logical_not(filled)
    np.testing.assert_allclose(found.reshape(tiles.shape)[kept], tiles[kept], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "changed",
    [
        {"image_mean": [0.1, 0.2, 0.3], "image_std": [1.0, 0.5, 0.25]},
        {"rescale_factor": 1 / 127},
        {"do_normalize": False},
        {"do_rescale": False},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_the_image_processors_settings_hold(
    changed: dict[str, Any], family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in changed.items():
        monkeypatch.setattr(family.processor.image_processor, name, value)
    images = draw((56, 56))
    found = family.on_device(batch(family, images))["pixel_values"]
    np.testing.assert_allclose(found.numpy(), stock(family, images), rtol=1e-5, atol=1e-5)


def test_the_rest_of_a_batch_does_not_depend_on_the_way(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    """Images of the model's size are not shown to processors of one size; the texts come out the same."""
    width, height = family.input_size((56, 56))
    images = draw((height, width))
    ours = batch(family, images)
    monkeypatch.setattr(type(family), "has_one_size", False)
    theirs = batch(family, images)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        assert torch.equal(values, theirs[name]), name


def test_nothing_is_resized_that_has_the_models_size(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    if family.base.config.model_type in ("internvl", "llava_onevision", "idefics3", "smolvlm"):
        pytest.skip("they cut tiles, and resize whatever comes")
    width, height = family.input_size((56, 56))
    batch(family, draw((height, width)))  # whatever is loaded at the first call

    def resize(*_: object, **__: object) -> None:
        raise AssertionError("it was resized")

    monkeypatch.setattr("PIL.Image.Image.resize", resize)
    batch(family, draw((height, width)))
    with pytest.raises(AssertionError, match="it was resized"):
        batch(family, draw((height + 14, width + 14)))


def test_half_precision_comes_last(folder: Path) -> None:
    """Rescaled and normalised in float32, then rounded once."""
    family = _families.load(str(folder), dtype="bfloat16")
    images = draw((56, 56))
    moved = family.on_device(batch(family, images))
    assert moved["pixel_values"].dtype == torch.bfloat16
    assert moved["input_ids"].dtype == torch.int64
    expected = torch.from_numpy(stock(family, images))
    assert float((moved["pixel_values"].float() - expected).abs().max()) < 2**-7  # half a step between 1 and 4


def test_floats_are_taken_for_normalised(family: Family) -> None:
    pixels = torch.rand(2, 3, 4, 4)
    assert torch.equal(family.on_device({"pixel_values": pixels})["pixel_values"], pixels)


def test_a_processor_that_crops_is_asked(save: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    family = _families.load(str(save("florence2")))
    image_processor = family.processor.image_processor
    monkeypatch.setattr(image_processor, "do_center_crop", True)
    monkeypatch.setattr(image_processor, "crop_size", type(image_processor.size)(height=32, width=32))
    (image,) = draw((64, 64), 1)
    (pixels,) = batch(family, [image])["pixel_values"]
    np.testing.assert_array_equal(pixels.numpy(), image[16:48, 16:48].transpose(2, 0, 1))
