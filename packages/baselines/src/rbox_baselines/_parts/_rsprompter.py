"""RSPrompter (Chen et al., IEEE TGRS 2024): a detector whose objects are prompts of SAM's mask decoder.

In the anchor variant, which RS4D has as well, a two-stage detector finds boxes, and the features of each box become
tokens of a prompt. In the query variant the queries of Mask2Former become tokens, and their own masks are part of the
prompt. Masks have no class. They cover the whole image, at a quarter of the stride of the image embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self

import torch
from mmcv.ops import point_sample
from mmdet.models import MaskRCNN, StandardRoIHead
from mmdet.models.dense_heads import Mask2FormerHead
from mmdet.models.detectors import Mask2Former
from mmdet.models.layers import SinePositionalEncoding
from mmdet.models.seg_heads.panoptic_fusion_heads import MaskFormerFusionHead
from mmdet.models.utils import empty_instances, get_uncertain_point_coords_with_randomness, multi_apply
from mmdet.registry import MODELS
from mmdet.utils import reduce_mean
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from rbox_baselines._parts._both import registered
from rbox_baselines.errors import ConfigError

_DECODER: Mapping[str, Any] = {"type": "SAMDecoder"}

#: The decoder's masks have this part of the stride of the image embedding.
_FINER = 4


class Features(tuple[Tensor, ...]):
    """The maps of the neck; and the image embedding (N, C, h, w), which SAM's decoder takes."""

    embedding: Tensor

    def __new__(cls, maps: Sequence[Tensor], embedding: Tensor) -> Self:
        """Take both."""
        found = super().__new__(cls, maps)
        found.embedding = embedding
        return found


class _Embedding:
    """A detector whose backbone's last map is the image embedding: SAM's own, or that of a distilled backbone."""

    def extract_feat(self, batch_inputs: Tensor) -> Features:
        """Return the maps of images (N, 3, H, W)."""
        maps = self.backbone(batch_inputs)  # type: ignore[attr-defined]
        return Features(self.neck(maps), maps[-1])  # type: ignore[attr-defined]


@registered
class RSPrompterAnchor(_Embedding, MaskRCNN):
    """Mask R-CNN whose last map of the backbone is the image embedding of SAM's decoder."""


@registered
class RSPrompterQuery(_Embedding, Mask2Former):
    """Mask2Former whose last map of the backbone is the image embedding of SAM's decoder."""


@registered
class RSPrompterRoIHead(StandardRoIHead):
    """mmdet's heads for boxes, with `RSPrompterMaskHead` for masks.

    Args:
        with_extra_pe: Whether each feature map is given the places of its pixels, as a sum with their sines.
        extra_pe_weight: What the sines are multiplied by. 1 is RSPrompter's. Most sines hardly differ between two
            places, and where a decoder of random weights learns as well, prompts learn sooner where they weigh more.
        **settings: Those of mmdet's StandardRoIHead.
    """

    def __init__(self, with_extra_pe: bool = True, extra_pe_weight: float = 1.0, **settings: Any) -> None:
        super().__init__(**settings)
        channels, self.extra_pe_weight = self.bbox_roi_extractor.out_channels, extra_pe_weight
        self.extra_pe = SinePositionalEncoding(channels // 2, normalize=True) if with_extra_pe else None

    def loss(self, x: Features, rpn_results_list: Any, batch_data_samples: Any) -> dict[str, Tensor]:
        """Return the losses of boxes and masks."""
        return super().loss(self._placed(x), rpn_results_list, batch_data_samples)

    def predict(self, x: Features, rpn_results_list: Any, batch_data_samples: Any, rescale: bool = False) -> Any:
        """Return the boxes and masks of each image."""
        return super().predict(self._placed(x), rpn_results_list, batch_data_samples, rescale=rescale)

    def _placed(self, x: Features) -> Features:
        if self.extra_pe is None:
            return x
        sines = self.extra_pe(torch.zeros(1, *x[0].shape[2:], dtype=torch.bool, device=x[0].device))
        places = self.extra_pe_weight * sines
        added = [
            each + functional.interpolate(places, each.shape[2:], mode="bilinear", align_corners=False).to(each.dtype)
            for each in x
        ]
        return Features(added, x.embedding)

    def _mask_forward(self, x: Features, rois: Tensor | None = None, **_: Any) -> dict[str, Tensor]:
        assert rois is not None  # the extractors of boxes and of masks are two
        features = self.mask_roi_extractor(x[: self.mask_roi_extractor.num_inputs], rois)
        return {"mask_preds": self.mask_head(features, x.embedding, rois), "mask_feats": features}


@registered
class RSPrompterMaskHead(BaseModule):
    """Makes a prompt of the features of each box, and a mask of it by SAM's decoder.

    The loss is computed for the whole image, some masks at once, each part once more for its gradients: memory does
    not grow with the number of objects. Predicted logits are resized once, to the image's own size.

    Args:
        sam: The decoder, `SAMDecoder`.
        in_channels: Of the features.
        out_channels: Of the decoder's prompts.
        roi_feat_size: Side of the features, an even number.
        per_pointset_point: Tokens of a prompt.
        with_sincos: Whether a token is the sum of a number and the sine of another. RS4D has it not.
        stride: Of the image embedding, in pixels.
        chunk: Masks whose loss is computed at once.
        prompts: What a prompt is made of: the "features" of a box, or the "boxes" themselves, by SAM's own prompt
            encoder. A decoder without SAM's weights learns SAM's task from boxes in a fraction of the steps; a run on
            features begins with its checkpoint then.
        loss_mask: The loss, as in mmdet's FCNMaskHead.
        loss_dice: A second one, mmdet's DiceLoss, which does not grow with the object. None, as in RSPrompter and RS4D,
            suits a decoder that SAM has taught; a decoder of random weights learns much longer that nearly all of an
            image is no object.
        init_cfg: How mmengine initialises the weights.
    """

    def __init__(
        self,
        sam: Any = _DECODER,
        in_channels: int = 256,
        out_channels: int = 256,
        roi_feat_size: int = 14,
        per_pointset_point: int = 5,
        with_sincos: bool = True,
        stride: int = 16,
        chunk: int = 16,
        prompts: Literal["features", "boxes"] = "features",
        loss_mask: Any = None,
        loss_dice: Any = None,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        self.tokens, self.with_sincos, self.stride, self.chunk = per_pointset_point, with_sincos, stride, chunk
        if prompts not in ("features", "boxes"):
            raise ConfigError(f"expected prompts to be features or boxes, got {prompts!r}")
        self.by_boxes = prompts == "boxes"
        self.sam = MODELS.build({**sam, "boxes": self.by_boxes})
        self._width = out_channels * (1 + with_sincos) * per_pointset_point
        if not self.by_boxes:
            self.point_emb = nn.Sequential(
                nn.Conv2d(in_channels, in_channels, 3, stride=2, padding=1),
                nn.BatchNorm2d(in_channels),
                nn.ReLU(inplace=True),
                nn.Flatten(),
                nn.Linear(in_channels * roi_feat_size**2 // 4, in_channels),
                nn.ReLU(inplace=True),
                nn.Linear(in_channels, in_channels),
                nn.ReLU(inplace=True),
                nn.Linear(in_channels, self._width),
            )
        self.loss_mask = MODELS.build(loss_mask or {"type": "mmdet.CrossEntropyLoss", "use_mask": True})
        self.loss_dice = None if loss_dice is None else MODELS.build(loss_dice)

    def forward(self, features: Tensor, embeddings: Tensor, rois: Tensor) -> Tensor:
        """Return the logits (N, 4 h, 4 w) of a mask for each box.

        Args:
            features: (N, in channels, S, S), of the boxes.
            embeddings: (B, out channels, h, w), of the images.
            rois: (N, 5), which image each box is of, and its left, top, right and bottom in pixels.
        """
        if self.by_boxes:
            prompts = self.sam.of_boxes(rois[:, 1:], self.stride * max(embeddings.shape[2:]))
        else:
            # A norm of no features is no number.
            values = self.point_emb(features) if len(features) else features.new_zeros(0, self._width)
            prompts = _tokens(values, self.tokens, self.with_sincos)
        return self.sam(embeddings, prompts, rois[:, 0].long())

    def loss_and_target(
        self, mask_preds: Tensor, sampling_results: Sequence[Any], batch_gt_instances: Sequence[Any], **_: Any
    ) -> dict[str, Any]:
        """Return the losses, as mmdet's FCNMaskHead does. The target is the whole mask of the object of each box.

        Args:
            mask_preds: The logits (N, 4 h, 4 w), of all images.
            sampling_results: The boxes of each image, and their objects.
            batch_gt_instances: The objects of each image, with masks.
        """
        if not len(mask_preds):
            # One loss of 0, which all weights are a part of: other processes of a run may have boxes.
            anchor = sum((each.sum() for each in self.parameters() if each.requires_grad), mask_preds.sum())
            return {"loss_mask": dict.fromkeys(self._losses(), anchor * 0)}
        counts = [len(each.pos_priors) for each in sampling_results]
        total = mask_preds.new_zeros(len(self._losses()), dtype=torch.float32)
        for logits, sampled, truth in zip(mask_preds.split(counts), sampling_results, batch_gt_instances, strict=True):
            if len(logits):
                targets = truth.masks.to_tensor(torch.uint8, logits.device)
                for part in torch.arange(len(logits), device=logits.device).split(self.chunk or len(logits)):
                    objects = sampled.pos_assigned_gt_inds[part]
                    given = (logits[part], targets, objects)
                    total = total + checkpoint(self._loss, *given, use_reentrant=False) * (len(part) / len(mask_preds))
        return {"loss_mask": dict(zip(self._losses(), total, strict=True))}

    def _losses(self) -> list[str]:
        return ["loss_mask"] if self.loss_dice is None else ["loss_mask", "loss_dice"]

    def _loss(self, logits: Tensor, targets: Tensor, objects: Tensor) -> Tensor:
        """Return each mean loss of some masks of one image; `targets` (G, H, W) are those of all its objects."""
        height, width = targets.shape[1:]
        scale = self.stride // _FINER
        full = functional.interpolate(logits[:, None].float(), scale_factor=scale, mode="bilinear", align_corners=False)
        # Images whose sides are no multiples of the stride are padded by the backbone.
        full = functional.pad(full, (0, max(0, width - full.shape[3]), 0, max(0, height - full.shape[2])))
        full, wanted = full[..., :height, :width], targets[objects].float()
        found = [self.loss_mask(full, wanted, torch.zeros_like(objects)).sum()]
        if self.loss_dice is not None:
            found.append(self.loss_dice(full.flatten(1), wanted.flatten(1)))
        return torch.stack(found)

    def predict_by_feat(
        self,
        mask_preds: Sequence[Tensor],
        results_list: Sequence[Any],
        batch_img_metas: Sequence[Mapping[str, Any]],
        rcnn_test_cfg: Any,
        rescale: bool = False,
        **_: Any,
    ) -> Sequence[Any]:
        """Add masks to the boxes of each image, as mmdet's FCNMaskHead does."""
        for logits, results, meta in zip(mask_preds, results_list, batch_img_metas, strict=True):
            if not len(results):
                empty_instances(
                    [meta],
                    results.bboxes.device,
                    task_type="mask",
                    instance_results=[results],
                    mask_thr_binary=rcnn_test_cfg.mask_thr_binary,
                )
                continue
            if rescale:
                results.bboxes = results.bboxes / results.bboxes.new_tensor(meta["scale_factor"]).repeat(2)
            parts = logits.split(self.chunk or len(logits))
            results.masks = torch.cat(
                [
                    resized(part, self.stride // _FINER, meta, rescale).sigmoid() >= rcnn_test_cfg.mask_thr_binary
                    for part in parts
                ]
            )
        return results_list


class _Prompted(NamedTuple):
    """What a layer of the query variant makes of each query: a prompt, and the logits of its own mask."""

    tokens: Tensor
    own: Tensor


@registered
class RSPrompterQueryHead(Mask2FormerHead):
    """The head of Mask2Former, whose queries are prompts of SAM's decoder.

    A query gives a class, tokens and a mask of its own, which says where the next layer looks, and is part of the
    prompt, without gradients. Queries are matched with objects by it. Both masks have losses, after each layer. The
    decoder comes after all layers, so that prediction needs it once.

    Args:
        sam: The decoder, `SAMDecoder` with masks.
        per_pointset_point: Tokens of a prompt.
        with_sincos: Whether a token is the sum of a number and the sine of another.
        **settings: Those of mmdet's Mask2FormerHead.
    """

    def __init__(self, sam: Any = None, per_pointset_point: int = 5, with_sincos: bool = True, **settings: Any) -> None:
        super().__init__(**settings)
        channels, out_channels = settings["feat_channels"], settings["out_channels"]
        self.tokens, self.with_sincos = per_pointset_point, with_sincos
        self.sam = MODELS.build(dict(sam or {**_DECODER, "masks": True}))
        self.point_emb = nn.Sequential(
            nn.Linear(channels, channels // 2),
            nn.ReLU(inplace=True),
            nn.Linear(channels // 2, channels // 2),
            nn.ReLU(inplace=True),
            nn.Linear(channels // 2, out_channels * (1 + with_sincos) * per_pointset_point),
        )
        self.cls_embed = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(inplace=True), nn.Linear(channels, self.num_classes + 1)
        )

    def init_weights(self) -> None:
        """Draw the weights of Mask2Former, and load SAM's."""
        super().init_weights()
        self.sam.init_weights()

    def forward(self, x: Features, batch_data_samples: Any) -> tuple[list[Tensor], list[tuple[Tensor, Tensor]]]:
        """Return the scores and the masks of each layer; in prediction, of the last layer alone.

        Args:
            x: The maps of the neck, with the image embedding.
            batch_data_samples: A sample for each image.

        Returns:
            The logits (B, queries, classes + 1) of each layer; for each layer the logits (B, queries, 4 h, 4 w) of
            SAM's masks and of the queries' own.
        """
        scores, prompted = super().forward(x, batch_data_samples)
        if not self.training:
            scores, prompted = scores[-1:], prompted[-1:]
        return scores, [(self._decoded(x.embedding, each), each.own) for each in prompted]

    def _forward_head(
        self, decoder_out: Tensor, mask_feature: Tensor, attn_mask_target_size: tuple[int, int]
    ) -> tuple[Tensor, _Prompted, Tensor]:
        queries = self.transformer_decoder.post_norm(decoder_out)
        own = torch.einsum("bqc,bchw->bqhw", self.mask_embed(queries), mask_feature)
        tokens = _tokens(self.point_emb(queries), self.tokens, self.with_sincos)
        hidden = functional.interpolate(own, attn_mask_target_size, mode="bilinear", align_corners=False) < 0
        hidden = hidden.flatten(2)[:, None].repeat(1, self.num_heads, 1, 1).flatten(0, 1)
        return self.cls_embed(queries), _Prompted(tokens, own), hidden.detach()

    def _decoded(self, embeddings: Tensor, prompted: _Prompted) -> Tensor:
        size = tuple(_FINER * side for side in embeddings.shape[2:])
        masks = prompted.own.detach()
        if masks.shape[2:] != size:
            masks = functional.interpolate(masks, size, mode="bilinear", align_corners=False)
        count = masks.shape[1]
        images = torch.arange(len(embeddings), device=embeddings.device).repeat_interleave(count)
        found = self.sam(embeddings, prompted.tokens.flatten(0, 1), images, masks.flatten(0, 1))
        return found.unflatten(0, (len(embeddings), count))

    def loss_by_feat(
        self,
        all_cls_scores: list[Tensor],
        all_mask_preds: list[tuple[Tensor, Tensor]],
        batch_gt_instances: list[Any],
        batch_img_metas: list[dict[str, Any]],
    ) -> dict[str, Tensor]:
        """Return the losses of all layers, named as by Mask2Former; those of the queries' own masks end in _plus."""
        repeated = ([each] * len(all_cls_scores) for each in (batch_gt_instances, batch_img_metas))
        losses = multi_apply(self._loss_by_feat_single, all_cls_scores, all_mask_preds, *repeated)
        names = ("loss_cls", "loss_mask", "loss_dice", "loss_mask_plus", "loss_dice_plus")
        last = len(all_cls_scores) - 1
        return {
            name if layer == last else f"d{layer}.{name}": value
            for name, values in zip(names, losses, strict=True)
            for layer, value in enumerate(values)
        }

    def _loss_by_feat_single(
        self,
        cls_scores: Tensor,
        mask_preds: tuple[Tensor, Tensor],
        batch_gt_instances: list[Any],
        batch_img_metas: list[dict[str, Any]],
    ) -> tuple[Tensor, ...]:
        # In float32: the number of points of all masks is beyond half precision.
        cls_scores, found, own = cls_scores.float(), *(each.float() for each in mask_preds)
        labels, label_weights, targets, weights, count = self.get_targets(
            list(cls_scores), list(own), batch_gt_instances, batch_img_metas
        )
        labels, chosen = torch.stack(labels).flatten(), torch.stack(weights) > 0
        class_weight = cls_scores.new_tensor(self.class_weight)
        loss_cls = self.loss_cls(
            cls_scores.flatten(0, 1),
            labels,
            torch.stack(label_weights).flatten(),
            avg_factor=class_weight[labels].sum(),
        )
        total = reduce_mean(cls_scores.new_tensor([count])).clamp(min=1)
        found, own, target = found[chosen][:, None], own[chosen][:, None], torch.cat(targets)[:, None].float()
        if not len(target):
            return loss_cls, found.sum(), found.sum(), own.sum(), own.sum()
        with torch.no_grad():
            points = get_uncertain_point_coords_with_randomness(
                found, None, self.num_points, self.oversample_ratio, self.importance_sample_ratio
            )
            wanted = point_sample(target, points)[:, 0]
        losses = []
        for masks in (found, own):
            given = point_sample(masks, points)[:, 0]
            losses += [
                self.loss_mask(given.flatten(), wanted.flatten(), avg_factor=total * self.num_points),
                self.loss_dice(given, wanted, avg_factor=total),
            ]
        return loss_cls, *losses

    def predict(self, x: Features, batch_data_samples: Any) -> tuple[Tensor, Tensor]:
        """Return the scores and SAM's masks of the last layer, for `RSPrompterFusionHead`."""
        scores, masks = self(x, batch_data_samples)
        return scores[-1], masks[-1][0]


@registered
class RSPrompterFusionHead(MaskFormerFusionHead):
    """Makes instances of queries as mmdet's MaskFormerFusionHead does; masks are resized once, to the image's own size.

    Args:
        stride: Of the image embedding, in pixels.
        **settings: Those of mmdet's MaskFormerFusionHead.
    """

    def __init__(self, stride: int = 16, **settings: Any) -> None:
        super().__init__(**settings)
        self.stride = stride

    def predict(
        self,
        mask_cls_results: Tensor,
        mask_pred_results: Tensor,
        batch_data_samples: Sequence[Any],
        rescale: bool = False,
        **_: Any,
    ) -> list[dict[str, Any]]:
        """Return the instances of each image, from logits of classes and masks."""
        return [
            {
                "ins_results": self.instance_postprocess(
                    scores, resized(masks, self.stride // _FINER, sample.metainfo, rescale)
                )
            }
            for scores, masks, sample in zip(mask_cls_results, mask_pred_results, batch_data_samples, strict=True)
        ]


def _tokens(values: Tensor, count: int, with_sincos: bool) -> Tensor:
    """Return prompts (..., count, channels) of (..., count * channels), or twice as many for the sines."""
    found = values.unflatten(-1, (count, -1))
    return torch.sin(found[..., ::2]) + found[..., 1::2] if with_sincos else found


def resized(logits: Tensor, stride: int, meta: Mapping[str, Any], rescale: bool) -> Tensor:
    """Return logits (N, H, W) for the pixels of an image, interpolated once.

    Args:
        logits: (N, h, w), of the image as the network saw it: scaled, and padded at the right and at the bottom.
        stride: Of `logits`, in pixels of that image.
        meta: `ori_shape` and `scale_factor` of the image.
        rescale: Whether the image itself is meant. Else the scaled one.
    """
    height, width = meta["ori_shape"][:2]
    across, down = meta["scale_factor"]
    seen = round(height * down), round(width * across)
    size = (height, width) if rescale else seen
    centres = [
        (torch.arange(count, device=logits.device, dtype=torch.float32) + 0.5) / count * part * 2 / (stride * whole) - 1
        for count, part, whole in zip(size, seen, logits.shape[1:], strict=True)
    ]
    grid = torch.stack(torch.meshgrid(centres[1], centres[0], indexing="xy"), dim=-1)
    found = functional.grid_sample(logits[None].float(), grid[None], padding_mode="border", align_corners=False)
    return found[0]
