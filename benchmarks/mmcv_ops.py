"""The operators that rbox_baselines supplies beside those that mmcv compiles, forward and backward.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/mmcv_ops.py [--rounds 7] [--size 512] [--device cuda] [--only nms]

Prints a markdown table. Both sides are called as mmcv's Python files call them, ours from `rbox_baselines._ops`, mmcv's
from `mmcv._ext`, on the same tensors in the same process; within each round they take turns as to which comes first,
and a ratio is taken within a round, so that what else the machine does falls on both. It needs an environment with mmcv
2.1.0 and its compiled operators (`packages/rbox-metrics/tests/data/peers.py` says how to make it), where this workspace
need not be installed: PYTHONPATH=packages/rbox-formats/src:packages/rbox-metrics/src:packages/baselines/src. Without
them, and for what mmcv has no kernel of on that device, our own time stands alone.

Sizes follow an image of --size pixels a side: features of 256 channels at a stride of 8, boxes of 10 to 70 px all over
it, or in clusters of about 40 around objects, as a detector predicts them.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from rbox_baselines._ops import OPERATORS
from torch import Tensor

Operators = Mapping[str, Callable[..., Any]]


@dataclass(frozen=True)
class Case:
    """One call, or a few, of one operator: what of, in words, and how, of whichever operators are given."""

    name: str
    workload: str
    run: Callable[[Operators], object]


def compiled() -> Operators | None:
    """Return mmcv's own operator, or None where it has none."""
    try:
        from mmcv import _ext
    except ImportError:
        return None
    return vars(_ext)


def boxes(count: int, size: int) -> Tensor:
    """Return boxes (N, 5) all over the image."""
    sides = torch.rand(count, 2) * 60 + 10
    return torch.cat([torch.rand(count, 2) * size, sides, (torch.rand(count, 1) - 0.5) * 3.1], dim=1)


def clusters(count: int, size: int) -> Tensor:
    """Return boxes (N, 5), about forty to an object, a few pixels and degrees off."""
    objects = boxes(max(1, count // 40), size)
    found = objects[torch.randint(len(objects), (count,))]
    found[:, :2] += torch.randn(count, 2) * 4
    found[:, 2:4] *= torch.exp(torch.randn(count, 2) * 0.1)
    found[:, 4] += torch.randn(count) * 0.1
    return found


def upright(rotated: Tensor) -> Tensor:
    """Return corners (N, 4) of the boxes without their angles."""
    half = rotated[:, 2:4] / 2
    return torch.cat([rotated[:, :2] - half, rotated[:, :2] + half], dim=1)


def quads(rotated: Tensor) -> Tensor:
    """Return quads (N, 8)."""
    x, y, w, h, angle = rotated.unbind(1)
    cos, sin = angle.cos(), angle.sin()
    corners = []
    for i, j in ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)):
        corners += [x + i * w * cos - j * h * sin, y + i * w * sin + j * h * cos]
    return torch.stack(corners, dim=1)


def overlap_cases(size: int, device: str) -> Iterator[Case]:
    anchors, truths = boxes(20_000, size).to(device), boxes(50, size).to(device)
    out = torch.zeros(len(anchors) * len(truths), device=device)
    pairs = f"{len(anchors):,} x {len(truths)}"
    yield Case("box_iou_rotated", pairs, lambda ops: ops["box_iou_rotated"](anchors, truths, out, 0, False))
    few, fewer = quads(anchors[:2000]), quads(truths)
    part = torch.zeros(len(few) * len(fewer), device=device)
    yield Case("box_iou_quadri", "2,000 x 50", lambda ops: ops["box_iou_quadri"](few, fewer, part, 0, False))
    none = torch.zeros(0, dtype=torch.int, device=device)
    for kind, draw in (("spread", boxes), ("clustered", clusters)):
        for count in (2000, 8000):
            found, scores = draw(count, size).to(device), torch.rand(count, device=device)
            order, corners = scores.argsort(descending=True), upright(found)
            what = f"{count:,} {kind}"

            def rotated(ops: Operators, found: Any = found, scores: Any = scores, order: Any = order) -> object:
                return ops["nms_rotated"](found, scores, order, found[order], none, 0.1, False)

            def level(ops: Operators, corners: Any = corners, scores: Any = scores) -> object:
                return ops["nms"](corners, scores, 0.7, 0)

            yield Case("nms_rotated, 0.1", what, rotated)
            yield Case("nms, 0.7", what, level)
    four, marks = quads(clusters(2000, size)).to(device), torch.rand(2000, device=device)
    best = marks.argsort(descending=True)
    yield Case(
        "nms_quadri, 0.1", "2,000 clustered", lambda ops: ops["nms_quadri"](four, marks, best, four[best], 0.1, False)
    )


def roi_cases(size: int, device: str) -> Iterator[Case]:
    side, count = size // 8, 512
    features = torch.randn(2, 256, side, side, device=device)
    image = (torch.arange(count) % 2)[:, None].float()
    found = boxes(count, size)
    turned, level = (torch.cat([image, part], dim=1).to(device) for part in (found, upright(found)))
    out = torch.zeros(count, 256, 7, 7, device=device)
    grad, to_features, none = torch.randn_like(out), torch.zeros_like(features), torch.zeros(0, device=device)
    what = f"{count} RoIs, 7 x 7 bins, 2 x 256 x {side} x {side}"
    for samples in (0, 2):
        rotated = {"pooled_height": 7, "pooled_width": 7, "spatial_scale": 1 / 8, "sampling_ratio": samples}
        rotated |= {"aligned": True, "clockwise": True}
        straight = {"aligned_height": 7, "aligned_width": 7, "spatial_scale": 1 / 8, "sampling_ratio": samples}
        straight |= {"pool_mode": 1, "aligned": True}
        riroi = {"pooled_height": 7, "pooled_width": 7, "spatial_scale": 1 / 8, "num_samples": samples}
        riroi |= {"num_orientations": 8, "clockwise": True}
        calls: dict[str, tuple[Any, ...]] = {
            "roi_align_forward": (features, level, out, none, none, straight),
            "roi_align_backward": (grad, level, none, none, to_features, straight),
            "roi_align_rotated_forward": (features, turned, out, rotated),
            "roi_align_rotated_backward": (grad, turned, to_features, rotated),
            "riroi_align_rotated_forward": (features, turned, out, riroi),
            "riroi_align_rotated_backward": (grad, turned, to_features, riroi),
        }
        for name, (*tensors, options) in calls.items():

            def run(ops: Operators, name: str = name, tensors: Any = tensors, options: Any = options) -> object:
                return ops[name](*tensors, **options)

            yield Case(name, f"{what}, {samples or 'as many'} samples a side".replace("as many", "adaptive"), run)


def convolution_cases(size: int, device: str) -> Iterator[Case]:
    side = size // 8
    features, out = (torch.randn(1, 256, side, side, device=device) for _ in range(2))
    weight, offset = torch.randn(256, 256, 3, 3, device=device), torch.randn(1, 18, side, side, device=device)
    mask, bias = torch.rand(1, 9, side, side, device=device), torch.randn(256, device=device)
    leaves = (features, weight, bias, offset, mask)
    to_features, to_weight, to_bias, to_offset, to_mask = (torch.zeros_like(leaf) for leaf in leaves)
    grad, scratch = torch.randn_like(out), [torch.empty(0, device=device) for _ in range(2)]
    walk = {"kW": 3, "kH": 3, "dW": 1, "dH": 1, "padW": 1, "padH": 1, "dilationW": 1, "dilationH": 1}
    walk |= {"group": 1, "deformable_group": 1, "im2col_step": 1}
    steps = {"kernel_h": 3, "kernel_w": 3, "stride_h": 1, "stride_w": 1, "pad_h": 1, "pad_w": 1}
    steps |= {"dilation_h": 1, "dilation_w": 1, "group": 1, "deformable_group": 1, "with_bias": True}
    what = f"256 to 256 channels, 3 x 3, {side} x {side}"

    def backward(ops: Operators) -> None:
        ops["deform_conv_backward_input"](features, offset, grad, to_features, to_offset, weight, scratch[0], **walk)
        ops["deform_conv_backward_parameters"](features, offset, grad, to_weight, *scratch, **walk, scale=1)

    def modulated_backward(ops: Operators) -> None:
        given = (features, weight, bias, scratch[0], offset, mask, scratch[1])
        ops["modulated_deform_conv_backward"](
            *given, to_features, to_weight, to_bias, to_offset, to_mask, grad, **steps
        )

    yield Case(
        "deform_conv forward",
        what,
        lambda ops: ops["deform_conv_forward"](features, weight, offset, out, *scratch, **walk),
    )
    yield Case("deform_conv backward, of all three", what, backward)
    given = (features, weight, bias, scratch[0], offset, mask, out, scratch[1])
    yield Case("modulated_deform_conv forward", what, lambda ops: ops["modulated_deform_conv_forward"](*given, **steps))
    yield Case("modulated_deform_conv backward, of all five", what, modulated_backward)


def other_cases(size: int, device: str) -> Iterator[Case]:
    side = size // 8
    features = torch.randn(1, 256, side, side, device=device)
    found = boxes(side * side, size).view(1, side, side, 5).to(device)
    out, grad = torch.zeros_like(features), torch.randn_like(features)
    align = {"spatial_scale": 1 / 8, "points": 5}
    what = f"5 points, 256 x {side} x {side}"
    name = "rotated_feature_align"
    yield Case(f"{name}_forward", what, lambda ops: ops[f"{name}_forward"](features, found, out, **align))
    yield Case(f"{name}_backward", what, lambda ops: ops[f"{name}_backward"](grad, found, out, **align))
    filters, turned = torch.randn(32, 256, 1, 3, 3, device=device), torch.zeros(256, 256, 3, 3, device=device)
    indices = torch.stack([1 + torch.randperm(9) for _ in range(8)], dim=1).int().view(1, 3, 3, 8).to(device)
    what = "32 x 256 filters, 3 x 3, 8 turns"
    name2 = "active_rotated_filter"
    yield Case(f"{name2}_forward", what, lambda ops: ops[f"{name2}_forward"](filters, indices, turned))
    yield Case(f"{name2}_backward", what, lambda ops: ops[f"{name2}_backward"](turned, indices, filters))
    count = side * side
    points = (torch.rand(count, 1, 2) * size + torch.randn(count, 9, 2) * 15).flatten(1).to(device)
    truths = quads(boxes(50, size)).to(device)
    ious, giou = torch.zeros(count, 50, device=device), torch.zeros(500, 19, device=device)
    own = truths.repeat(10, 1)
    rectangles, inside = torch.zeros(count, 8, device=device), torch.zeros(count, 50, device=device)
    middles = points[:, :2].contiguous()
    yield Case("convex_iou", f"{count:,} x 50", lambda ops: ops["convex_iou"](points, truths, ious))
    yield Case("convex_giou", "500 pairs", lambda ops: ops["convex_giou"](points[:500], own, giou))
    yield Case("min_area_polygons", f"{count:,}", lambda ops: ops["min_area_polygons"](points, rectangles))
    yield Case(
        "points_in_polygons_forward",
        f"{count:,} x 50",
        lambda ops: ops["points_in_polygons_forward"](middles, truths, inside),
    )
    logits, target = torch.randn(20_000, 15, device=device), torch.randint(16, (20_000,), device=device)
    loss, none = torch.zeros_like(logits), torch.zeros(0, device=device)
    for part in ("forward", "backward"):

        def focal(ops: Operators, part: str = part) -> object:
            return ops[f"sigmoid_focal_loss_{part}"](logits, target, none, loss, gamma=2.0, alpha=0.25)

        yield Case(f"sigmoid_focal_loss_{part}", "20,000 x 15", focal)


def seconds(run: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measured(case: Case, peers: list[Operators], rounds: int, device: str) -> list[list[float]]:
    """Return the seconds of each peer in each round; a peer without such a kernel has none."""
    taken: list[list[float]] = [[] for _ in peers]
    able = []
    for k, peer in enumerate(peers):
        try:
            seconds(lambda peer=peer: case.run(peer), device)  # type: ignore[misc]  # also compiles, or loads
        except RuntimeError as error:
            if "implementation" not in str(error):
                raise
        else:
            able.append(k)
    for number in range(rounds):
        for k in able if number % 2 else reversed(able):
            taken[k].append(seconds(lambda k=k: case.run(peers[k]), device))  # type: ignore[misc]
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=512, help="the image's side in pixels")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--only", default="", help="operators whose name has this in it")
    options = parser.parse_args()
    torch.manual_seed(0)
    mmcv = compiled()
    peers: list[Operators] = [OPERATORS, *([] if mmcv is None else [mmcv])]
    where = torch.cuda.get_device_name() if options.device == "cuda" else platform.processor()
    beside = "no compiled mmcv" if mmcv is None else "mmcv compiled"
    print(f"torch {torch.__version__}, {beside}, {torch.get_num_threads()} threads, {where}")
    print(f"{options.rounds} rounds; times are medians, ratios are medians of the rounds' ratios")
    print()
    print("| operator | workload | ours | mmcv | times as fast |")
    print("|---|---|---:|---:|---:|")
    for cases in (overlap_cases, roi_cases, convolution_cases, other_cases):
        for case in cases(options.size, options.device):
            if options.only not in case.name:
                continue
            ours, *others = measured(case, peers, options.rounds, options.device)
            theirs = others[0] if others and others[0] else None
            cells = [case.name, case.workload, f"{statistics.median(ours) * 1e3:.3g} ms"]
            if theirs is None:
                cells += ["none", ""]
            else:
                ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
                cells += [f"{statistics.median(theirs) * 1e3:.3g} ms", f"{ratio:.3g}"]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
