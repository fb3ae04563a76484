"""The operators of exported programs as ONNX: against rbox_metrics, and against the operators that models call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from rbox_baselines._export import _onnx, _operators, _program, _traceable  # noqa: E402


def run(module: nn.Module, inputs: tuple[Tensor, ...], dynamic: tuple[Any, ...], path: Path) -> Callable[..., Any]:
    """Export a module, and return its ONNX as a function of tensors."""
    with _program.quiet():
        program = torch.export.export(module, inputs, dynamic_shapes=dynamic)
        table = _onnx.translations()
        torch.onnx.export(program, dynamo=True, verbose=False, custom_translation_table=table).save(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options)
    names = [each.name for each in session.get_inputs()]
    return lambda *tensors: session.run(None, dict(zip(names, (each.numpy() for each in tensors), strict=True)))[0]


class Suppressed(nn.Module):
    def __init__(self, rotated: bool, most: int) -> None:
        super().__init__()
        self.operator, self.most = (torch.ops.rbox.nms_rotated if rotated else torch.ops.rbox.nms), most

    def forward(self, boxes: Tensor, scores: Tensor, groups: Tensor) -> Tensor:
        return self.operator(boxes, scores, groups, 0.3, self.most)


def boxes_of(generator: np.random.Generator, count: int, rotated: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Crowded boxes of three groups, some of them equal, thin or without an area."""
    boxes = generator.uniform([0, 0, 4, 4, -2], [300, 300, 80, 40, 2], (count, 5))
    boxes[: count // 10] = boxes[count - count // 10 :]
    boxes[count // 2 : count // 2 + count // 20, 3] = 0
    boxes[::7, 4] = 0
    boxes[:, :2] += 5000
    if not rotated:
        boxes = np.concatenate([boxes[:, :2] - boxes[:, 2:4] / 2, boxes[:, :2] + boxes[:, 2:4] / 2], axis=1)
    scores = generator.permutation(count) / max(count, 1)
    return (
        torch.tensor(boxes, dtype=torch.float32),
        torch.tensor(scores, dtype=torch.float32),
        torch.tensor(generator.integers(0, 3, count)),
    )


@pytest.mark.slow
@pytest.mark.parametrize("rotated", [True, False])
def test_suppression_keeps_what_rbox_metrics_keeps(rotated: bool, tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    count = torch.export.Dim("count", min=0)
    module = Suppressed(rotated, 300)
    exported = run(module, boxes_of(generator, 40, rotated), ({0: count},) * 3, tmp_path / "nms.onnx")
    kept = {}
    for number in (0, 1, 2, 60, 250, 1000):
        inputs = boxes_of(generator, number, rotated)
        kept[number] = len(expected := module(*inputs).numpy())
        np.testing.assert_array_equal(exported(*inputs), expected)
    assert 60 < kept[250] < 240
    assert kept[1000] == 300


def test_exact_overlaps_decide(tmp_path: Path) -> None:
    """Of a 4 x 2 box and itself, turned by 90 degrees and moved: IoU 4 / 12, 3 / 13 and 1, worked by hand."""
    count = torch.export.Dim("count", min=0)
    boxes = torch.tensor([[0, 0, 4, 2, 0], [0, 0, 4, 2, torch.pi / 2], [50, 0, 4, 2, 0.3], [50, 0, 4, 2, 0.3]])
    scores, groups = torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.zeros(4, dtype=torch.long)
    exported = run(Suppressed(True, 9), (boxes, scores, groups), ({0: count},) * 3, tmp_path / "nms.onnx")
    assert exported(boxes, scores, groups).tolist() == [0, 2]  # 1/3 is above 0.3
    boxes[1, 1] = 1.5  # 2 x 1.5 of the second lie in the first
    assert exported(boxes, scores, groups).tolist() == [0, 1, 2]
    assert exported(boxes, scores, torch.tensor([0, 0, 1, 2])).tolist() == [0, 1, 2, 3]


class Aligned(nn.Module):
    """RoIs on a map: the layer as it is traced."""

    def __init__(self, layer: Any, stands: Callable[..., Tensor]) -> None:
        super().__init__()
        self.layer, self.stands = layer, stands

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        return self.stands(self.layer, features, rois)


@pytest.mark.slow
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("rotated", [True, False])
def test_rois_are_read_as_by_mmcvs_layers(rotated: bool, aligned: bool, mmrotate: ModuleType, tmp_path: Path) -> None:
    from mmcv.ops import RoIAlign, RoIAlignRotated

    generator = torch.Generator().manual_seed(1)
    features = torch.randn(1, 4, 20, 28, generator=generator)
    # Inside, across each border, far outside, and thin.
    low, high = torch.tensor([-30.0, -30, 1, 1, -3]), torch.tensor([250.0, 190, 120, 90, 3])
    rois = low + (high - low) * torch.rand(50, 5, generator=generator)
    layer: Any = RoIAlignRotated((7, 5), 1 / 8, 2, aligned, clockwise=True)
    stands = _traceable.aligned_rotated
    if not rotated:
        rois = torch.cat([rois[:, :2] - rois[:, 2:4] / 2, rois[:, :2] + rois[:, 2:4] / 2], dim=1)
        layer, stands = RoIAlign((7, 5), 1 / 8, 0, "avg", aligned), _traceable.aligned
    rois = torch.cat([torch.zeros(50, 1), rois], dim=1)
    expected = layer(features, rois)
    dim = torch.export.Dim
    module = Aligned(layer, stands)
    torch.testing.assert_close(module(features, rois), expected, atol=2e-5, rtol=0)
    sizes = ({2: dim("height", min=2), 3: dim("width", min=2)}, {0: dim("count", min=0)})
    exported = run(module, (features, rois), sizes, tmp_path / "rois.onnx")
    np.testing.assert_allclose(exported(features, rois), expected, atol=2e-5)
    assert exported(features, rois[:0]).shape == (0, 4, 7, 5)


def test_programs_of_pytorch_find_the_operators() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 2, 0], [0, 0.1, 4, 2, 0]])
    args = (boxes, torch.tensor([0.5, 0.9]), torch.zeros(2, dtype=torch.long), 0.3, 10)
    assert torch.ops.rbox.nms_rotated(*args).tolist() == [1]
    torch.library.opcheck(_operators.nms_rotated, args, test_utils=("test_schema", "test_faketensor"))
