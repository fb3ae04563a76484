"""SAM's encoder and decoder against transformers' SamModel, what of them learns, and where their weights come from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from rbox_baselines.errors import ConfigError
from rbox_testing import tiny_sam
from torch import nn
from torch.nn import functional
from transformers import SamModel, SamVisionModel
from transformers.utils import logging as their_logging

ENCODER = {
    "layers": 2, "channels": 32, "heads": 2, "global_layers": (1,), "mlp": 64, "window": 2, "embedding_channels": 16,
}  # fmt: skip
DECODER = {"channels": 16, "heads": 2, "mlp": 32}


@pytest.fixture(autouse=True)
def _quiet(mmrotate: ModuleType) -> Iterator[None]:
    """transformers lists what it does not take of a file."""
    before = their_logging.get_verbosity()
    their_logging.set_verbosity_error()
    yield
    their_logging.set_verbosity(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_sam.save(tmp_path_factory.mktemp("sam"), patch_size=16, window_size=2, with_decoder=True)


@pytest.fixture(scope="module")
def theirs(folder: Path) -> Any:
    return SamModel.from_pretrained(folder).eval()


def pretrained(folder: Path) -> dict[str, str]:
    return {"type": "Pretrained", "checkpoint": str(folder)}


def built(kind: str, folder: Path | None = None, **settings: Any) -> Any:
    from mmdet.registry import MODELS

    torch.manual_seed(1)
    arch = {"arch": ENCODER, "img_size": 64} if kind == "SAMEncoder" else DECODER
    model = MODELS.build({"type": kind, **arch, **settings, "init_cfg": folder and pretrained(folder)})
    model.init_weights()
    return model


def learning(module: nn.Module) -> set[str]:
    return {name for name, each in module.named_parameters() if each.requires_grad}


def test_maps_are_the_hidden_states_of_sam(theirs: Any, folder: Path) -> None:
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found = built("SAMEncoder", folder, embedding=True)(images)
        expected = theirs.vision_encoder(images, output_hidden_states=True)
        chosen = built("SAMEncoder", folder, out_indices=[0, -1])(images)
    assert len(found) == 4
    for one, other in zip(found, expected.hidden_states, strict=False):
        torch.testing.assert_close(one, other.permute(0, 3, 1, 2))
    torch.testing.assert_close(found[3], expected.last_hidden_state)
    assert len(chosen) == 2
    assert torch.equal(chosen[0], found[0])
    assert torch.equal(chosen[1], found[2])


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("chunk", [0, 2])
def test_masks_are_those_of_sam(theirs: Any, folder: Path, masks: bool, chunk: int) -> None:
    """From SAM's own prompts: boxes, and masks where there are any."""
    embeddings, images = torch.randn(2, 16, 4, 4), torch.tensor([0, 1, 1])
    boxes = torch.tensor([[[4.0, 5, 20, 30]], [[1.0, 2, 50, 60]], [[30.0, 5, 60, 33]]])
    logits = torch.randn(3, 16, 16) if masks else None
    with torch.no_grad():
        prompts, _ = theirs.prompt_encoder(None, None, boxes, None)
        found = built("SAMDecoder", folder, masks=masks, chunk=chunk)(embeddings, prompts[:, 0], images, logits)
        for index, image in enumerate(images):
            expected = theirs(
                image_embeddings=embeddings[image][None],
                input_boxes=boxes[index][None],
                input_masks=None if logits is None else logits[index][None, None],
                multimask_output=False,
            )
            torch.testing.assert_close(found[index], expected.pred_masks[0, 0, 0])
    assert found.std() > 0


def test_no_prompt_no_mask(folder: Path) -> None:
    found = built("SAMDecoder", folder)(torch.randn(1, 16, 4, 4), torch.zeros(0, 5, 16), torch.zeros(0).long())
    assert found.shape == (0, 16, 16)


def test_boxes_are_prompts_as_sams_encoder_has_them(folder: Path, theirs: Any) -> None:
    """Of images of 64 px, with a point inside; points outside, which nothing prompts with, do not learn."""
    decoder, boxes = built("SAMDecoder", folder, boxes=True), torch.rand(5, 4) * 64
    middles = boxes.reshape(5, 2, 2).mean(1)
    expected, _ = theirs.prompt_encoder(middles[None, :, None], torch.ones(1, 5, 1), boxes[None], None)
    torch.testing.assert_close(decoder.of_boxes(boxes, 64), expected[0])
    kinds = {name for name in learning(decoder) if "point" in name}
    assert kinds == {f"point_embed.{kind}.weight" for kind in (1, 2, 3)}


def test_chunks_give_the_same_gradients(folder: Path) -> None:
    found = []
    for chunk in (0, 2):
        torch.manual_seed(0)
        decoder = built("SAMDecoder", folder, chunk=chunk)
        prompts = torch.randn(5, 3, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
        given = torch.randn(1, 16, 4, 4, generator=torch.Generator().manual_seed(0))
        decoder(given, prompts, torch.zeros(5).long()).square().sum().backward()
        assert {name for name, each in decoder.named_parameters() if each.grad is not None} == learning(decoder)
        found.append([prompts.grad, *(each.grad for each in decoder.parameters() if each.requires_grad)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_places_of_oblong_images(folder: Path, theirs: Any) -> None:
    """Those of the square that they are the left upper part of: SAM pads images to squares."""
    decoder = built("SAMDecoder", folder)
    torch.testing.assert_close(decoder.positions(4, 4), theirs.get_image_wide_positional_embeddings())
    torch.testing.assert_close(decoder.positions(3, 4), decoder.positions(4, 4)[:, :, :3])


def test_next_places_are_alike_where_no_sam_is_loaded() -> None:
    """SAM draws its frequencies with a standard deviation of 1: next places of 64 x 64 differ by a small angle."""
    from mmdet.registry import MODELS

    torch.manual_seed(0)
    places = MODELS.build({"type": "SAMDecoder"}).positions(64, 64)[0]
    # The mean cosine of normal angles of deviation s is exp(-s^2 / 2); here s is 2 pi times 2 / 64.
    alike = functional.cosine_similarity(places[:, :, 1:], places[:, :, :-1], dim=0).mean()
    assert float(alike) == pytest.approx(math.exp(-((2 * math.pi * 2 / 64) ** 2) / 2), abs=0.01)


@pytest.mark.parametrize("arch, millions", [("base", 89.67), ("large", 308.28), ("huge", 637.03)])
def test_parameters_are_those_of_the_published_rsmamba(mmrotate: ModuleType, arch: str, millions: float) -> None:
    from mmdet.registry import MODELS

    with torch.device("meta"):
        model = MODELS.build({"type": "SAMEncoder", "arch": arch})
    assert round(sum(each.numel() for each in model.parameters()) / 1e6, 2) == millions


def test_a_published_decoder_has_all_its_weights() -> None:
    """4.06 M parameters of the decoder, as in SAM, beside the embedding of no mask and the frequencies of places."""
    from mmdet.registry import MODELS
    from transformers import SamConfig

    with torch.device("meta"):
        model = MODELS.build({"type": "SAMDecoder", "masks": False})
        whole = SamModel(SamConfig())
    assert sum(each.numel() for each in model.mask_decoder.parameters()) == sum(
        each.numel() for each in whole.mask_decoder.parameters()
    )
    expected = {name: each.shape for name, each in whole.state_dict().items() if name.startswith("mask_decoder.")}
    own = {name: each.shape for name, each in model.state_dict().items() if name.startswith("mask_decoder.")}
    assert own == expected


def test_nothing_learns_by_default(folder: Path) -> None:
    """RSPrompter's encoder learns unless its config says peft_config=None, and leaves evaluation with `train()`."""
    model = built("SAMEncoder", folder, embedding=True).train()
    assert not learning(model)
    assert not any(each.training for each in model.vision_encoder.modules())
    assert not any(each.requires_grad for each in model(torch.randn(1, 3, 64, 64, requires_grad=True)))


@pytest.mark.parametrize("embedding", [True, False])
def test_all_may_learn(folder: Path, embedding: bool) -> None:
    model = built("SAMEncoder", folder, learns="all", embedding=embedding).train()
    sum(each.square().sum() for each in model(torch.randn(1, 3, 64, 64))).backward()
    found = {name for name, each in model.named_parameters() if each.grad is not None}
    assert found == learning(model)
    assert all(each.grad.isfinite().all() for each in model.parameters() if each.requires_grad)
    assert any(".neck." in name for name in found) == embedding
    assert "vision_encoder.pos_embed" in found


def test_lora_learns_alone(folder: Path) -> None:
    pytest.importorskip("peft")
    plain = built("SAMEncoder", folder, embedding=True)
    model = built("SAMEncoder", folder, learns="lora", embedding=True)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():  # adapters begin at 0
        for one, other in zip(model.eval()(images), plain(images), strict=True):
            torch.testing.assert_close(one, other)
    names = learning(model.train())
    assert len(names) == 4
    assert all(".attn.qkv.lora_" in name for name in names)
    adapter = model.vision_encoder.layers[0].attn.qkv
    assert (adapter.r["default"], adapter.lora_alpha["default"], adapter.lora_dropout["default"].p) == (16, 32, 0.05)
    assert adapter.lora_dropout["default"].training
    before = {name: each.clone() for name, each in model.state_dict().items()}
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=1.0)
    model(images)[-1].square().sum().backward()
    optimizer.step()
    changed = {name for name, each in model.state_dict().items() if not torch.equal(each, before[name])}
    assert changed == {name for name in names if "lora_B" in name}  # A's gradient is 0 as long as B is


def test_layers_computed_again_for_gradients(folder: Path) -> None:
    images, found = torch.randn(1, 3, 64, 64), []
    for again in (False, True):
        model = built("SAMEncoder", folder, learns="all", embedding=True, with_cp=again)
        model(images)[-1].square().sum().backward()
        found.append([each.grad for each in model.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_any_image_size(folder: Path, theirs: Any) -> None:
    model = built("SAMEncoder", folder, embedding=True)
    with torch.no_grad():
        oblong = torch.randn(1, 3, 90, 40)
        found, square = model(oblong), model(functional.pad(oblong, (0, 56, 0, 6)))
        assert [each.shape[2:] for each in found] == [(6, 3)] * 4
        assert all(torch.equal(one, other[..., :3]) for one, other in zip(found, square, strict=True))
        # By transformers' model of another size, with positions interpolated by hand.
        images = torch.randn(1, 3, 96, 96)
        config = theirs.config.vision_config.to_dict() | {"image_size": 96}
        larger = SamVisionModel(type(theirs.config.vision_config)(**config)).vision_encoder.eval()
        weights = theirs.vision_encoder.state_dict()
        grid = weights["pos_embed"].permute(0, 3, 1, 2)
        weights["pos_embed"] = functional.interpolate(grid, (6, 6), mode="bicubic").permute(0, 2, 3, 1)
        for axis in "hw":  # of the layer that attends to all patches
            name = f"layers.1.attn.rel_pos_{axis}"
            weights[name] = functional.interpolate(weights[name].T[None], 11, mode="linear")[0].T
        larger.load_state_dict(weights)
        torch.testing.assert_close(model(images)[-1], larger(images).last_hidden_state, rtol=1e-4, atol=1e-5)
        made_for_it = built("SAMEncoder", folder, embedding=True, img_size=96)
        torch.testing.assert_close(made_for_it(images)[-1], larger(images).last_hidden_state, rtol=1e-4, atol=1e-5)


class _RunnerLike:
    """What mmengine's runner has when it initialises a model."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model


@pytest.mark.parametrize("learns", ["nothing", "lora", "all"])
def test_nothing_draws_over_loaded_weights(folder: Path, theirs: Any, learns: str) -> None:
    """transformers' encoder has an `init_weights`, which mmengine would call after ours."""
    from mmengine.runner import Runner
    from mmrotate.registry import MODELS

    model = MODELS.build(
        {
            "type": "mmdet.MaskRCNN", "rpn_head": None, "roi_head": None, "train_cfg": None, "test_cfg": None,
            "backbone": {"type": "SAMEncoder", "arch": ENCODER, "img_size": 64, "learns": learns,
                         "init_cfg": pretrained(folder)},
        }
    )  # fmt: skip
    Runner._init_model_weights(_RunnerLike(model))
    own = {name.replace(".base_layer.", "."): each for name, each in model.backbone.vision_encoder.state_dict().items()}
    for name, each in theirs.vision_encoder.state_dict().items():
        assert torch.equal(own[name], each), name
    # Weights that were loaded by hand stay, too.
    by_hand = MODELS.build({"type": "SAMEncoder", "arch": ENCODER, "img_size": 64})
    by_hand.vision_encoder.load_state_dict(theirs.vision_encoder.state_dict())
    by_hand.init_weights()
    assert all(
        torch.equal(each, by_hand.vision_encoder.state_dict()[name])
        for name, each in theirs.vision_encoder.state_dict().items()
    )


def test_weights_of_a_file(folder: Path, tmp_path: Path) -> None:
    source = built("SAMEncoder", folder)
    torch.save({"state_dict": {f"backbone.{name}": each for name, each in source.state_dict().items()}}, tmp_path / "d")
    (tmp_path / "d").rename(tmp_path / "d.pth")
    from mmdet.registry import MODELS

    init = {"type": "Pretrained", "checkpoint": str(tmp_path / "d.pth"), "prefix": "backbone."}
    model = MODELS.build({"type": "SAMEncoder", "arch": ENCODER, "img_size": 64, "init_cfg": init})
    model.init_weights()
    assert all(torch.equal(each, source.state_dict()[name]) for name, each in model.state_dict().items())


def test_what_is_frozen_of_the_decoder_stays_in_evaluation(folder: Path) -> None:
    frozen = built("SAMDecoder", folder, frozen=True).train()
    assert not learning(frozen)
    assert not any(each.training for each in frozen.modules())
    assert built("SAMDecoder", folder).train().mask_decoder.training


@pytest.mark.parametrize(
    "kind, settings, message",
    [
        ("SAMEncoder", {"arch": "tiny"}, "expected arch to be one of base, large, huge"),
        ("SAMEncoder", {"arch": {"layers": 2}}, "a dict with layers, channels, heads, global_layers"),
        ("SAMEncoder", {"out_indices": [3]}, "expected out_indices from -3 to 2"),
        ("SAMEncoder", {"learns": "neck"}, "expected learns to be nothing, lora or all"),
        ("SAMEncoder", {"learns": "lora", "lora": {"rank": 3}}, "expected lora with r, alpha, dropout"),
        ("SAMDecoder", {"init_cfg": {"type": "Normal"}}, "expected init_cfg of SAM with the type Pretrained"),
    ],
)
def test_settings_that_do_not_fit(mmrotate: ModuleType, kind: str, settings: dict[str, Any], message: str) -> None:
    from rbox_baselines._parts import _sam

    arch = {"arch": ENCODER, "img_size": 64} if kind == "SAMEncoder" else DECODER
    with pytest.raises(ConfigError, match=message):
        getattr(_sam, kind)(**{**arch, **settings}).init_weights()


def test_weights_of_another_size(folder: Path, tmp_path: Path) -> None:
    other: dict[str, Any] = {**ENCODER, "layers": 3}
    with pytest.raises(ConfigError, match=r"weights do not fit, such as vision_encoder.layers\.2"):
        built("SAMEncoder", folder, arch=other)
    with pytest.raises(ConfigError, match=r"expected weights of .* in this size of SAM"):
        built("SAMEncoder", folder, arch={**ENCODER, "mlp": 32})
    with pytest.raises(ConfigError, match="expected transformers' SAM in"):
        built("SAMDecoder", tmp_path)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("facebook/sam-vit-base", True),
        ("weights/sam.pth", False),
        ("sam.pth", False),
        ("a/b/c", False),
        ("/sam", False),
    ],
)
def test_names_on_the_hub(mmrotate: ModuleType, text: str, expected: bool) -> None:
    from rbox_baselines._parts._sam import is_hub_name

    assert is_hub_name(text) is expected
