"""Non-maximum suppression of upright and rotated boxes, and of quads.

Boxes go one after the other, which is the CPU's work: tensors on a GPU are fetched.
"""

from __future__ import annotations

import math

import rbox_metrics
import torch
from torch import Tensor

from rbox_baselines._ops._check import expect
from rbox_baselines._ops._overlaps import sound_boxes, sound_quads, upright_boxes

# Pairs that are looked at in one go.
_PAIRS_AT_A_TIME = 2**24

# mmcv's methods of soft suppression.
_NAIVE, _LINEAR, _GAUSSIAN = range(3)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Return the indices (K,) of the upright boxes (N, 4) that stay, best first. An IoU at the threshold may stay."""
    return staying(upright_boxes(boxes, offset, "nms"), scores, iou_threshold, None).to(boxes.device)


def nms_rotated(
    dets: Tensor,
    scores: Tensor,
    order: Tensor,
    dets_sorted: Tensor,
    labels: Tensor,
    iou_threshold: float,
    multi_label: bool | int,
) -> Tensor:
    """Return the indices (K,) of the rotated boxes that stay, best first.

    An IoU equal to the threshold stays, as on mmcv's GPU path (its CPU path suppresses it). Where `multi_label`, boxes
    suppress those of their own label only, as mmcv documents it: its kernels, on the GPU too, do not compare labels.

    Args:
        dets: (N, 5), with the label as a sixth column where `multi_label`.
        scores: (N,).
        order: Unused: the indices by falling score.
        dets_sorted: Unused: `dets` in that order.
        labels: (N,) where `multi_label`, else empty.
        iou_threshold: From 0 to 1.
        multi_label: Whether there are labels.
    """
    boxes = sound_boxes(dets[:, :5], "nms_rotated")
    return staying(boxes, scores, iou_threshold, labels if multi_label else None).to(dets.device)


def nms_quadri(
    dets: Tensor, scores: Tensor, order: Tensor, dets_sorted: Tensor, iou_threshold: float, multi_label: bool | int
) -> Tensor:
    """Return the indices (K,) of the quads that stay, best first: `nms_rotated`, with the label as a ninth column."""
    quads = sound_quads(dets[:, :8], "nms_quadri")
    return staying(quads, scores, iou_threshold, dets[:, 8] if multi_label else None).to(dets.device)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Suppress upright boxes softly, as `rbox_metrics.soft_nms_rotated` does; the best box always stays.

    Args:
        boxes: (N, 4).
        scores: (N,).
        dets: (N, 5), written to: the boxes that stay, each with its new score.
        iou_threshold: From this IoU on a box loses score (methods 0 and 1).
        sigma: Width of the Gaussian (method 2).
        min_score: A box whose score is or falls below it goes.
        method: 0 takes all of the score, 1 the share of the overlap, 2 by a Gaussian of it.
        offset: 0, or 1 where the last pixel belongs to the box.

    Returns:
        (K,) the indices of those that stay, in the order in which they were picked.
    """
    expect(method in (_NAIVE, _LINEAR, _GAUSSIAN), "softnms", "method 0, 1 or 2", method)
    if len(boxes) == 0:
        return torch.zeros(0, dtype=torch.long, device=boxes.device)
    flat = upright_boxes(boxes, offset, "softnms")
    best = scores.argmax()
    if method == _NAIVE:
        kept = staying(flat, scores, _just_below(iou_threshold), None)
        lowered = scores[kept]
        if min_score <= 0:
            # A score of nothing is not below it.
            gone = torch.ones(len(boxes), dtype=torch.bool).index_fill(0, kept, False).nonzero().squeeze(1)
            kept, lowered = torch.cat([kept, gone]), torch.cat([lowered, torch.zeros_like(scores[gone])])
        enough = lowered >= min_score
        kept, lowered = kept[enough], lowered[enough]
    else:
        kept, lowered = rbox_metrics.soft_nms_rotated(
            flat,
            scores.detach().to(torch.float64).nan_to_num(0.0).clamp(min=0),
            method="linear" if method == _LINEAR else "gaussian",
            iou_threshold=float(iou_threshold),
            sigma=float(sigma),
            score_threshold=float(min_score),
        )
    if len(kept) == 0:
        kept, lowered = best[None], scores[best][None]
    dets[: len(kept), :4] = boxes[kept].to(dets)
    dets[: len(kept), 4] = lowered.to(dets)
    return kept.to(boxes.device)


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Group upright boxes: those that stay, each with those that it suppresses, all by falling score.

    Args:
        dets: (N, 5), boxes and scores.
        iou_threshold: From this IoU on a box goes.
    """
    expect(dets.ndim == 2 and dets.shape[1] == 5, "nms_match", "dets of shape (N, 5)", tuple(dets.shape))
    flat = upright_boxes(dets[:, :4], 0, "nms_match")
    best_first = _best_first(dets[:, 4])
    ranked = flat[best_first]
    kept = staying(ranked, -torch.arange(len(flat)), _just_below(iou_threshold), None)
    suppressor = torch.arange(len(flat))
    if len(kept):
        better = ranked[kept].cpu().numpy()
        others = torch.ones(len(flat), dtype=torch.bool).index_fill(0, kept, False).nonzero().squeeze(1)
        for part in others.split(max(1, _PAIRS_AT_A_TIME // len(kept))):
            overlaps = torch.from_numpy(rbox_metrics.box_iou_rotated(ranked[part].cpu().numpy(), better))
            # The first that stays and overlaps enough is the one that suppressed it.
            suppressor[part] = kept[(overlaps >= iou_threshold).to(torch.uint8).argmax(dim=1)]
    by_group = suppressor.argsort(stable=True)
    sizes = torch.bincount(suppressor, minlength=len(flat))[kept].tolist()
    return [group.tolist() for group in best_first.cpu()[by_group].split(sizes)]


def _best_first(scores: Tensor) -> Tensor:
    """Return the indices by falling score, equal ones in the order of the input; NaN comes first, as torch sorts."""
    return scores.detach().sort(descending=True, stable=True).indices


def staying(shapes: Tensor, scores: Tensor, iou_threshold: float, labels: Tensor | None) -> Tensor:
    """Call `rbox_metrics.nms_rotated` for boxes or quads with any scores, by their order."""
    rank = torch.empty(len(shapes), dtype=torch.float64)
    rank[_best_first(scores.detach().cpu())] = torch.arange(len(shapes), 0, -1, dtype=torch.float64)
    groups = None if labels is None else labels.detach().cpu().to(torch.long)
    return rbox_metrics.nms_rotated(shapes.cpu(), rank, float(iou_threshold), groups)


def _just_below(threshold: float) -> float:
    """Lower a threshold so that an IoU equal to it suppresses: mmcv compares in both ways."""
    return max(math.nextafter(float(threshold), 0.0), 0.0)
