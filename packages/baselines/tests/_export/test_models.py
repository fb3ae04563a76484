"""Whole detectors as ONNX files: their boxes and scores are PyTorch's, on real pictures where there are any."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from rbox_baselines import Detector, load_config
from rbox_baselines._configs._weights import without_pretrained
from rbox_baselines._export._program import Program
from rbox_baselines._export._traceable import traceable
from rbox_baselines._tools._agreement import agreement
from rbox_baselines.cli.main import main
from rbox_baselines.errors import ExportError
from rbox_formats import ClassNames, synthetic
from rbox_testing.samples import sampled

pytestmark = pytest.mark.slow  # to trace a model takes PyTorch a good part of a minute
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

NAMES = synthetic.CLASS_NAMES
SIDE = 256
PICTURES = sorted((Path(__file__).parents[5] / "shared" / "data").glob("*-example/images/*.png"))[:2]

RESNET = {
    "model.backbone.depth": 18,
    "model.backbone.frozen_stages": -1,
    "model.backbone.base_channels": 8,
    "model.neck.in_channels": [8, 16, 32, 64],
    "model.neck.out_channels": 32,
}
DENSE = {"model.bbox_head.in_channels": 32, "model.bbox_head.feat_channels": 32, "model.bbox_head.stacked_convs": 1}
ROIS = {
    "model.rpn_head.in_channels": 32,
    "model.rpn_head.feat_channels": 32,
    "model.roi_head.bbox_head.in_channels": 32,
    "model.roi_head.bbox_head.fc_out_channels": 32,
    "model.roi_head.bbox_roi_extractor.out_channels": 32,
}
# The config, what makes it small, and factors on weights: a network that has learnt nothing says the same everywhere.
MODELS: dict[str, tuple[str, dict[str, Any], dict[str, float]]] = {
    "retinanet": (
        "rotated-retinanet-rbox-le90_r50_fpn_1x_dota",
        {**RESNET, **DENSE},
        {"retina_cls.weight": 40, "retina_reg.weight": 15},
    ),
    "fcos": (
        "rotated-fcos-le90_r50_fpn_1x_dota",
        {**RESNET, **DENSE},
        {"conv_cls.weight": 15, "conv_angle.weight": 15},
    ),
    "oriented-rcnn": (
        "oriented-rcnn-le90_r50_fpn_1x_dota",
        {**RESNET, **ROIS},
        {"rpn_cls.weight": 40, "rpn_reg.weight": 15, "fc_cls.weight": 40, "fc_reg.weight": 15},
    ),
    "rtmdet": ("rotated_rtmdet_tiny-3x-dota", {}, {"rtm_cls": 3000, "rtm_reg": 30, "rtm_ang": 30}),
}


def make(name: str) -> Detector:
    """A detector with weights drawn by a seed, which finds some hundred boxes, far from sure."""
    from mmdet.registry import MODELS as REGISTERED

    config_name, small, factors = MODELS[name]
    config = without_pretrained(load_config(config_name, class_names=NAMES, image_size=SIDE, options=small))
    torch.manual_seed(0)
    model = REGISTERED.build(config.model)
    logging.disable()  # a line for each weight
    model.init_weights()
    logging.disable(logging.NOTSET)
    with torch.no_grad():
        for key, value in model.named_parameters():
            for part, factor in factors.items():
                if part in key and key.endswith("weight"):
                    value *= factor
            if key.endswith(("retina_cls.bias", "conv_cls.bias")) or ("rtm_cls" in key and key.endswith("bias")):
                value[:] = -4.2 if "rtm" in key else -3.3
        if not hasattr(model, "rpn_head"):
            settle(model)
    return Detector(model.eval(), config, ClassNames(NAMES), "sha256:0", "cpu")


def settle(model: Any) -> None:
    """Set batch normalisation to what an image has: as it is drawn, deep networks lose all that they see."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean of all batches
    model.train()
    for crop in crops():
        image = torch.from_numpy(crop[:192].copy()).permute(2, 0, 1)[None].float()
        model.bbox_head(model.extract_feat((image - 114) / 58))


def crops() -> list[np.ndarray]:
    """Parts of real aerial images, of different shapes; synthetic scenes where there are none."""
    if not PICTURES:
        scene = synthetic.scene(3, replace(synthetic.TINY, size=SIDE))[0]
        return [scene, scene[:200]]
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in PICTURES]
    return [pictures[0][:SIDE, :SIDE], pictures[-1][:200, :SIDE]]


@pytest.mark.parametrize(
    ("name", "nms"),
    sampled(
        [("retinanet", True), ("fcos", True), ("oriented-rcnn", True), ("rtmdet", True), ("oriented-rcnn", False)],
        [("retinanet", True)],
    ),
)
def test_boxes_and_scores_are_pytorchs(name: str, nms: bool, mmrotate: ModuleType, tmp_path: Path) -> None:
    detector = make(name)
    exported = Detector.from_onnx(detector.export(tmp_path / "model.onnx", nms=nms), device="cpu")
    for crop in crops():
        (expected,), (found,) = detector.detect([crop]), exported.detect([crop])
        result = agreement(expected, found)
        assert result.counts[0] > 30
        # Where two boxes overlap by the threshold but for rounding, one more may stay.
        assert result.alone <= 0.01 * sum(result.counts)
        assert result.pixels < 0.01
        assert result.score < 1e-4


@pytest.mark.variant
def test_a_program_of_pytorch_takes_any_size(mmrotate: ModuleType, tmp_path: Path) -> None:
    detector = make("retinanet")
    entries = dict.fromkeys(("class_names", "boxes"), "")
    loaded = torch.export.load(detector.export(tmp_path / "model.pt2"), extra_files=entries).module()
    assert NAMES[0] in entries["class_names"]
    assert "radians" in entries["boxes"]
    for crop in (*crops(), np.tile(crops()[0], (2, 3, 1))[:333, :640]):
        image = torch.from_numpy(crop.copy()).permute(2, 0, 1)[None].float()
        with torch.no_grad(), traceable(nms=True):
            expected = Program(detector.model)(image)
        assert len(expected[0]) > 30
        torch.testing.assert_close(loaded(image), expected, atol=1e-3, rtol=1e-5)


def test_by_the_command(checkpoint: Path, scenes: Path, tmp_path: Path) -> None:
    """From a checkpoint to an ONNX file, and from that to predictions."""
    image = next((scenes / "val" / "images").glob("*.png"))
    out = tmp_path / "model.onnx"
    result = CliRunner().invoke(main, ["export", str(checkpoint), "--out", str(out), "--check", str(image)])
    assert result.exit_code == 0, result.output
    assert "boxes in PyTorch" in result.output
    predicted = CliRunner().invoke(
        main, ["predict", "--model", str(out), "--out", str(tmp_path / "found.jsonl"), str(image)]
    )
    assert predicted.exit_code == 0, predicted.output
    assert (tmp_path / "found.jsonl").is_file()


def test_what_cannot_be_traced_is_refused(mmrotate: ModuleType, tmp_path: Path) -> None:
    detector = make("retinanet")
    detector.model.bbox_head.forward_single = lambda features: features.mean().item()
    with pytest.raises(ExportError, match="expected a model that can be traced"):
        detector.export(tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
