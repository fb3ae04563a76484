"""Our ConvNeXt against transformers', on the same weights."""

from __future__ import annotations

import re
from types import ModuleType

import pytest
import torch
from transformers import ConvNextBackbone, ConvNextConfig

#: Our names of weights, and those of transformers.
NAMES = {
    r"^downsample_layers\.0\.0": "embeddings.patch_embeddings",
    r"^downsample_layers\.0\.1": "embeddings.layernorm",
    r"^downsample_layers\.(\d)\.(\d)": r"encoder.stages.\1.downsampling_layer.\2",
    r"^stages\.(\d)\.(\d+)\.depthwise_conv": r"encoder.stages.\1.layers.\2.dwconv",
    r"^stages\.(\d)\.(\d+)\.norm": r"encoder.stages.\1.layers.\2.layernorm",
    r"^stages\.(\d)\.(\d+)\.pointwise_conv": r"encoder.stages.\1.layers.\2.pwconv",
    r"^stages\.(\d)\.(\d+)\.gamma": r"encoder.stages.\1.layers.\2.layer_scale_parameter",
    r"^norm(\d)": lambda match: f"hidden_states_norms.stage{int(match[1]) + 1}",
}


def test_features_are_those_of_transformers_on_the_same_weights(mmrotate: ModuleType) -> None:
    from rbox_baselines._parts._convnext import SIZES, ConvNeXt

    torch.manual_seed(0)
    ours = ConvNeXt("tiny", layer_scale_init_value=1.0).eval()
    for parameter in ours.parameters():  # the norms' too
        torch.nn.init.normal_(parameter, std=0.2)
    depths, channels = SIZES["tiny"]
    config = ConvNextConfig(
        depths=list(depths), hidden_sizes=list(channels), out_features=[f"stage{stage}" for stage in (1, 2, 3, 4)]
    )
    theirs = ConvNextBackbone(config).eval()
    weights = {_renamed(name): value for name, value in ours.state_dict().items()}
    # Norms of whole features: in transformers, as in the paper, with the eps of its own default.
    theirs.load_state_dict(weights)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        found, expected = ours(images), theirs(images).feature_maps
    assert [each.shape[1:] for each in found] == [(96, 16, 16), (192, 8, 8), (384, 4, 4), (768, 2, 2)]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def _renamed(name: str) -> str:
    for pattern, replacement in NAMES.items():
        name, count = re.subn(pattern, replacement, name)
        if count:
            return name
    raise AssertionError(name)


def test_blocks_are_left_out_in_training_alone(mmrotate: ModuleType) -> None:
    from rbox_baselines._parts._convnext import ConvNeXt

    torch.manual_seed(0)
    model = ConvNeXt("tiny", out_indices=[3], drop_path_rate=0.9, layer_scale_init_value=1.0)
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert not torch.equal(model(images)[0], model(images)[0])
        model.eval()
        torch.testing.assert_close(model(images)[0], model(images)[0], rtol=0, atol=0)
    with pytest.raises(ValueError, match="gap_before_final_norm"):
        ConvNeXt("tiny", gap_before_final_norm=True)
