"""RSMamba against transformers' Mamba mixer, its published sizes, and what training does to its weights."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import pytest
import torch
from rbox_baselines.errors import ConfigError
from torch import Tensor, nn
from torch.nn import functional
from transformers import MambaConfig
from transformers.models.mamba.modeling_mamba import MambaMixer as TheirMixer

TINY = {"layers": 3, "inner": 32, "channels": 16}


def tiny(**settings: Any) -> Any:
    from mmdet.registry import MODELS

    torch.manual_seed(0)
    return MODELS.build({"type": "RSMamba", "arch": TINY, "img_size": 64, **settings})


def mixers() -> tuple[nn.Module, nn.Module]:
    """Ours and transformers', with the same weights."""
    from rbox_baselines._parts._mamba import MambaMixer

    torch.manual_seed(0)
    config = MambaConfig(hidden_size=24, state_size=8, expand=2, num_hidden_layers=1, time_step_rank=2)
    ours, theirs = MambaMixer(24, 48, states=8, rank=2), TheirMixer(config, 0)
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.3)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def test_the_mixer_is_that_of_transformers(mmrotate: ModuleType) -> None:
    ours, theirs = mixers()
    tokens = torch.randn(2, 70, 24)
    found, expected = [], []
    for mixer, results in ((ours, found), (theirs, expected)):
        given = tokens.clone().requires_grad_()
        outputs = mixer(given)
        outputs.square().sum().backward()
        results += [outputs.detach(), given.grad, *(each.grad for _, each in sorted(mixer.named_parameters()))]
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() <= 1e-5 * other.abs().max()


def test_weights_of_a_mamba_language_model(mmrotate: ModuleType) -> None:
    """A layer of a checkpoint, by its names; the mixer in bfloat16 as well."""
    from rbox_baselines._parts._mamba import MambaMixer
    from transformers import MambaModel

    config = MambaConfig(vocab_size=10, hidden_size=24, state_size=8, num_hidden_layers=2)
    weights = MambaModel(config).state_dict()
    prefix = "layers.1.mixer."
    ours = MambaMixer(24, 48, states=8)
    ours.load_state_dict({name.removeprefix(prefix): each for name, each in weights.items() if name.startswith(prefix)})
    tokens = torch.randn(1, 30, 24)
    with torch.no_grad():
        exact = ours(tokens)
        rounded = ours.bfloat16()(tokens.bfloat16())
    assert rounded.dtype == torch.bfloat16
    assert (rounded.float() - exact).abs().max() <= 0.05 * exact.abs().max()


def test_first_weights_are_those_of_the_paper(mmrotate: ModuleType) -> None:
    """S4D-real rates, and steps between a thousandth and a tenth."""
    from rbox_baselines._parts._mamba import MambaMixer

    mixer = MambaMixer(256, 512)
    torch.testing.assert_close(mixer.A_log.exp(), torch.arange(1.0, 17).repeat(512, 1))
    steps = functional.softplus(mixer.dt_proj.bias)
    assert 1e-3 - 1e-6 <= steps.min() < 2e-3
    assert 5e-2 < steps.max() <= 1e-1 + 1e-6
    assert mixer.dt_proj.weight.abs().max() <= 0.25
    assert sum(each.numel() for each in mixer.parameters()) == 437_760


@pytest.mark.parametrize(
    "arch, millions", [("small", 8.25), ("base", 11.75), ("large", 16.57), ("huge", 18.76), ("uhuge2", 27.51)]
)
def test_parameters_are_those_of_the_published_sizes(mmrotate: ModuleType, arch: str, millions: float) -> None:
    from mmdet.registry import MODELS

    with torch.device("meta"):
        model = MODELS.build({"type": "RSMamba", "arch": arch})
    assert round(sum(each.numel() for each in model.parameters()) / 1e6, 2) == millions


def by_hand(model: Any, images: Tensor, gate: bool) -> list[Tensor]:
    """Both directions one after another, as RS4D's formula has them."""
    tokens = functional.conv2d(images, model.patch_embed.projection.weight, stride=16).flatten(2).transpose(1, 2)
    tokens = tokens + model.pos_embed
    maps = []
    for k, layer in enumerate(model.layers):
        normal = model.pre_norm(tokens)
        there, back = layer(normal), layer(normal.flip(1)).flip(1)
        if gate:
            weights = torch.softmax(torch.cat([there.mean(1), back.mean(1)], 1) @ model.gate_layers[k][0].weight.T, 1)
            tokens = tokens + weights[:, :1, None] * there + weights[:, 1:, None] * back
        else:
            tokens = tokens + (there + back) / 2
        maps.append(model.ln1(tokens) if k == len(model.layers) - 1 else tokens)
    return [each.transpose(1, 2).reshape(len(images), -1, 4, 4) for each in maps]


@pytest.mark.parametrize("path", ["forward_reverse_mean", "forward_reverse_gate"])
def test_both_directions(mmrotate: ModuleType, path: str) -> None:
    model, images = tiny(path_type=path), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        found, expected = model(images), by_hand(model, images, "gate" in path)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_one_direction_sees_no_later_patch(mmrotate: ModuleType) -> None:
    model, images = tiny(path_type="forward"), torch.randn(1, 3, 64, 64)
    changed = images.clone()
    changed[..., 48:, 48:] += 1  # the last of 16 patches
    with torch.no_grad():
        before, after = model(images)[-1].flatten(2), model(changed)[-1].flatten(2)
    assert torch.equal(before[..., :15], after[..., :15])
    assert not torch.equal(before[..., 15], after[..., 15])


@pytest.mark.parametrize("path", ["forward_reverse_shuffle_mean", "forward_reverse_shuffle_gate"])
def test_random_orders_are_seeded(mmrotate: ModuleType, path: str) -> None:
    model, images = tiny(path_type=path), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        drawn = []
        for seed in (1, 2, 1):
            torch.manual_seed(seed)
            drawn.append(model.train()(images)[-1])
        assert torch.equal(drawn[0], drawn[2])
        assert not torch.equal(drawn[0], drawn[1])
        model.eval()
        assert torch.equal(model(images)[-1], model(images)[-1])
        other = tiny(path_type=path, shuffle_seed=5).eval()
        assert not torch.equal(model(images)[-1], other(images)[-1])
    # A random order that is the patches' own, and no reverse: the mean is that of one direction.
    model._orders = lambda count, index, device: [torch.arange(count)] * 2
    plain = tiny(path_type="forward")
    plain.load_state_dict({name: each for name, each in model.state_dict().items() if "gate" not in name})
    if "mean" in path:
        with torch.no_grad():
            torch.testing.assert_close(model(images)[-1], plain(images)[-1], rtol=1e-4, atol=1e-5)


def test_chosen_layers(mmrotate: ModuleType) -> None:
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        every, chosen = tiny()(images), tiny(out_indices=[0, -1])(images)
    assert len(every) == 3
    assert torch.equal(every[0], chosen[0])
    assert torch.equal(every[2], chosen[1])


def test_any_image_size(mmrotate: ModuleType) -> None:
    model = tiny(out_indices=[-1])
    with torch.no_grad():
        assert model(torch.randn(1, 3, 96, 40))[0].shape == (1, 16, 6, 3)
        images = torch.randn(1, 3, 64, 64)
        torch.testing.assert_close(  # what is added at the right and at the bottom is black
            model(images[..., :60, :50])[0], model(functional.pad(images[..., :60, :50], (0, 14, 0, 4)))[0]
        )
    grid = model.pos_embed.detach()[0].reshape(4, 4, 16)
    for height, width in ((4, 8), (7, 3)):
        expected = cv2.resize(grid.numpy(), (width, height), interpolation=cv2.INTER_CUBIC)
        found = model._positions(height, width).detach().reshape(height, width, 16)
        torch.testing.assert_close(found, torch.from_numpy(expected), rtol=1e-4, atol=1e-6)
    assert model._positions(4, 4) is model.pos_embed


def test_a_checkpoint_of_another_image_size(mmrotate: ModuleType) -> None:
    large, small = tiny(img_size=128), tiny(img_size=64)
    small.load_state_dict(large.state_dict())
    assert torch.equal(small.pos_embed, large._positions(4, 4))
    assert torch.equal(small.layers[1].A_log, large.layers[1].A_log)


@pytest.mark.parametrize("path", ["forward_reverse_mean", "forward_reverse_gate"])
def test_what_is_frozen_stays_so(mmrotate: ModuleType, path: str) -> None:
    model = tiny(path_type=path, frozen_stages=2).train().eval().train()
    learning = {name.split(".")[0] + name.partition("layers")[2][:2] for name, each in model.named_parameters()
                if each.requires_grad}  # fmt: skip
    gates = {"gate_layers.2"} if "gate" in path else set()
    assert learning == {"layers.2", "ln1"} | gates
    assert not model.layers[1].training
    assert model.layers[2].training
    before = {name: each.clone() for name, each in model.state_dict().items()}
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=1.0)
    model(torch.randn(1, 3, 64, 64))[-1].square().sum().backward()
    optimizer.step()
    changed = {name for name, each in model.state_dict().items() if not torch.equal(each, before[name])}
    assert {name.rpartition(".")[0].split(".")[0] for name in changed} <= {"layers", "ln1", "gate_layers"}
    assert all(".2." in name or name.startswith("ln1") for name in changed)
    every = tiny(frozen_stages=3).train()
    assert not any(each.requires_grad for each in every.parameters())


def test_layers_computed_again_for_gradients(mmrotate: ModuleType) -> None:
    images, found = torch.randn(1, 3, 64, 64), []
    for again in (False, True):
        model = tiny(with_cp=again, path_type="forward_reverse_shuffle_gate")
        torch.manual_seed(1)
        model(images)[-1].square().sum().backward()
        found.append([each.grad for each in model.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_nothing_draws_over_loaded_weights(mmrotate: ModuleType, tmp_path: Path) -> None:
    """RS4D's own training threw distilled position embeddings away: `init_weights` drew them once more."""
    from mmengine.runner import Runner
    from mmrotate.registry import MODELS

    trained = tiny()
    for parameter in trained.parameters():
        nn.init.constant_(parameter, 7.0)
    torch.save(
        {"state_dict": {f"module.{name}": each for name, each in trained.state_dict().items()}}, tmp_path / "b.pth"
    )
    model = MODELS.build(
        {
            "type": "mmdet.MaskRCNN", "rpn_head": None, "roi_head": None, "train_cfg": None, "test_cfg": None,
            "backbone": {
                "type": "RSMamba", "arch": TINY, "img_size": 64,
                "init_cfg": {"type": "Pretrained", "checkpoint": str(tmp_path / "b.pth")},
            },
            "neck": {
                "type": "RSFPN",
                "feature_aggregator": {"type": "RSFeatureAggregator", "in_channels": [16] * 3, "select_layers": [1]},
                "feature_spliter": {"type": "RSSimpleFPN"},
            },
        }
    )  # fmt: skip
    Runner._init_model_weights(_RunnerLike(model))
    for name, each in model.backbone.state_dict().items():
        assert (each == 7.0).all(), name
    # Weights that were loaded by hand stay, too.
    by_hand = tiny()
    by_hand.load_state_dict(trained.state_dict())
    by_hand.init_weights()
    assert all((each == 7.0).all() for each in by_hand.state_dict().values())


class _RunnerLike:
    """What mmengine's runner has when it initialises a model."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"arch": "tiny"}, "expected arch to be one of small, base"),
        ({"arch": {"layers": 2}}, "a dict with layers, inner, channels"),
        ({"path_type": "backward"}, "expected path_type to be one of forward"),
        ({"out_indices": [3]}, "expected out_indices from -3 to 2"),
        ({"frozen_stages": 4}, "expected frozen_stages from 0 to 3"),
    ],
)
def test_settings_that_do_not_fit(mmrotate: ModuleType, settings: dict[str, Any], message: str) -> None:
    from rbox_baselines._parts._rsmamba import RSMamba

    with pytest.raises(ConfigError, match=message):
        RSMamba(**{"arch": TINY, "img_size": 64, **settings})
