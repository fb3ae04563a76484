"""RSPrompter's heads: masks against transformers' decoder, losses and resizing against formulas."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rbox_baselines.errors import ConfigError
from torch import Tensor, nn
from torch.nn import functional

SAM = {"type": "SAMDecoder", "channels": 16, "heads": 2, "mlp": 32}
DICE = {"type": "mmdet.DiceLoss", "eps": 1.0}


@pytest.fixture(autouse=True)
def _mmrotate(mmrotate: ModuleType) -> None:
    pass


def mask_head(**settings: Any) -> Any:
    from mmdet.registry import MODELS

    torch.manual_seed(0)
    small = {"in_channels": 8, "out_channels": 16, "roi_feat_size": 4, "per_pointset_point": 3}
    return MODELS.build({"type": "RSPrompterMaskHead", "sam": SAM, **small, **settings})


def query_head() -> Any:
    from mmdet.registry import MODELS
    from rbox_baselines._configs import _encoders

    model = _encoders.load("rsprompter-query-sam-base").model
    head = model.panoptic_head
    head.sam = {**SAM, "masks": True}
    head.update(out_channels=16, num_queries=5, num_things_classes=3)
    head.loss_cls.class_weight = [1.0, 1, 1, 0.1]
    head.update(train_cfg={**model.train_cfg, "num_points": 400}, test_cfg=model.test_cfg)
    torch.manual_seed(0)
    found = MODELS.build({**head, "_scope_": "mmdet"})
    found.init_weights()
    return found


def sampled(objects: list[int]) -> Any:
    return SimpleNamespace(pos_priors=torch.zeros(len(objects), 4), pos_assigned_gt_inds=torch.tensor(objects).long())


def bitmaps(pixels: Tensor) -> Any:
    from mmdet.structures.mask import BitmapMasks

    return SimpleNamespace(masks=BitmapMasks(pixels.numpy().astype(np.uint8), *pixels.shape[1:]))


@pytest.mark.parametrize("sines", [True, False])
def test_tokens_of_boxes_prompt_sams_decoder(sines: bool) -> None:
    """Each box with the embedding of its own image."""
    head = mask_head(with_sincos=sines).eval()
    features, embeddings, images = torch.randn(4, 8, 4, 4), torch.randn(2, 16, 4, 4), torch.tensor([0, 0, 1, 0])
    with torch.no_grad():
        found = head(features, embeddings, torch.cat([images[:, None].float(), torch.rand(4, 4)], dim=1))
        values = head.point_emb(features).reshape(4, 3, -1)
        tokens = values[..., 0::2].sin() + values[..., 1::2] if sines else values
        assert tokens.shape == (4, 3, 16)
        for index, image in enumerate(images):
            expected, _ = head.sam.mask_decoder(
                image_embeddings=embeddings[image][None],
                image_positional_embeddings=head.sam.positions(4, 4),
                sparse_prompt_embeddings=tokens[index][None, None],
                dense_prompt_embeddings=head.sam.no_mask_embed.weight.reshape(1, 16, 1, 1).expand(1, 16, 4, 4),
                multimask_output=False,
            )
            torch.testing.assert_close(found[index], expected[0, 0, 0])


def test_boxes_themselves_prompt_sams_decoder() -> None:
    """In an image of 4 x 6 patches of 16 px; what the features are does not matter."""
    head = mask_head(prompts="boxes").eval()
    assert not hasattr(head, "point_emb")
    embeddings, rois = torch.randn(2, 16, 4, 6), torch.tensor([[0.0, 8, 16, 50, 60], [1, 0, 0, 96, 64]])
    with torch.no_grad():
        found = head(torch.randn(2, 8, 4, 4), embeddings, rois)
        expected = head.sam(embeddings, head.sam.of_boxes(rois[:, 1:], 96), torch.tensor([0, 1]))
        torch.testing.assert_close(found, expected)
        moved = rois + torch.tensor([0, 1, 1, 1, 1])
        assert not torch.equal(found[0], head(torch.randn(2, 8, 4, 4), embeddings, moved)[0])


def test_prompts_of_another_kind_are_refused() -> None:
    with pytest.raises(ConfigError, match="expected prompts to be features or boxes, got 'points'"):
        mask_head(prompts="points")


@pytest.mark.parametrize("size", [(64, 64), (60, 50)])
@pytest.mark.parametrize("chunk", [0, 2])
def test_the_loss_is_that_of_whole_masks(chunk: int, size: tuple[int, int]) -> None:
    """Of masks of the image as it is, also where the backbone has padded it."""
    head, logits = mask_head(chunk=chunk), torch.randn(5, 16, 16, requires_grad=True)
    truth = [torch.rand(2, *size) < 0.4, torch.rand(3, *size) < 0.4]
    chosen = [[1, 0, 1], [2, 2]]
    found = head.loss_and_target(logits, [sampled(each) for each in chosen], [bitmaps(each) for each in truth])
    loss = found["loss_mask"]["loss_mask"]
    loss.backward()
    gradient, logits.grad = logits.grad.clone(), None

    full = functional.interpolate(logits[None], size=(64, 64), mode="bilinear")[0, :, : size[0], : size[1]]
    targets = torch.cat([each[indices] for each, indices in zip(truth, chosen, strict=True)]).float()
    expected = -(targets * full.sigmoid().log() + (1 - targets) * (1 - full.sigmoid()).log()).mean()
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, logits.grad, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("chunk", [0, 2])
def test_the_second_loss_is_that_of_the_overlap(chunk: int) -> None:
    head, logits = mask_head(chunk=chunk, loss_dice=DICE), torch.randn(5, 16, 16)
    truth = [torch.rand(2, 64, 64) < 0.4, torch.rand(3, 64, 64) < 0.1]
    chosen = [[1, 0, 1], [2, 2]]
    found = head.loss_and_target(logits, [sampled(each) for each in chosen], [bitmaps(each) for each in truth])
    shares = functional.interpolate(logits[None], size=(64, 64), mode="bilinear")[0].sigmoid().double()
    targets = torch.cat([each[indices] for each, indices in zip(truth, chosen, strict=True)]).double()
    common, sizes = (shares * targets).sum((1, 2)), shares.square().sum((1, 2)) + targets.sum((1, 2))
    assert found["loss_mask"]["loss_dice"].item() == pytest.approx(float((1 - 2 * common / sizes).mean()), abs=2e-3)
    alone = mask_head(chunk=chunk).loss_and_target(
        logits, [sampled(each) for each in chosen], [bitmaps(each) for each in truth]
    )
    assert list(alone["loss_mask"]) == ["loss_mask"]
    assert found["loss_mask"]["loss_mask"] == alone["loss_mask"]["loss_mask"]


@pytest.mark.parametrize(
    "settings, names",
    [({}, ["loss_mask"]), ({"loss_dice": DICE}, ["loss_mask", "loss_dice"]),
     ({"prompts": "boxes"}, ["loss_mask"])],
)  # fmt: skip
def test_without_boxes_the_loss_is_zero_and_all_weights_have_a_gradient(settings: Any, names: list[str]) -> None:
    head = mask_head(**settings).train()
    logits = head(torch.zeros(0, 8, 4, 4), torch.randn(2, 16, 4, 4), torch.zeros(0, 5))
    losses = head.loss_and_target(logits, [sampled([]), sampled([])], [None, None])["loss_mask"]
    assert list(losses) == names
    loss = torch.stack(list(losses.values())).sum()
    loss.backward()
    assert loss == 0
    assert all((each.grad == 0).all() for each in head.parameters() if each.requires_grad)


@pytest.mark.parametrize("rescale", [True, False])
def test_masks_are_resized_once_to_the_image(rescale: bool) -> None:
    """Of a ramp, which interpolation leaves a ramp: an image of 50 x 90 px, seen at 40 x 72 of 64 x 80 px."""
    from rbox_baselines._parts._rsprompter import resized

    down, across = torch.meshgrid(torch.arange(16.0), torch.arange(20.0), indexing="ij")
    logits = torch.stack([4 * down + 2, 4 * across + 2])  # a pixel's centre in the image that the network saw
    found = resized(logits, 4, {"ori_shape": (50, 90), "scale_factor": (0.8, 0.8)}, rescale)
    assert found.shape == ((2, 50, 90) if rescale else (2, 40, 72))
    step = 0.8 if rescale else 1.0
    for channel, count in enumerate(found.shape[1:]):
        centres = (torch.arange(count) + 0.5) * step
        line = found[channel].select(1 - channel, 0)
        torch.testing.assert_close(line, centres.clamp(min=2), rtol=1e-4, atol=1e-4)


def test_masks_and_boxes_of_an_image(mmrotate: ModuleType) -> None:
    from mmengine.config import ConfigDict
    from mmengine.structures import InstanceData

    head = mask_head()
    logits = torch.full((1, 16, 16), -5.0)
    logits[0, 4:8, 8:16] = 5
    boxes = InstanceData(bboxes=torch.tensor([[32.0, 16, 64, 32]]), scores=torch.ones(1), labels=torch.zeros(1).long())
    none = InstanceData(bboxes=torch.zeros(0, 4), scores=torch.zeros(0), labels=torch.zeros(0).long())
    meta = {"ori_shape": (32, 32), "scale_factor": (2.0, 2.0), "img_shape": (64, 64)}
    found, empty = head.predict_by_feat(
        [logits, logits[:0]], [boxes, none], [meta, meta], ConfigDict(mask_thr_binary=0.5), rescale=True
    )
    expected = torch.zeros(32, 32, dtype=torch.bool)
    expected[8:16, 16:32] = True
    assert torch.equal(found.masks[0], expected)
    assert found.bboxes.tolist() == [[16, 8, 32, 16]]
    assert empty.masks.shape == (0, 32, 32)


def features() -> Any:
    from rbox_baselines._parts._rsprompter import Features

    torch.manual_seed(1)
    return Features([torch.randn(2, 256, side, side) for side in (16, 8, 4, 2, 1)], torch.randn(2, 16, 4, 4))


def samples(count: int = 2) -> list[Any]:
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    found = []
    for image in range(2):
        pixels = torch.zeros(count, 64, 64)
        for index in range(count):
            pixels[index, 8 * image : 30, 20 * index : 20 * index + 18] = 1
        truth = InstanceData(labels=torch.arange(count), **vars(bitmaps(pixels)))
        meta = {"ori_shape": (64, 64), "img_shape": (64, 64), "batch_input_shape": (64, 64), "scale_factor": (1.0, 1.0)}
        found.append(DetDataSample(gt_instances=truth, metainfo=meta))
    return found


def test_queries_prompt_sams_decoder_with_their_own_masks() -> None:
    head, x = query_head().eval(), features()
    with torch.no_grad():
        scores, masks = head.predict(x, samples())
        head.train()
        every_score, every_mask = head(x, samples())
        assert len(every_score) == len(every_mask) == 7
        torch.testing.assert_close(every_score[-1], scores)
        found, own = every_mask[-1]
        torch.testing.assert_close(found, masks, rtol=1e-4, atol=1e-5)
        assert found.shape == own.shape == (2, 5, 16, 16)
        prompted = []
        head._decoded = lambda _, each: prompted.append(each) or each.own
        head(x, samples())
        for image in range(2):
            expected, _ = head.sam.mask_decoder(
                image_embeddings=x.embedding[image][None].expand(5, -1, -1, -1),
                image_positional_embeddings=head.sam.positions(4, 4).expand(5, -1, -1, -1),
                sparse_prompt_embeddings=prompted[-1].tokens[image][:, None],
                dense_prompt_embeddings=head.sam.mask_embed(own[image][:, None]),
                multimask_output=False,
            )
            torch.testing.assert_close(found[image], expected[:, 0, 0], rtol=1e-4, atol=1e-5)
    assert prompted[-1].tokens.shape == (2, 5, 5, 16)


def test_both_masks_have_losses_after_each_layer() -> None:
    head = query_head().train()
    losses = head.loss(features(), samples())
    kinds = ("loss_cls", "loss_mask", "loss_dice", "loss_mask_plus", "loss_dice_plus")
    assert set(losses) == {f"{layer}{kind}" for kind in kinds for layer in ("", *(f"d{k}." for k in range(6)))}
    sum(losses.values()).backward()
    assert all(each.grad is not None and each.grad.isfinite().all() for each in head.parameters() if each.requires_grad)


def test_losses_of_a_layer_by_hand() -> None:
    """Mask2Former's own losses, twice: a mask of SAM's that is the truth costs nothing, one of the query's may cost."""
    from mmdet.models.dense_heads import Mask2FormerHead

    head, truth = query_head().train(), samples(1)
    targets = [SimpleNamespace(labels=each.gt_instances.labels, masks=_pixels(each)) for each in truth]
    scores = torch.randn(2, 5, 4)
    own = torch.randn(2, 5, 16, 16)
    own[:, 2] = torch.stack([20 * functional.avg_pool2d(each.masks.float(), 4)[0] - 10 for each in targets])
    found = own.roll(1, 1)
    found[:, 2] = own[:, 2]
    torch.manual_seed(3)
    both = head._loss_by_feat_single(scores, (found, own), targets, [each.metainfo for each in truth])
    torch.manual_seed(3)
    plain = Mask2FormerHead._loss_by_feat_single(head, scores, own, targets, [each.metainfo for each in truth])
    for index, expected in ((0, plain[0]), (3, plain[1]), (4, plain[2])):
        torch.testing.assert_close(both[index], expected)
    torch.testing.assert_close(both[1], both[3])  # the same mask, of the query that is matched
    found[:, 2] *= -1
    worse = head._loss_by_feat_single(scores, (found, own), targets, [each.metainfo for each in truth])
    assert worse[1] > 10 * both[1]
    assert worse[2] > 2 * both[2]


def _pixels(sample: Any) -> Tensor:
    return sample.gt_instances.masks.to_tensor(torch.bool, "cpu")


def test_no_object_no_mask_loss() -> None:
    losses = query_head().train().loss(features(), samples(0))
    assert losses["loss_cls"] > 0
    assert all(value == 0 for name, value in losses.items() if not name.endswith("loss_cls"))


@pytest.mark.parametrize("weight", [1, 3])
def test_feature_maps_get_the_places_of_their_pixels(weight: float) -> None:
    """As mmdet's sine encoding of the finest map, resized to the others; prompts are of the sums."""
    from mmdet.models.layers import SinePositionalEncoding
    from mmdet.registry import MODELS

    extractor = {
        "type": "mmdet.SingleRoIExtractor", "roi_layer": {"type": "RoIAlign", "output_size": 7},
        "out_channels": 256, "featmap_strides": [4],
    }  # fmt: skip
    head = MODELS.build(
        {"type": "RSPrompterRoIHead", "_scope_": "mmdet", "bbox_roi_extractor": extractor, "extra_pe_weight": weight,
         "bbox_head": {"type": "mmdet.Shared2FCBBoxHead", "in_channels": 256, "num_classes": 1}}
    )  # fmt: skip
    x = features()
    placed = head._placed(x)
    places = SinePositionalEncoding(128, normalize=True)(torch.zeros(2, 16, 16, dtype=torch.bool))
    for before, after in zip(x, placed, strict=True):
        resized = functional.interpolate(places, before.shape[2:], mode="bilinear", align_corners=False)
        expected = before + weight * resized
        torch.testing.assert_close(after, expected)
    assert placed.embedding is x.embedding
    assert isinstance(head.extra_pe, nn.Module)
    head.extra_pe = None
    assert head._placed(x) is x
