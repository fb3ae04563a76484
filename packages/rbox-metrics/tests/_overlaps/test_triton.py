"""The Triton kernels against the float64 ones: on the CPU through Triton's interpreter, on a GPU where there is one."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rbox_formats
import rbox_metrics
from rbox_formats import rbox_to_quad
from rbox_metrics import MetricsError, box_iou_rotated, quad_iou

torch = pytest.importorskip("torch")
pytest.importorskip("triton")

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

# In a process of its own: triton reads TRITON_INTERPRET when it is imported, which another test may have done.
CODE = """
import sys, warnings
warnings.simplefilter("error")
import numpy as np, torch
from rbox_metrics import box_iou_rotated, quad_iou
from rbox_metrics._overlaps._triton import overlaps_of_pairs

data = dict(np.load(sys.argv[1]))
a, b, p, q = data["boxes1"], data["boxes2"], data["quads1"], data["quads2"]
found = {}
for mode in ("iou", "iof"):
    found["boxes " + mode] = box_iou_rotated(a, b, aligned=True, mode=mode, backend="triton")
    found["quads " + mode] = quad_iou(p, q, aligned=True, mode=mode, backend="triton")
found["boxes back"] = box_iou_rotated(b, a, aligned=True, backend="triton")
found["quads back"] = quad_iou(q, p, aligned=True, backend="triton")
found["boxes same"] = box_iou_rotated(a, a, aligned=True, backend="triton")
found["quads same"] = quad_iou(p, p[:, [2, 1, 0, 3]], aligned=True, backend="triton")
found["boxes dense"] = box_iou_rotated(a[:70], b[:50], backend="triton")
found["quads dense"] = quad_iou(p[:70], q[:50], backend="triton")
found["empty"] = box_iou_rotated(a[:0], b[:3], backend="triton")
i, j = torch.from_numpy(data["first"]), torch.from_numpy(data["second"])
tensors = [torch.from_numpy(array) for array in (a, b)]
found["boxes listed"] = overlaps_of_pairs(*tensors, i, j).numpy()
found["float32"] = box_iou_rotated(*(t.float() for t in tensors), aligned=True, backend="triton").numpy()
try:
    box_iou_rotated(tensors[0] * float("nan"), tensors[1], backend="triton")
except Exception as error:
    found["error"] = np.array(str(error))
np.savez(sys.argv[2], **found)
"""


def boxes(rng: np.random.Generator, count: int, least: float, most: float) -> np.ndarray:
    sides = np.exp(rng.uniform(math.log(least), math.log(most), (count, 2)))
    places, angles = rng.uniform(-most, most, (count, 2)) / 4, rng.uniform(-math.pi / 2, math.pi / 2, (count, 1))
    return np.concatenate([places, sides, angles], axis=1)


def partners(rng: np.random.Generator, first: np.ndarray) -> np.ndarray:
    """A third anywhere, a third nearly the same box, a third that share an edge or a corner."""
    second = first[rng.permutation(len(first))]
    short = first[:, 2:4].min(axis=1)
    w, h, angle = first[:, 2:].T
    cos, sin = np.cos(angle), np.sin(angle)
    near, beside = np.arange(len(first)) % 3 == 1, np.arange(len(first)) % 3 == 2
    second[near] = first[near]
    second[near, :2] += rng.normal(0, 0.2, (near.sum(), 2)) * short[near, None]
    second[near, 2:4] *= rng.uniform(0.9, 1.1, (near.sum(), 2))
    second[near, 4] += rng.normal(0, 0.3, near.sum()) * (short / np.maximum(w, h))[near]
    along = rng.choice([0, 0.5, 1], len(first)) * w
    across = rng.choice([0, 0.5, 1], len(first)) * h
    moved = np.stack([first[:, 0] + along * cos - across * sin, first[:, 1] + along * sin + across * cos], axis=1)
    second[beside] = np.concatenate([moved, first[:, 2:]], axis=1)[beside]
    return second


@pytest.fixture(scope="module")
def interpreted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict]:
    """What went into the interpreter, and what came out."""
    rng = np.random.default_rng(0)
    # Usual sides, thin and tiny ones: at the origin, and 1e5 px away.
    kinds = [(5, 60), (1, 1e4), (1e-3, 1e3), (1e-3, 1)]
    first = np.concatenate([boxes(rng, 1_000, *kind) for kind in kinds])
    first[len(first) // 2 :, :2] += 1e5
    second = np.concatenate([partners(rng, part) for part in np.split(first, 8)])
    data = {
        "boxes1": first,
        "boxes2": second,
        "quads1": np.concatenate([rng.uniform(0, 100, (1_000, 4, 2)), rbox_to_quad(first[::4])]),
        "quads2": np.concatenate([rng.uniform(0, 100, (1_000, 4, 2)), rbox_to_quad(second[::4])]),
        "first": rng.integers(0, len(first), 2_000),
        "second": rng.integers(0, len(first), 2_000),
    }
    folder = tmp_path_factory.mktemp("triton")
    np.savez(folder / "in.npz", **data)
    environment = {name: value for name, value in os.environ.items() if name != "RBOX_CHECK_SHAPES"}
    paths = [str(Path(module.__file__).parents[1]) for module in (rbox_formats, rbox_metrics)]
    environment |= {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-c", CODE, str(folder / "in.npz"), str(folder / "out.npz")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return data, dict(np.load(folder / "out.npz"))


@pytest.mark.parametrize("mode", ["iou", "iof"])
def test_boxes_to_2e_6_whatever_their_size_and_place(interpreted: tuple[dict, dict], mode: str) -> None:
    """The requirement is 1e-5 for sides of 1 px and more; below that float64 differences keep the same bound."""
    data, found = interpreted
    expected = box_iou_rotated(data["boxes1"], data["boxes2"], aligned=True, mode=mode)
    assert (expected > 0.1).mean() > 0.3
    ours = found[f"boxes {mode}"]
    assert ours.dtype == np.float32
    assert ours.min() >= 0
    assert ours.max() <= 1
    # Over the area of the first alone, which may be the smaller, rounding weighs more.
    np.testing.assert_allclose(ours, expected, rtol=0, atol=2e-6 if mode == "iou" else 1e-5)


@pytest.mark.parametrize("mode", ["iou", "iof"])
def test_quads_in_float64(interpreted: tuple[dict, dict], mode: str) -> None:
    data, found = interpreted
    expected = quad_iou(data["quads1"], data["quads2"], aligned=True, mode=mode)
    np.testing.assert_allclose(found[f"quads {mode}"], expected, rtol=0, atol=1e-9)


def test_symmetric_and_one(interpreted: tuple[dict, dict]) -> None:
    _, found = interpreted
    for kind in ("boxes", "quads"):
        np.testing.assert_array_equal(found[f"{kind} back"], found[f"{kind} iou"])
        np.testing.assert_array_equal(found[f"{kind} same"], 1)


def test_all_kinds_of_pairs(interpreted: tuple[dict, dict]) -> None:
    data, found = interpreted
    first, second = data["boxes1"], data["boxes2"]
    np.testing.assert_allclose(found["boxes dense"], box_iou_rotated(first[:70], second[:50]), rtol=0, atol=2e-6)
    dense = quad_iou(data["quads1"][:70], data["quads2"][:50])
    np.testing.assert_allclose(found["quads dense"], dense, rtol=0, atol=1e-9)
    listed = box_iou_rotated(first[data["first"]], second[data["second"]], aligned=True)
    np.testing.assert_allclose(found["boxes listed"], listed, rtol=0, atol=2e-6)
    rounded = [boxes.astype(np.float32) for boxes in (first, second)]
    np.testing.assert_allclose(found["float32"], box_iou_rotated(*rounded, aligned=True), rtol=0, atol=2e-6)
    assert found["empty"].shape == (0, 3)


def test_bad_tensors_are_named(interpreted: tuple[dict, dict]) -> None:
    assert "finite numbers" in str(interpreted[1]["error"])
    assert "boxes1[0]" in str(interpreted[1]["error"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without GPU")
@pytest.mark.skipif("TRITON_INTERPRET" in os.environ, reason="there the CPU will do")
def test_without_a_gpu_the_remedy_is_named() -> None:
    with pytest.raises(MetricsError, match="expected a GPU for backend='triton', got none"):
        box_iou_rotated([[0, 0, 1, 1, 0]], [[0, 0, 1, 1, 0]], backend="triton")


def test_tensors_in_tensors_out() -> None:
    rng = np.random.default_rng(1)
    first, second = boxes(rng, 6, 5, 50), boxes(rng, 4, 5, 50)
    tensors = torch.tensor(first, requires_grad=True), torch.tensor(second)
    overlaps = box_iou_rotated(*tensors)
    assert isinstance(overlaps, torch.Tensor)
    assert not overlaps.requires_grad
    np.testing.assert_array_equal(overlaps.numpy(), box_iou_rotated(first, second))
    assert isinstance(quad_iou(*(torch.tensor(rbox_to_quad(part)) for part in (first, second))), torch.Tensor)
    kept = rbox_metrics.nms_rotated(tensors[0], torch.tensor([0.1, 0.9, 0.3, 0.4, 0.5, 0.6]), 0.1)
    assert isinstance(kept, torch.Tensor)
    assert kept[0] == 1
    assert all(isinstance(part, torch.Tensor) for part in rbox_metrics.soft_nms_rotated(tensors[1], torch.ones(4)))
    assert isinstance(box_iou_rotated(first, second), np.ndarray)


@gpu
@pytest.mark.parametrize("name", ["float32", "float64"])
def test_on_a_gpu(name: str) -> None:
    rng = np.random.default_rng(2)
    first = boxes(rng, 20_000, 1, 500).astype(name)
    second = partners(rng, first.astype(np.float64)).astype(name)
    tensors = [torch.from_numpy(part).cuda() for part in (first, second)]
    overlaps = box_iou_rotated(*tensors, aligned=True)
    assert overlaps.is_cuda
    expected = box_iou_rotated(first, second, aligned=True)
    np.testing.assert_allclose(overlaps.cpu().numpy(), expected, rtol=0, atol=1e-5)
    dense = box_iou_rotated(tensors[0][:700], tensors[1][:300])
    np.testing.assert_allclose(dense.cpu().numpy(), box_iou_rotated(first[:700], second[:300]), rtol=0, atol=1e-5)
    quads = [torch.from_numpy(rbox_to_quad(part.astype(np.float64))).cuda() for part in (first, second)]
    expected = quad_iou(*(part.cpu().numpy() for part in quads), aligned=True)
    np.testing.assert_allclose(quad_iou(*quads, aligned=True).cpu().numpy(), expected, rtol=0, atol=1e-9)
    kept = rbox_metrics.nms_rotated(tensors[0], tensors[0][:, 2], 0.3)
    assert kept.is_cuda
