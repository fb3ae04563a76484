"""Makes `operators.npz`: what the compiled operators of mmcv 2.1.0 give on the CPU, values and gradients.

It needs an environment of its own, with mmcv's operators compiled and shapely; `peers.py` of rbox-metrics says how to
make it. Then:

    python packages/baselines/tests/_ops/data/operators.py

The tests import this file too: they take the inputs from the archive, ask `RECORDED` for the same calls of mmcv.ops,
and compare. An entry of the archive is `operator|input|name` or `operator|variant|name`.

What mmcv gets wrong, or the CPU does otherwise than the GPU, is kept out: the overlaps of quads are of pairs of which
shapely says the same to 1e-5 (some others are off by up to 0.09); no overlap is within 1e-3 of a threshold that
suppresses; suppression is not by label, which the CPU forgets; no RoI is empty where the greatest sample is asked for,
which the CPU then calls -10000. RoIs of no size, and of places outside the image, are among the rest.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class Recorded:
    """A function of mmcv.ops, called in several ways with the same inputs.

    Attributes:
        inputs: Draws them.
        variants: Each way's name, and the options for `run`.
        run: Calls mmcv.ops, and gives what is to be compared.
    """

    inputs: Callable[[np.random.Generator], Inputs]
    variants: dict[str, dict[str, Any]]
    run: Callable[..., dict[str, Tensor]]


def grid(**choices: tuple[Any, ...]) -> dict[str, dict[str, Any]]:
    """All combinations, under a name of their values."""
    made = [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]
    return {",".join(f"{name}={value}" for name, value in options.items()): options for options in made}


def with_gradients(function: Callable[..., Tensor], **leaves: Tensor) -> dict[str, Tensor]:
    """What the function gives, and the gradients of a sum of it, all parts of which weigh differently."""
    own = {name: leaf.detach().clone().requires_grad_() for name, leaf in leaves.items()}
    out = function(*own.values())
    weights = torch.cos(torch.arange(out.numel(), dtype=torch.float64, device=out.device)).to(out.dtype).view_as(out)
    gradients = torch.autograd.grad((out * weights).sum(), list(own.values()))
    return {"out": out.detach(), **{f"grad_{name}": grad for name, grad in zip(own, gradients, strict=True)}}


def floats(array: np.ndarray) -> Tensor:
    """Few digits, which pack well."""
    return torch.from_numpy(np.round(array, 2).astype(np.float32))


def rotated(rng: np.random.Generator, count: int, extent: float) -> np.ndarray:
    """(N, 5), sides of 4 to 40."""
    sides = rng.uniform(4, 40, (count, 2))
    return np.c_[rng.uniform(0, extent, (count, 2)), sides, rng.uniform(-1.6, 1.6, count)]


def clear(
    draw: Callable[[], np.ndarray], overlaps: Callable[[Tensor], Tensor], thresholds: tuple[float, ...]
) -> Tensor:
    """Draws until no overlap is within 1e-3 of a threshold."""
    while True:
        boxes = floats(draw())
        found = overlaps(boxes)
        if all((found - threshold).abs().min() > 1e-3 for threshold in thresholds):
            return boxes


def scores(rng: np.random.Generator, count: int) -> Tensor:
    """All different."""
    return floats((1 + rng.permutation(count)) / (count + 1) * 0.9)


# Overlaps


def iou_inputs(rng: np.random.Generator) -> Inputs:
    first, second = floats(rotated(rng, 24, 90)), floats(rotated(rng, 18, 90))
    second[0] = first[0]
    second[1] = first[1] * torch.tensor([1, 1, 0.5, 0.5, 1])
    second[2, 2:4] = 0
    first[3:6, 4] = second[3:6, 4] = 0
    return {"first": first, "second": second}


def iou_run(ops: Any, first: Tensor, second: Tensor, aligned: bool, **options: Any) -> dict[str, Tensor]:
    return {"out": ops.box_iou_rotated(first[: len(second)] if aligned else first, second, aligned=aligned, **options)}


def sound_quads(rng: np.random.Generator, count: int, thresholds: tuple[float, ...] = ()) -> Tensor:
    """Convex quads (N, 8), drawn one after the other, such that mmcv's overlaps of all pairs are the true ones."""
    import shapely
    from mmcv.ops import box_iou_quadri

    kept: list[Tensor] = []
    while len(kept) < count:
        box = rotated(rng, 1, 70)[0]
        half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * box[2:4] / 2
        turn = np.array([[np.cos(box[4]), np.sin(box[4])], [-np.sin(box[4]), np.cos(box[4])]])
        quads = torch.stack([*kept, floats(box[:2] + half @ turn + rng.uniform(-1.5, 1.5, (4, 2))).flatten()])
        shapes = shapely.polygons(quads.double().numpy().reshape(-1, 4, 2))
        common, areas = shapely.area(shapely.intersection(shapes, shapes[-1])), shapely.area(shapes)
        true = common / (areas + areas[-1] - common)
        right = np.abs(box_iou_quadri(quads, quads[-1:])[:, 0].numpy() - true).max() < 1e-5
        convex = areas[-1] > shapely.area(shapely.convex_hull(shapes[-1])) - 1e-9
        if right and convex and all(np.abs(true - threshold).min() > 1e-3 for threshold in thresholds):
            kept.append(quads[-1])
    return torch.stack(kept)


def quad_inputs(rng: np.random.Generator) -> Inputs:
    quads = sound_quads(rng, 30)
    return {"first": quads[:17], "second": quads[17:]}


def quad_run(ops: Any, first: Tensor, second: Tensor, aligned: bool, mode: str) -> dict[str, Tensor]:
    return {"out": ops.box_iou_quadri(first[: len(second)] if aligned else first, second, aligned=aligned, mode=mode)}


def upright(rng: np.random.Generator, count: int, extent: float) -> np.ndarray:
    start = rng.uniform(0, extent, (count, 2))
    return np.c_[start, start + rng.uniform(4, 40, (count, 2))]


def upright_inputs(rng: np.random.Generator) -> Inputs:
    return {"first": floats(upright(rng, 14, 60)), "second": floats(upright(rng, 11, 60))}


def upright_run(ops: Any, first: Tensor, second: Tensor, aligned: bool, **options: Any) -> dict[str, Tensor]:
    first = first[: len(second)] if aligned else first
    return {"out": ops.bbox_overlaps(first, second, aligned=aligned, **options)}


# Suppression


def nms_inputs(rng: np.random.Generator) -> Inputs:
    from mmcv.ops import bbox_overlaps

    def overlaps(boxes: Tensor) -> Tensor:
        return torch.stack([bbox_overlaps(boxes, boxes, offset=offset) for offset in (0, 1)])

    return {"boxes": clear(lambda: upright(rng, 40, 90), overlaps, (0.2, 0.5)), "scores": scores(rng, 40)}


def nms_run(ops: Any, boxes: Tensor, scores: Tensor, **options: Any) -> dict[str, Tensor]:
    dets, kept = ops.nms(boxes, scores, **options)
    return {"dets": dets, "kept": kept}


def soft_run(ops: Any, boxes: Tensor, scores: Tensor, **options: Any) -> dict[str, Tensor]:
    dets, kept = ops.soft_nms(boxes, scores, **options)
    return {"dets": dets, "kept": kept}


def match_run(ops: Any, boxes: Tensor, scores: Tensor, iou_threshold: float) -> dict[str, Tensor]:
    groups = ops.nms_match(torch.cat([boxes, scores[:, None]], dim=1), iou_threshold)
    return {"sizes": torch.tensor([len(group) for group in groups]), "members": torch.cat(groups)}


def nms_rotated_inputs(rng: np.random.Generator) -> Inputs:
    from mmcv.ops import box_iou_rotated

    boxes = clear(lambda: rotated(rng, 40, 90), lambda boxes: box_iou_rotated(boxes, boxes), (0.1, 0.5))
    return {"boxes": boxes, "scores": scores(rng, 40)}


def nms_rotated_run(ops: Any, boxes: Tensor, scores: Tensor, **options: Any) -> dict[str, Tensor]:
    dets, kept = ops.nms_rotated(boxes, scores, **options)
    return {"dets": dets, "kept": kept}


def nms_quadri_inputs(rng: np.random.Generator) -> Inputs:
    return {"quads": sound_quads(rng, 40, (0.05, 0.2)), "scores": scores(rng, 40)}


def nms_quadri_run(ops: Any, quads: Tensor, scores: Tensor, **options: Any) -> dict[str, Tensor]:
    dets, kept = ops.nms_quadri(quads, scores, **options)
    return {"dets": dets, "kept": kept}


# Samples of features


def features(rng: np.random.Generator, *shape: int) -> Tensor:
    return floats(rng.normal(0, 1, shape))


def roi_inputs(rng: np.random.Generator) -> Inputs:
    """On maps of 80 x 112 pixels at a scale of 1/8; the second last is outside, the last of no size."""
    start = rng.uniform(-20, 90, (9, 2))
    corners = np.c_[start, start + rng.uniform(3, 60, (9, 2))]
    corners[-2:] = [[300, 300, 340, 330], [50, 40, 50, 40]]
    rois = np.c_[np.arange(9) % 2, corners]
    return {"features": features(rng, 2, 3, 10, 14), "rois": floats(rois)}


def roi_run(ops: Any, features: Tensor, rois: Tensor, sampling: int, mode: str, aligned: bool) -> dict[str, Tensor]:
    rois = rois[:-1] if mode == "max" else rois
    return with_gradients(lambda x: ops.roi_align(x, rois, (3, 2), 0.125, sampling, mode, aligned), features=features)


def rotated_roi_inputs(rng: np.random.Generator) -> Inputs:
    boxes = rotated(rng, 9, 100)
    boxes[:5, 2:4] *= 2
    boxes[-2:] = [[300, 300, 40, 20, 0.5], [50, 40, 0, 0, 0.5]]
    return {"features": features(rng, 2, 3, 10, 14), "rois": floats(np.c_[np.arange(9) % 2, boxes])}


def rotated_roi_run(
    ops: Any, features: Tensor, rois: Tensor, sampling: int, aligned: bool, clockwise: bool
) -> dict[str, Tensor]:
    return with_gradients(
        lambda x: ops.roi_align_rotated(x, rois, (3, 2), 0.125, sampling, aligned, clockwise), features=features
    )


def align_inputs(rng: np.random.Generator) -> Inputs:
    boxes = rotated(rng, 2 * 6 * 7, 60).reshape(2, 6, 7, 5)
    boxes[..., :2] -= 5
    return {"features": features(rng, 2, 3, 6, 7), "boxes": floats(boxes)}


def align_run(ops: Any, features: Tensor, boxes: Tensor, points: int) -> dict[str, Tensor]:
    return with_gradients(lambda x: ops.rotated_feature_align(x, boxes, 0.125, points), features=features)


def filter_inputs(rng: np.random.Generator) -> Inputs:
    """Filters of 4 orientations in 8 rotations, whose numbers go anywhere."""
    turns = np.stack([1 + rng.permutation(4 * 9) for _ in range(8)], axis=1).reshape(4, 3, 3, 8)
    return {"filters": features(rng, 2, 3, 4, 3, 3), "indices": torch.from_numpy(turns.astype(np.int32))}


def filter_run(ops: Any, filters: Tensor, indices: Tensor) -> dict[str, Tensor]:
    return with_gradients(lambda x: ops.active_rotated_filter(x, indices.int()), filters=filters)


# Deformed convolutions: input (2, 4, 7, 8), a kernel of 3 x 2, six outputs.

WALKS: dict[str, dict[str, Any]] = {
    "plain": {"stride": 1, "padding": 1, "dilation": 1, "groups": 1, "deform_groups": 1},
    "groups": {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2, "deform_groups": 1},
    "offset groups": {"stride": 2, "padding": 2, "dilation": 2, "groups": 1, "deform_groups": 2},
    "both": {"stride": 1, "padding": 0, "dilation": 1, "groups": 2, "deform_groups": 4},
}


def pair(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def output_size(walk: dict[str, Any]) -> tuple[int, ...]:
    sides = zip((7, 8), (3, 2), *(pair(walk[name]) for name in ("stride", "padding", "dilation")), strict=True)
    return tuple((size + 2 * pad - reach * (kernel - 1) - 1) // step + 1 for size, kernel, step, pad, reach in sides)


# Of both functions, which take them by place: torch before 2.9 takes no names.
ORDER = ("stride", "padding", "dilation", "groups", "deform_groups")


def deform_inputs(rng: np.random.Generator) -> Inputs:
    made = {"features": features(rng, 2, 4, 7, 8), "weight": features(rng, 6, 4, 3, 2), "bias": features(rng, 6)}
    for name, walk in WALKS.items():
        shape = 2, walk["deform_groups"] * 6, *output_size(walk)
        made[f"offset {name}"] = 2 * features(rng, 2, 2 * shape[1], *shape[2:])
        made[f"mask {name}"] = floats(rng.uniform(0, 1, shape))
    return made


def deform_run(ops: Any, walk: str, **inputs: Tensor) -> dict[str, Tensor]:
    options = WALKS[walk]
    walked = [options[name] for name in ORDER]
    return with_gradients(
        lambda features, offset, weight: ops.deform_conv2d(features, offset, weight, *walked),
        features=inputs["features"],
        offset=inputs[f"offset {walk}"],
        weight=inputs["weight"][:, : 4 // options["groups"]],
    )


def modulated_run(ops: Any, walk: str, with_bias: bool, **inputs: Tensor) -> dict[str, Tensor]:
    options = WALKS[walk]
    leaves = {
        "features": inputs["features"],
        "offset": inputs[f"offset {walk}"],
        "mask": inputs[f"mask {walk}"],
        "weight": inputs["weight"][:, : 4 // options["groups"]],
    }
    walked = [options[name] for name in ORDER]
    if not with_bias:
        return with_gradients(lambda *leaves: ops.modulated_deform_conv2d(*leaves, None, *walked), **leaves)
    return with_gradients(lambda *leaves: ops.modulated_deform_conv2d(*leaves, *walked), **leaves, bias=inputs["bias"])


both = (False, True)
RECORDED: dict[str, Recorded] = {
    "box_iou_rotated": Recorded(iou_inputs, grid(mode=("iou", "iof"), aligned=both, clockwise=both), iou_run),
    "box_iou_quadri": Recorded(quad_inputs, grid(mode=("iou", "iof"), aligned=both), quad_run),
    "bbox_overlaps": Recorded(upright_inputs, grid(mode=("iou", "iof"), aligned=both, offset=(0, 1)), upright_run),
    "nms": Recorded(nms_inputs, grid(iou_threshold=(0.2, 0.5), offset=(0, 1)), nms_run),
    "soft_nms": Recorded(
        nms_inputs, grid(iou_threshold=(0.2, 0.5), method=("naive", "linear", "gaussian"), offset=(0, 1)), soft_run
    ),
    "nms_match": Recorded(nms_inputs, grid(iou_threshold=(0.2, 0.5)), match_run),
    "nms_rotated": Recorded(nms_rotated_inputs, grid(iou_threshold=(0.1, 0.5), clockwise=(True,)), nms_rotated_run),
    "nms_quadri": Recorded(nms_quadri_inputs, grid(iou_threshold=(0.05, 0.2)), nms_quadri_run),
    "roi_align": Recorded(roi_inputs, grid(sampling=(0, 2), mode=("avg", "max"), aligned=both), roi_run),
    "roi_align_rotated": Recorded(
        rotated_roi_inputs, grid(sampling=(0, 2), aligned=both, clockwise=both), rotated_roi_run
    ),
    "rotated_feature_align": Recorded(align_inputs, grid(points=(1, 5)), align_run),
    "active_rotated_filter": Recorded(filter_inputs, {"": {}}, filter_run),
    "deform_conv": Recorded(deform_inputs, grid(walk=tuple(WALKS)), deform_run),
    "modulated_deform_conv": Recorded(deform_inputs, grid(walk=tuple(WALKS), with_bias=both), modulated_run),
}


def main() -> None:
    import mmcv

    mmcv.__version__ = "2.0.1"
    from mmcv import ops

    archive: dict[str, np.ndarray] = {}
    for name, recorded in RECORDED.items():
        inputs = recorded.inputs(np.random.default_rng(0))
        archive |= {f"{name}|input|{key}": value.numpy() for key, value in inputs.items()}
        for variant, options in recorded.variants.items():
            found = recorded.run(ops, **inputs, **options)
            archive |= {f"{name}|{variant}|{key}": value.numpy() for key, value in found.items()}
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **archive)


if __name__ == "__main__":
    main()
