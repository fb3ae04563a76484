"""The Triton kernels: by Triton's interpreter, and compiled for a GPU that need not be there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

# In a process of its own: triton reads TRITON_INTERPRET when it is imported, which another test may have done.
INTERPRETED = """
import sys
sys.path.insert(0, sys.argv[1])
from test_scan import assert_near, inputs, scanned
import torch
for shape in eval(sys.argv[2]):
    given = [each.float().double() for each in inputs(*shape)]
    assert_near(scanned(given, "triton"), scanned(given, "reference", torch.float64), 1e-5)
"""

COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from rbox_baselines._scan import _triton
for kernel in (_triton.forward_kernel, _triton.backward_kernel):
    values = {"tokens", "channels", "states", "blocks"}
    signature = {
        name: "constexpr" if name in "KEN" else "i32" if name in values else "*fp32" for name in kernel.arg_names
    }
    sizes = {"K": _triton.TOKENS, "E": _triton.CHANNELS, "N": 16}
    source = triton.compiler.ASTSource(kernel, signature, {(kernel.arg_names.index(n),): v for n, v in sizes.items()})
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    assert ".entry" in compiled.asm["ptx"]
    # Local memory is what does not fit into the registers of a thread: tiles must.
    print(kernel.__name__, compiled.metadata.shared)
"""


def run(code: str, *arguments: str, **environment: str) -> None:
    found = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize(
    "shapes",
    [
        "[(1, 35, 2, 3)]",
        pytest.param("[(1, 40, 9, 3), (1, 1, 1, 1), (2, 65, 9, 5), (1, 96, 8, 16)]", marks=pytest.mark.slow),
    ],
)
def test_values_and_gradients_by_the_interpreter(shapes: str) -> None:
    run(INTERPRETED, str(Path(__file__).parent), shapes, TRITON_INTERPRET="1")


@pytest.mark.slow
def test_both_kernels_compile_for_a_gpu() -> None:
    run(COMPILED, TRITON_INTERPRET="0")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu() -> None:
    from rbox_baselines import selective_scan

    generator = torch.Generator().manual_seed(0)
    u, steps = (torch.randn(2, 500, 100, generator=generator).cuda() for _ in range(2))
    b, c = (torch.randn(2, 500, 16, generator=generator).cuda() for _ in range(2))
    given = [u, torch.nn.functional.softplus(steps), -torch.arange(1, 17.0).cuda().repeat(100, 1), b, c]
    found = selective_scan(*given, backend="triton")
    torch.testing.assert_close(found, selective_scan(*given, backend="reference"), rtol=1e-5, atol=1e-4)
