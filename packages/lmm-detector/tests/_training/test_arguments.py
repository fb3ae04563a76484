"""What training needs beside its settings."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lmm_detector._training._arguments import _require_bitsandbytes
from lmm_detector.errors import ConfigError


@pytest.mark.parametrize(
    "device, found, message",
    [
        ("cpu", True, "expected a GPU for quantization 4bit, got none"),
        ("cuda", False, r"expected bitsandbytes for quantization 4bit, found none\npip install"),
        ("cuda", True, None),
    ],
)
def test_bitsandbytes_and_a_gpu_are_asked_for(
    device: str, found: bool, message: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if found else None)
    arguments: Any = SimpleNamespace(device=torch.device(device))
    if message is None:
        _require_bitsandbytes(arguments, "quantization 4bit")
    else:
        with pytest.raises(ConfigError, match=message):
            _require_bitsandbytes(arguments, "quantization 4bit")
