"""The neck RSFPN: its strides and shapes, its formula, and the simple pyramid against its definition in ViTDet."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from rbox_baselines.errors import ConfigError
from torch import Tensor, nn
from torch.nn import functional


def build(kind: str, **settings: Any) -> Any:
    from mmdet.registry import MODELS

    torch.manual_seed(0)
    return MODELS.build({"type": kind, **settings}).eval()


def maps(count: int = 4, channels: int = 16) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, channels, 8, 12, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("pyramid", ["RSSimpleFPN", "RSSimplePaFPN"])
@pytest.mark.parametrize("aggregator", ["RSFeatureAggregator", "RSFeaturePaAggregator"])
def test_strides_and_channels(mmrotate: ModuleType, aggregator: str, pyramid: str) -> None:
    """A map of stride 16 of an image of 128 x 192 px: strides 4, 8, 16, 32, 64; from 8, there are three up to 32."""
    joining = {"type": aggregator, "in_channels": [16] * 4, "select_layers": [1, 3], "out_channels": 32}
    for start, strides in ((0, (4, 8, 16, 32, 64)), (1, (8, 16, 32)), (1, (8, 16, 32, 64, 128))):
        cutting = {
            "type": pyramid, "backbone_channel": 32, "out_channels": 24, "num_outs": len(strides), "start_level": start
        }  # fmt: skip
        neck = build("RSFPN", feature_aggregator=joining, feature_spliter=cutting).train()
        found = neck(maps())
        expected = [(2, 24, -(-128 // stride), -(-192 // stride)) for stride in strides]
        assert [tuple(each.shape) for each in found] == expected
        sum(each.square().mean() for each in found).backward()
        unused = [name for name, each in neck.named_parameters() if each.grad is None]
        assert not unused  # distributed training would wait for their gradients


def test_the_running_sum(mmrotate: ModuleType) -> None:
    """x[i] = s[i] + conv(s[i]), s[i] = f[i] + x[i - 1], of the chosen maps alone; then the second pass, back."""
    given = maps()
    for kind in ("RSFeatureAggregator", "RSFeaturePaAggregator"):
        joining = build(kind, in_channels=[16] * 4, select_layers=[0, 2, 3], hidden_channels=8, out_channels=16)
        f = [joining.downconvs[k](given[layer]) for k, layer in enumerate((0, 2, 3))]
        x: Any = 0
        for k in range(3):
            s = f[k] + x
            x = s + joining.hidden_convs[k](s)
        if kind == "RSFeaturePaAggregator":
            for k in (2, 1):
                x = x + joining.reverse_convs[k](x)
                x = x + joining.reverse_convs[k - 1](f[k - 1])
        torch.testing.assert_close(joining(given), joining.fusion_conv(x))
        given[1] = given[1] + 1
        torch.testing.assert_close(joining(given), joining.fusion_conv(x))


def test_the_pyramid_is_that_of_transformers_vitdet(mmrotate: ModuleType) -> None:
    """Written once more from the paper (section 3): what makes each level, then 1 x 1, 3 x 3, each with a norm."""
    pyramid, [features] = build("RSSimpleFPN", backbone_channel=16, out_channels=8), maps(1)

    def norm(values: Tensor, module: nn.Module) -> Tensor:
        centred = values - values.mean(1, keepdim=True)
        scaled = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
        return scaled * module.weight[:, None, None] + module.bias[:, None, None]

    up = pyramid.fpn1
    first = functional.conv_transpose2d(features, up[0].weight, up[0].bias, stride=2)
    first = functional.conv_transpose2d(functional.gelu(norm(first, up[1])), up[3].weight, up[3].bias, stride=2)
    second = functional.conv_transpose2d(features, pyramid.fpn2[0].weight, pyramid.fpn2[0].bias, stride=2)
    levels = [first, second, features, functional.max_pool2d(features, 2)]
    expected = []
    for level, lateral, conv in zip(levels, pyramid.lateral_convs, pyramid.fpn_convs, strict=True):
        level = norm(functional.conv2d(level, lateral.conv.weight), lateral.norm_layer)
        expected.append(norm(functional.conv2d(level, conv.conv.weight, padding=1), conv.norm_layer))
    expected.append(expected[-1][:, :, ::2, ::2])
    for one, other in zip(pyramid(features), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_second_pass_brings_detail_to_larger_strides(mmrotate: ModuleType) -> None:
    plain, passing = (build(kind, backbone_channel=16, out_channels=8) for kind in ("RSSimpleFPN", "RSSimplePaFPN"))
    passing.load_state_dict(plain.state_dict())
    [features] = maps(1)
    before, after = plain(features), passing(features)
    assert torch.equal(before[0], after[0])
    smaller = functional.interpolate(before[0], before[1].shape[2:], mode="bilinear", align_corners=False)
    torch.testing.assert_close(after[1], plain.fpn_convs[1](before[1] + smaller))


def test_named_widths_and_one_map_alone(mmrotate: ModuleType) -> None:
    joining = build("RSFeatureAggregator", in_channels="base", select_layers=range(1, 13, 2))
    assert len(joining.in_channels) == 13
    assert joining.downconvs[0][0].weight.shape == (32, 768, 1, 1)
    neck = build("RSFPN")
    [alone] = neck(maps())
    assert torch.equal(alone, maps()[-1])


def test_settings_that_do_not_fit(mmrotate: ModuleType) -> None:
    from rbox_baselines._parts._rsfpn import RSFeatureAggregator, RSSimpleFPN

    with pytest.raises(ConfigError, match="expected in_channels to be one of base, large, huge, rsmamba_small"):
        RSFeatureAggregator("vit")
    with pytest.raises(ConfigError, match="expected select_layers from 0 to 1, one or more"):
        RSFeatureAggregator([8, 8], select_layers=[2])
    with pytest.raises(ConfigError, match="expected start_level to be 0 or 1"):
        RSSimpleFPN(start_level=2)
    joining = RSFeatureAggregator([16] * 3, select_layers=[1])
    with pytest.raises(ConfigError, match="expected 3 maps for the aggregator, got 4"):
        joining(maps())
