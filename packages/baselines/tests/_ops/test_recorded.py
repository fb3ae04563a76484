"""Every operator that mmcv compiles for the CPU, called as it is through mmcv.ops, beside what mmcv's own gave."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

DATA = Path(__file__).parent / "data"


def recorder() -> Any:
    spec = importlib.util.spec_from_file_location("operators", DATA / "operators.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


RECORDED = recorder().RECORDED
CASES = [(name, variant) for name, recorded in RECORDED.items() for variant in recorded.variants]
INDICES = ("kept", "sizes", "members")


@pytest.fixture(scope="module")
def archive() -> dict[str, np.ndarray]:
    with np.load(DATA / "operators.npz", allow_pickle=False) as file:
        return dict(file)


def found_and_expected(
    ops: ModuleType, archive: dict[str, np.ndarray], name: str, variant: str, device: str, dtype: torch.dtype
) -> tuple[dict[str, torch.Tensor], dict[str, np.ndarray]]:
    def of(kind: str) -> dict[str, np.ndarray]:
        start = f"{name}|{kind}|"
        return {key.removeprefix(start): value for key, value in archive.items() if key.startswith(start)}

    inputs = {key: torch.from_numpy(value).to(device) for key, value in of("input").items()}
    inputs = {key: value.to(dtype) if value.is_floating_point() else value for key, value in inputs.items()}
    return RECORDED[name].run(ops, **inputs, **RECORDED[name].variants[variant]), of(variant)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["32", "64"])
@pytest.mark.parametrize(("name", "variant"), CASES)
def test_values_and_gradients_are_those_of_compiled_mmcv(
    ops: ModuleType, archive: dict[str, np.ndarray], name: str, variant: str, dtype: torch.dtype
) -> None:
    found, expected = found_and_expected(ops, archive, name, variant, "cpu", dtype)
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        if key in INDICES:
            assert found[key].tolist() == value.tolist()
        else:
            np.testing.assert_allclose(found[key].numpy(), value, rtol=1e-4, atol=1e-4, err_msg=key)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", RECORDED)
def test_a_gpu_gives_the_same(ops: ModuleType, archive: dict[str, np.ndarray], name: str) -> None:
    for variant in RECORDED[name].variants:
        found, expected = found_and_expected(ops, archive, name, variant, "cuda", torch.float32)
        for key, value in expected.items():
            assert found[key].is_cuda or key == "sizes"
            np.testing.assert_allclose(
                found[key].cpu().numpy(), value, rtol=1e-4, atol=1e-4, err_msg=f"{variant} {key}"
            )


def test_the_archive_holds_nothing_else(archive: dict[str, np.ndarray]) -> None:
    kinds = {tuple(key.split("|")[:2]) for key in archive}
    assert kinds == {*CASES, *((name, "input") for name in RECORDED)}
