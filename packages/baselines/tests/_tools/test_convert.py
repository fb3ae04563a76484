"""Weights in RSPrompter's and RS4D's layouts: each has its place, and does there what it did before."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from rbox_baselines import Detector, convert_checkpoint
from rbox_baselines._checkpoints import read_checkpoint
from rbox_baselines._tools._convert import renamed
from rbox_baselines.cli.main import main
from rbox_baselines.errors import CheckpointError, ConfigError
from rbox_testing import rsprompter_layout as layout
from rbox_testing.samples import sampled
from torch import Tensor

NAMES = ("ship", "harbour", "crane")
_SAM = {
    "model.backbone.arch": {
        "_delete_": True, "layers": 2, "channels": layout.HIDDEN, "heads": 2, "global_layers": [1], "mlp": 64,
        "window": 2, "embedding_channels": layout.CHANNELS,
    },
    "model.backbone.img_size": 64,
    "model.neck.feature_aggregator.select_layers": [1, 2],
}  # fmt: skip
_RSMAMBA = {
    "model.backbone": {
        "_delete_": True, "type": "RSMamba", "arch": {"layers": 2, "inner": 32, "channels": 16}, "img_size": 64,
    },
    "model.neck.feature_aggregator.in_channels": [16, 16],
    "model.neck.feature_aggregator.select_layers": [1],
}  # fmt: skip
_DECODER = {"channels": layout.CHANNELS, "heads": 2, "mlp": 32}


def options(variant: str, encoder: str) -> dict[str, Any]:
    """What makes a config as small as the files."""
    found: dict[str, Any] = copy.deepcopy(_RSMAMBA if encoder == "rsmamba" else _SAM)
    if encoder == "sam-lora-512":
        del found["model.neck.feature_aggregator.select_layers"]
        found["model.neck.feature_aggregator.in_channels"] = layout.CHANNELS
    else:
        found["model.neck.feature_aggregator.hidden_channels"] = layout.JOINED
    if encoder in ("sam", "sam-lora"):
        last = [layout.CHANNELS] if variant != "sam-seg" else []
        found["model.neck.feature_aggregator.in_channels"] = [layout.HIDDEN] * 3 + last
    place = "model.panoptic_head" if variant == "query" else "model.roi_head.mask_head"
    if variant != "sam-seg":
        found |= {f"{place}.sam.{name}": value for name, value in _DECODER.items()}
        found[f"{place}.out_channels"] = layout.CHANNELS
    if variant == "query":
        found["model.panoptic_head.num_queries"] = 10
    else:
        found["model.roi_head.bbox_head.fc_out_channels"] = 32
    return found


CASES = {
    "sam-seg-base": ("sam-seg", "sam"),
    "rsprompter-anchor-sam-base": ("anchor", "sam"),
    "rsprompter-anchor-sam-base-lora": ("anchor", "sam-lora"),
    "rsprompter-anchor-sam-base-lora-512": ("anchor", "sam-lora-512"),
    "rsprompter-anchor-rsmamba-base": ("anchor", "rsmamba"),
    "rsprompter-query-sam-base": ("query", "sam"),
}


def written(folder: Path, weights: dict[str, Tensor], **more: Any) -> Path:
    torch.save({"state_dict": weights, **more}, folder / "theirs.pth")
    return folder / "theirs.pth"


@pytest.mark.parametrize("config", sampled(CASES, ["rsprompter-query-sam-base"]))
def test_every_weight_has_a_place(mmrotate: ModuleType, config: str, tmp_path: Path) -> None:
    variant, encoder = CASES[config]
    weights = layout.weights(variant, encoder)
    source = written(tmp_path, weights, meta={"dataset_meta": {"classes": NAMES}}, optimizer={"state": {}})
    made = convert_checkpoint(source, config, tmp_path / "ours.pth", options=options(variant, encoder))
    found = read_checkpoint(made.path)
    assert made.weights == len(weights) == len(found["state_dict"])
    assert not made.is_backbone
    assert set(found) == {"state_dict", "meta"}
    # Values stay, in their order, and are not shared between names.
    for one, other in zip(weights.values(), found["state_dict"].values(), strict=True):
        assert torch.equal(one, other)
    detector = Detector.from_checkpoint(made.path, device="cpu")
    assert tuple(detector.class_names) == NAMES
    own = detector.model.state_dict()
    assert all(torch.equal(own[name], each) for name, each in found["state_dict"].items())


def test_places_of_sams_parts(mmrotate: ModuleType) -> None:
    given = {
        "module.backbone.vision_encoder.base_model.model.layers.0.attn.qkv.lora_A.default.weight":
            "backbone.vision_encoder.layers.0.attn.qkv.lora_A.default.weight",
        "backbone.vision_encoder.layers.3.ln2.bias": "backbone.vision_encoder.layers.3.layer_norm2.bias",
        "backbone.vision_encoder.base_model.model.layers.3.ffn.layers.0.0.weight":
            "backbone.vision_encoder.layers.3.mlp.lin1.weight",
        "backbone.vision_encoder.layers.3.ffn.layers.1.bias": "backbone.vision_encoder.layers.3.mlp.lin2.bias",
        "backbone.vision_encoder.channel_reduction.2.weight": "backbone.vision_encoder.neck.conv2.weight",
        "shared_image_embedding.shared_image_embedding.positional_embedding":
            "roi_head.mask_head.sam.shared_image_embedding.positional_embedding",
        "roi_head.mask_head.mask_decoder.mask_decoder.iou_token.weight":
            "roi_head.mask_head.sam.mask_decoder.iou_token.weight",
        "roi_head.bbox_head.fc_cls.weight": "roi_head.bbox_head.fc_cls.weight",
    }  # fmt: skip
    assert list(renamed({name: torch.zeros(1) for name in given})) == list(given.values())
    query = renamed(
        {
            "shared_image_embedding.shared_image_embedding.positional_embedding": torch.zeros(1),
            "panoptic_head.sam_mask_embed.conv1.weight": torch.zeros(1),
        }
    )
    assert list(query) == [
        "panoptic_head.sam.shared_image_embedding.positional_embedding",
        "panoptic_head.sam.mask_embed.conv1.weight",
    ]


def test_a_converted_detector_computes_what_theirs_did(mmrotate: ModuleType, tmp_path: Path) -> None:
    """transformers' modules with the file's weights, by the file's names: hidden states, and the mask of a box."""
    from transformers import SamMaskDecoderConfig
    from transformers.models.sam.modeling_sam import SamMaskDecoder, SamPositionalEmbedding, SamVisionEncoder

    weights = layout.weights("anchor", "sam")
    source = written(tmp_path, weights, meta={"dataset_meta": {"classes": NAMES}})
    name = "rsprompter-anchor-sam-base"
    made = convert_checkpoint(source, name, tmp_path / "ours.pth", options=options("anchor", "sam"))
    model = Detector.from_checkpoint(made.path, device="cpu").model

    def loaded(module: Any, prefix: str) -> Any:
        own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        module.load_state_dict(own)
        return module.eval()

    vision = layout._vision_config()
    encoder = loaded(SamVisionEncoder(vision), "backbone.vision_encoder.")
    places = loaded(SamPositionalEmbedding(vision), "shared_image_embedding.shared_image_embedding.")
    config = SamMaskDecoderConfig(hidden_size=layout.CHANNELS, num_attention_heads=2, mlp_dim=32)
    config._attn_implementation = "eager"
    decoder = loaded(SamMaskDecoder(config), "roi_head.mask_head.mask_decoder.mask_decoder.")
    prompts = loaded(copy.deepcopy(model.roi_head.mask_head.point_emb), "roi_head.mask_head.point_emb.")
    images, features = torch.randn(1, 3, 64, 64), torch.randn(1, 256, 14, 14)
    with torch.no_grad():
        *hidden, embedding = model.backbone(images)
        expected = encoder(images, output_hidden_states=True)
        for one, other in zip([*hidden], expected.hidden_states, strict=True):
            torch.testing.assert_close(one, other.permute(0, 3, 1, 2), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(embedding, expected.last_hidden_state, rtol=1e-4, atol=1e-5)

        values = prompts(features).reshape(1, 1, 5, -1)
        side = (torch.arange(4) + 0.5) / 4
        grid = torch.stack([side[None].expand(4, 4), side[:, None].expand(4, 4)], -1)
        masks, _ = decoder(
            image_embeddings=embedding,
            image_positional_embeddings=places(grid).permute(2, 0, 1)[None],
            sparse_prompt_embeddings=values[..., 0::2].sin() + values[..., 1::2],
            dense_prompt_embeddings=weights["roi_head.mask_head.no_mask_embed.weight"].reshape(1, -1, 1, 1),
            multimask_output=False,
        )
        found = model.roi_head.mask_head(features, embedding, torch.zeros(1, 5))
        torch.testing.assert_close(found[0], masks[0, 0, 0], rtol=1e-4, atol=1e-5)


def test_a_distilled_backbone(mmrotate: ModuleType, tmp_path: Path) -> None:
    """Bare weights, as RS4D's distillation writes them on several devices; by the command."""
    weights = {
        name.removeprefix("backbone."): each
        for name, each in layout.weights("anchor", "rsmamba").items()
        if name.startswith("backbone.")
    }
    torch.save({f"module.{name}": each for name, each in weights.items()}, tmp_path / "kk.pth")
    words = ["convert", tmp_path / "kk.pth", "mask-rcnn-rsmamba-base", "--out", tmp_path / "b.pth"]
    for name, value in _RSMAMBA.items():
        words += ["--cfg-options", f"{name}={json.dumps(value)}"]
    result = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert f"{len(weights)} weights are in" in result.output
    assert "--backbone" in result.output
    found = read_checkpoint(tmp_path / "b.pth")["state_dict"]
    assert set(found) == set(weights)
    assert all(torch.equal(found[name], each) for name, each in weights.items())


def test_files_that_do_not_fit_are_refused(mmrotate: ModuleType, tmp_path: Path) -> None:
    weights = layout.weights("anchor", "sam")
    settings: dict[str, Any] = {"options": options("anchor", "sam"), "class_names": NAMES}

    def refused(weights: dict[str, Tensor], message: str, **more: Any) -> None:
        source = written(tmp_path, weights)
        with pytest.raises(CheckpointError, match=message):
            convert_checkpoint(
                source, "rsprompter-anchor-sam-base", tmp_path / "o.pth", **copy.deepcopy(settings | more)
            )
        assert not (tmp_path / "o.pth").exists()

    refused(
        {**weights, "roi_head.iou.weight": torch.zeros(1)}, "got 1 that are unknown to the model: roi_head.iou.weight"
    )
    refused(
        {name: each for name, each in weights.items() if "fc_cls" not in name}, "2 that are missing: roi_head.bbox_head"
    )
    refused(
        weights, "expected weights in the model's shapes, got size mismatch for roi_head.bbox_head", class_names=["a"]
    )
    refused(weights, "expected a file that says its classes", class_names=None)
    (tmp_path / "code.pth").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(CheckpointError):
        convert_checkpoint(tmp_path / "code.pth", "rsprompter-anchor-sam-base", tmp_path / "o.pth")
    with pytest.raises(ConfigError, match="expected a preset"):
        convert_checkpoint(written(tmp_path, weights), "rsprompter", tmp_path / "o.pth")


@pytest.mark.slow
def test_the_preset_says_the_classes_where_the_file_does_not(mmrotate: ModuleType, tmp_path: Path) -> None:
    weights = layout.weights("anchor", "sam")
    for name in ("fc_cls", "fc_reg"):
        for kind in ("weight", "bias"):
            key = f"roi_head.bbox_head.{name}.{kind}"
            rows = {"fc_cls": 2, "fc_reg": 4}[name]
            weights[key] = weights[key][:rows].clone()
    made = convert_checkpoint(
        written(tmp_path, weights),
        "rsprompter-anchor-sam-base-ssdd",
        tmp_path / "ours.pth",
        options=options("anchor", "sam"),
    )
    assert tuple(Detector.from_checkpoint(made.path, device="cpu").class_names) == ("ship",)
