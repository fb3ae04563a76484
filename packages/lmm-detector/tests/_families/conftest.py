"""A tiny model of each type: as it was drawn, and trained until it tells two images apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lmm_detector import _families
from lmm_detector._families import FAMILIES, Family, Sample
from rbox_formats import ClassNames, codecs
from rbox_testing.tiny_families import save_tiny

PROMPT = "Find all ships."
# Characters of one, two and three bytes.
TEXTS = ("ship 12,34 é", "plane 5 漢字")

Save = Callable[..., Path]


@pytest.fixture(scope="session")
def save(tmp_path_factory: pytest.TempPathFactory, class_names: ClassNames) -> Save:
    """Writes a tiny model of a type."""

    def save(model_type: str, **options: Any) -> Path:
        return save_tiny(
            model_type, tmp_path_factory.mktemp(model_type), class_names, codecs.get("florence2"), **options
        )

    return save


# One that answers by itself and one that is chatted with; Gemma 3 and PaliGemma have tests of their own as well.
BY_DEFAULT = ("florence2", "qwen2_5_vl")


@pytest.fixture(
    scope="session",
    params=[pytest.param(name, marks=() if name in BY_DEFAULT else pytest.mark.slow) for name in FAMILIES],
)
def model_type(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def folder(model_type: str, save: Save) -> Path:
    return save(model_type)


@pytest.fixture(scope="session")
def images() -> list[np.ndarray]:
    """Of two sizes, which take different numbers of tokens where that depends on the size."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (side, side, 3), dtype=np.uint8) // divisor for side, divisor in ((56, 1), (112, 6))]


@pytest.fixture
def drawn(folder: Path) -> Family:
    family = _families.load(str(folder))
    family.model.eval()
    return family


@pytest.fixture(scope="session")
def losses() -> list[float]:
    """Of the family that was trained last."""
    return []


@pytest.fixture(scope="session")
def trained(folder: Path, images: list[np.ndarray], losses: list[float]) -> Family:
    family = _families.load(str(folder))
    batch = family.collate([Sample(image, text, True) for image, text in zip(images, TEXTS, strict=True)], PROMPT)
    optimizer = torch.optim.AdamW(family.model.parameters(), lr=1e-2)
    losses.clear()
    for _ in range(100):
        loss = family.model(**family.on_device(batch)).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
        if losses[-1] < 0.1:
            break
    family.model.eval()
    return family
