"""Every operator that mmcv compiles for the CPU, called as it is through mmcv.ops, beside what mmcv's own gave."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from rbox_testing.samples import sampled
from torch import Tensor

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


def of(archive: dict[str, np.ndarray], name: str, kind: str) -> dict[str, np.ndarray]:
    """An operator's inputs, or what it gave in one of its variants."""
    start = f"{name}|{kind}|"
    return {key.removeprefix(start): value for key, value in archive.items() if key.startswith(start)}


def found_and_expected(
    ops: ModuleType, archive: dict[str, np.ndarray], name: str, variant: str, device: str, dtype: torch.dtype
) -> tuple[dict[str, torch.Tensor], dict[str, np.ndarray]]:
    inputs = {key: torch.from_numpy(value).to(device) for key, value in of(archive, name, "input").items()}
    inputs = {key: value.to(dtype) if value.is_floating_point() else value for key, value in inputs.items()}
    return RECORDED[name].run(ops, **inputs, **RECORDED[name].variants[variant]), of(archive, name, variant)


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


def as_it_comes(values: Tensor) -> Tensor:
    return values


def transposed(values: Tensor) -> Tensor:
    """The same numbers, in the order of their first dimension in memory: dense, and not contiguous."""
    return values.transpose(0, -1).contiguous().transpose(0, -1) if values.ndim > 1 else values


class Way(NamedTuple):
    """How the operators are called, and how far from float64 they may be, relative to the largest number."""

    dtype: torch.dtype
    strides: Callable[[Tensor], Tensor]
    around: Callable[[], AbstractContextManager]
    tolerance: float


# Of a number of half precision the last bit is 2**-11 of it, of bfloat16 2**-8; some steps are lost in between.
WAYS = {
    "half": Way(torch.half, as_it_comes, nullcontext, 2**-7),
    "bfloat16": Way(torch.bfloat16, as_it_comes, nullcontext, 2**-4),
    "transposed": Way(torch.float32, transposed, nullcontext, 1e-4),
    "transposed half": Way(torch.half, transposed, nullcontext, 2**-7),
    "autocast half": Way(torch.float32, as_it_comes, partial(torch.autocast, "cpu", torch.half), 1e-4),
    "autocast bfloat16": Way(torch.float32, as_it_comes, partial(torch.autocast, "cpu", torch.bfloat16), 1e-4),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", sampled(RECORDED, ["deform_conv", "modulated_deform_conv", "roi_align_rotated"]))
def test_precision_and_strides_change_no_value(
    ops: ModuleType, archive: dict[str, np.ndarray], name: str, way: str
) -> None:
    """Beside the same operator in float64, of the same numbers."""
    dtype, strides, around, tolerance = WAYS[way]
    drawn = {key: torch.from_numpy(value) for key, value in of(archive, name, "input").items()}
    given = {key: strides(value.to(dtype) if value.is_floating_point() else value) for key, value in drawn.items()}
    whole = {key: value.double() if value.is_floating_point() else value for key, value in given.items()}
    for variant, options in RECORDED[name].variants.items():
        expected = RECORDED[name].run(ops, **whole, **options)
        with around():
            found = RECORDED[name].run(ops, **given, **options)
        for key, value in expected.items():
            assert found[key].shape == value.shape, (variant, key)
            if key not in INDICES:
                atol = tolerance * max(1.0, float(value.abs().max()) if value.numel() else 1.0)
                np.testing.assert_allclose(
                    found[key].double().numpy(), value.numpy(), rtol=0, atol=atol, err_msg=f"{variant} {key}"
                )
