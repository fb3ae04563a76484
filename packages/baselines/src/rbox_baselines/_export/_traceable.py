"""mmdet's and MMRotate's steps after the network, made to be traced: the same values, without a branch on any.

Where they look how many boxes are left, a trace would follow one of the two ways and keep that for every image.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional

from rbox_baselines._export import _operators  # noqa: F401  # registers rbox::NAME
from rbox_baselines.errors import ExportError


class Found:
    """The boxes of an image: what `InstanceData` is, which counts its rows, and so cannot be traced."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


def filter_scores_and_topk(scores: Tensor, score_thr: float, topk: int, results: Any = None) -> Any:
    """Return the best pairs of a box and a class, also those below the threshold, which go later."""
    classes = scores.shape[1]
    flat = scores.flatten()
    values, places = flat.topk(torch.sym_min(topk, flat.shape[0]) if topk > 0 else flat.shape[0])
    rows, labels = places // classes, places % classes
    if isinstance(results, dict):
        results = {name: value[rows] for name, value in results.items()}
    elif isinstance(results, list):
        results = [value[rows] for value in results]
    elif results is not None:
        results = results[rows]
    return values, labels, rows, results


class Steps:
    """The replacements that know whether the last boxes are suppressed."""

    def __init__(self, nms: bool) -> None:
        self.nms = nms

    def dense(
        self, head: Any, results: Any, cfg: Any, rescale: bool = False, with_nms: bool = True, img_meta: Any = None
    ) -> Found:
        """Stand for `BaseDenseHead._bbox_post_process`: what is above the threshold."""
        boxes, scores, labels = tensor_of(results.bboxes), results.scores, results.labels
        kept = scores > cfg.get("score_thr", 0)
        if cfg.get("min_bbox_size", -1) >= 0:
            kept = kept & (sides_of(boxes) > cfg.min_bbox_size).all(dim=1)
        if hasattr(results, "score_factors"):
            scores = scores * results.score_factors
        return Found(**self.last(boxes[kept], scores[kept], labels[kept], cfg.nms, cfg.max_per_img))

    def multiclass(
        self, multi_bboxes: Tensor, multi_scores: Tensor, score_thr: float, nms_cfg: Any, max_num: int, box_dim: int
    ) -> tuple[Tensor, Tensor]:
        """Stand for `multiclass_nms`: the pairs of a box and a class above the threshold, a last column for scores."""
        scores = multi_scores[:, :-1]
        rows, labels = (scores > score_thr).nonzero().unbind(1)
        boxes = multi_bboxes.view(multi_bboxes.shape[0], -1, box_dim)
        boxes = boxes[rows, labels] if boxes.shape[1] > 1 else boxes[rows, 0]
        found = self.last(boxes, scores[rows, labels], labels, nms_cfg, max_num)
        return torch.cat([found["bboxes"], found["scores"][:, None]], dim=1), found["labels"]

    def last(self, boxes: Tensor, scores: Tensor, labels: Tensor, nms: Any, most: int) -> dict[str, Tensor]:
        """Suppress the last boxes, where that is wanted."""
        if self.nms:
            keep = torch.ops.rbox.nms_rotated(boxes, scores, labels, float(nms.iou_threshold), int(most))
            boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
        return {"bboxes": boxes, "scores": scores, "labels": labels}


def proposals(
    head: Any,
    cls_score_list: Any,
    bbox_pred_list: Any,
    score_factor_list: Any,
    mlvl_priors: Any,
    img_meta: Any,
    cfg: Any,
    rescale: bool = False,
    with_nms: bool = True,
) -> Found:
    """Stand for `RPNHead._predict_by_feat_single`: the best of each level, suppressed among themselves."""
    from mmdet.structures.bbox import cat_boxes

    cfg = cfg or head.test_cfg
    scores, deltas, priors, levels = [], [], [], []
    for level, (score, delta, prior) in enumerate(zip(cls_score_list, bbox_pred_list, mlvl_priors, strict=True)):
        score = score.permute(1, 2, 0).reshape(-1, head.cls_out_channels)
        score = (score.sigmoid() if head.use_sigmoid_cls else score.softmax(-1)[:, :-1])[:, 0]
        values, places = score.topk(torch.sym_min(cfg.nms_pre, score.shape[0]))
        scores.append(values)
        deltas.append(delta.permute(1, 2, 0).reshape(-1, head.bbox_coder.encode_size)[places])
        priors.append(prior[places])
        levels.append(torch.full_like(places, level))
    boxes = tensor_of(head.bbox_coder.decode(cat_boxes(priors), torch.cat(deltas), max_shape=img_meta["img_shape"]))
    upright = upright_of(boxes)
    keep = torch.ops.rbox.nms(
        upright, torch.cat(scores), torch.cat(levels), float(cfg.nms.iou_threshold), cfg.max_per_img
    )
    # There is always a best one; what follows need not look.
    torch._check(keep.shape[0] > 0)
    return Found(bboxes=boxes[keep], scores=torch.cat(scores)[keep])


def of_proposals(
    head: Any, x: Any, batch_img_metas: Any, rpn_results_list: Any, rcnn_test_cfg: Any, rescale: bool = False
) -> list[Any]:
    """Stand for `StandardRoIHead.predict_bbox`, for one image."""
    boxes = rpn_results_list[0].bboxes
    rois = torch.cat([boxes.new_zeros((boxes.shape[0], 1)), boxes], dim=1)
    found = head._bbox_forward(x, rois)
    return [
        head.bbox_head._predict_by_feat_single(
            roi=rois,
            cls_score=found["cls_score"],
            bbox_pred=found["bbox_pred"],
            img_meta=batch_img_metas[0],
            rcnn_test_cfg=rcnn_test_cfg,
        )
    ]


def extracted(extractor: Any, feats: Any, rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
    """Stand for the extractors' `forward`: each RoI's features from the level of its size."""
    levels = extractor.map_roi_levels(rois, len(feats))
    if roi_scale_factor is not None:
        rois = extractor.roi_rescale(rois, roi_scale_factor)
    pooled = feats[0].new_zeros((rois.shape[0], feats[0].shape[1], *extractor.roi_layers[0].output_size))
    for level, (layer, features) in enumerate(zip(extractor.roi_layers, feats, strict=True)):
        index = (levels == level).nonzero()[:, 0]
        pooled = pooled.index_put((index,), layer(features, rois[index]))
    return pooled


def aligned(layer: Any, features: Tensor, rois: Tensor) -> Tensor:
    """Stand for `RoIAlign.forward`."""
    size = [int(side) for side in layer.output_size]
    return torch.ops.rbox.roi_align(
        features, rois, size, float(layer.spatial_scale), int(layer.sampling_ratio), bool(layer.aligned)
    )


def aligned_rotated(layer: Any, features: Tensor, rois: Tensor) -> Tensor:
    """Stand for `RoIAlignRotated.forward`, for one image: samples on one grid over all bins, then the mean of each bin.

    Raises:
        ExportError: If the number of samples depends on the size of the RoI.
    """
    samples, scale = layer.sampling_ratio, layer.spatial_scale
    if samples <= 0:
        raise ExportError("expected RoIAlignRotated with a fixed number of samples, got sampling_ratio=0")
    down, across = layer.output_size
    height, width = features.shape[2:]
    centre, sides = rois[:, 1:3] * scale - (0.5 if layer.aligned else 0.0), rois[:, 3:5] * scale
    sides = sides if layer.aligned else sides.clamp(min=1)
    angle = -rois[:, 5] if layer.clockwise else rois[:, 5]
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]

    def places(bins: int, side: Tensor) -> Tensor:
        steps = (torch.arange(bins * samples, device=rois.device) + 0.5) / (bins * samples) - 0.5
        return steps * side[:, None]

    y, x = places(down, sides[:, 1])[:, :, None], places(across, sides[:, 0])[:, None, :]
    y, x = y * cos - x * sin + centre[:, 1, None, None], y * sin + x * cos + centre[:, 0, None, None]
    # Up to a pixel outside the map its border is read, further out there is nothing.
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    grid = torch.stack([x / (width - 1) * 2 - 1, y / (height - 1) * 2 - 1], dim=-1)
    read = functional.grid_sample(
        features, grid.flatten(0, 1)[None], mode="bilinear", padding_mode="border", align_corners=True
    )
    read = read[0].unflatten(1, (-1, down * samples)).transpose(0, 1) * inside[:, None]
    return functional.avg_pool2d(read, samples)


def of_rectangles(corners: Tensor) -> Tensor:
    """Stand for `qbox2rbox` where the quads (..., 8) are rectangles, as MidpointOffsetCoder makes them: (..., 5)."""
    points = corners.unflatten(-1, (4, 2))
    first, second = points[..., 1, :] - points[..., 0, :], points[..., 2, :] - points[..., 1, :]
    angle = torch.atan2(first[..., 1], first[..., 0])
    sides = torch.stack([first.norm(dim=-1), second.norm(dim=-1), angle], dim=-1)
    return torch.cat([points.mean(dim=-2), sides], dim=-1)


def tensor_of(boxes: Any) -> Tensor:
    """Return the tensor of boxes of mmdet's or MMRotate's kind, or of none."""
    return getattr(boxes, "tensor", boxes)


def upright_of(boxes: Tensor) -> Tensor:
    """Return the upright boxes (N, 4) around rotated ones (N, 5); upright ones unchanged."""
    if boxes.shape[1] == 4:
        return boxes
    centre, sides, angle = boxes[:, :2], boxes[:, 2:4] / 2, boxes[:, 4:]
    cos, sin = angle.cos().abs(), angle.sin().abs()
    half = torch.cat([cos, sin], dim=1) * sides[:, :1] + torch.cat([sin, cos], dim=1) * sides[:, 1:]
    return torch.cat([centre - half, centre + half], dim=1)


def sides_of(boxes: Tensor) -> Tensor:
    """Return width and height (N, 2) of boxes (N, 5), or of upright ones (N, 4) as corners."""
    return boxes[:, 2:4] if boxes.shape[1] == 5 else boxes[:, 2:] - boxes[:, :2]


@contextmanager
def traceable(nms: bool) -> Iterator[None]:
    """Put the replacements in their places for the block.

    Args:
        nms: Whether the last boxes are suppressed.
    """
    import mmcv.ops
    from mmdet.models.dense_heads import RPNHead
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
    from mmdet.models.detectors.base import BaseDetector
    from mmdet.models.layers import multiclass_nms
    from mmdet.models.roi_heads import StandardRoIHead
    from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
    from mmdet.models.utils import misc
    from mmengine.structures import InstanceData
    from mmrotate.models.roi_heads import RotatedSingleRoIExtractor
    from mmrotate.models.task_modules.coders import delta_midpointoffset_rbbox_coder

    steps = Steps(nms)
    # Methods are looked up on classes, so that each is a function here.
    places = [
        (BaseDenseHead, "_bbox_post_process", lambda *a, **k: steps.dense(*a, **k)),
        (BaseDetector, "add_pred_to_datasample", lambda self, samples, found: found),
        (RPNHead, "_predict_by_feat_single", proposals),
        (StandardRoIHead, "predict_bbox", of_proposals),
        (SingleRoIExtractor, "forward", extracted),
        (RotatedSingleRoIExtractor, "forward", extracted),
        (mmcv.ops.RoIAlign, "forward", aligned),
        (mmcv.ops.RoIAlignRotated, "forward", aligned_rotated),
        (delta_midpointoffset_rbbox_coder, "qbox2rbox", of_rectangles),
        *_uses(misc.filter_scores_and_topk, filter_scores_and_topk),
        *_uses(multiclass_nms, lambda *a, **k: steps.multiclass(*a, **k)),
        *_uses(InstanceData, Found),
    ]
    with ExitStack() as stack:
        for owner, name, other in places:
            stack.enter_context(patch.object(owner, name, other))
        yield


def _uses(wanted: Any, other: Any) -> Iterator[tuple[Any, str, Any]]:
    """Yield every module of models that has imported something by its name, with that name and a replacement."""
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith(("mmdet.models", "mmrotate.models")):
            yield from ((module, name, other) for name, value in vars(module).items() if value is wanted)
