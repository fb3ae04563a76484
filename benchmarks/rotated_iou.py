"""Overlaps of rotated boxes: `box_iou_rotated` and `quad_iou` beside mmcv's compiled operator and shapely.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/rotated_iou.py [--rounds 7] [--dense 2000] [--aligned 1000000]

Prints a markdown table: all pairs of boxes spread over 1024 x 1024 px, and pairs that all overlap. The peers take turns
within each round, and a ratio is taken within a round, so that what else the machine does falls on all of them. The
slow ones get fewer pairs, named in the table. mmcv takes part where it can be imported with its compiled operators
(`MMCV_WITH_OPS=1 FORCE_CUDA=0 pip wheel --no-build-isolation mmcv==2.1.0`); it computes in float32, shapely in float64
on polygons that are made beforehand. On a GPU, with `--gpu`, the tensors lie there and the Triton kernel is timed too.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numba
import numpy as np
import shapely
from rbox_formats import rbox_to_quad
from rbox_metrics import box_iou_rotated, quad_iou

SEED = 0


@dataclass(frozen=True)
class Peer:
    """A way to compute overlaps, and how many pairs it is given."""

    name: str
    run: Callable[[], object]
    pairs: int


def spread(count: int, random: np.random.Generator) -> np.ndarray:
    """Return boxes of sides 5 to 60 px anywhere in 1024 x 1024 px."""
    places, sides = random.uniform(0, 1024, (count, 2)), random.uniform(5, 60, (count, 2))
    return np.column_stack([places, sides, random.uniform(-np.pi / 2, np.pi / 2, count)])


def overlapping(count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return pairs whose centres lie within half of the shortest side: all of them overlap."""
    first, second = spread(count, random), spread(count, random)
    reach = np.minimum(first[:, 2:4].min(axis=1), second[:, 2:4].min(axis=1)) / 2
    turn, distance = random.uniform(0, 2 * np.pi, count), random.uniform(0, 1, count) * reach
    second[:, :2] = first[:, :2] + np.stack([np.cos(turn), np.sin(turn)], axis=1) * distance[:, None]
    return first, second


def compiled_mmcv() -> Callable[..., object] | None:
    """Return the operator, or None where mmcv or what it was compiled with is missing."""
    try:
        import torch
        from mmcv.ops import box_iou_rotated as operator
    except (ImportError, ModuleNotFoundError):
        return None

    def run(first: np.ndarray, second: np.ndarray, aligned: bool) -> object:
        tensors = (torch.from_numpy(boxes.astype(np.float32)) for boxes in (first, second))
        return operator(*tensors, aligned=aligned).numpy()

    return run


def shapely_overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    common = shapely.area(shapely.intersection(first, second))
    return common / (shapely.area(first) + shapely.area(second) - common)


def on_gpu(first: np.ndarray, second: np.ndarray, aligned: bool) -> Callable[[], object]:
    import torch

    tensors = [torch.from_numpy(boxes).cuda() for boxes in (first, second)]

    def run() -> object:
        overlaps = box_iou_rotated(*tensors, aligned=aligned)
        torch.cuda.synchronize()
        return overlaps

    return run


def dense_peers(count: int, gpu: bool) -> list[Peer]:
    random = np.random.default_rng(SEED)
    first, second = spread(count, random), spread(count, random)
    few = first[: max(1, count // 4)]
    quads = rbox_to_quad(first), rbox_to_quad(second)
    peers = [
        Peer("box_iou_rotated", lambda: box_iou_rotated(first, second), count * count),
        Peer("quad_iou", lambda: quad_iou(*quads), count * count),
    ]
    if (mmcv := compiled_mmcv()) is not None:
        worst = np.abs(np.asarray(mmcv(few, second, False)) - box_iou_rotated(few, second)).max()
        print(f"greatest difference from mmcv, dense: {worst:.1e}")
        peers.append(Peer("mmcv.ops.box_iou_rotated", lambda: mmcv(few, second, False), len(few) * count))
    if gpu:
        peers.append(Peer("box_iou_rotated, on the GPU", on_gpu(first, second, False), count * count))
    return peers


def aligned_peers(count: int, gpu: bool) -> list[Peer]:
    first, second = overlapping(count, np.random.default_rng(SEED))
    quads = rbox_to_quad(first), rbox_to_quad(second)
    part = slice(0, max(1, count // 50))
    polygons = [shapely.polygons(rbox_to_quad(boxes[part])) for boxes in (first, second)]
    worst = np.abs(shapely_overlaps(*polygons) - box_iou_rotated(first[part], second[part], aligned=True)).max()
    print(f"greatest difference from shapely, aligned: {worst:.1e}")
    peers = [
        Peer("box_iou_rotated", lambda: box_iou_rotated(first, second, aligned=True), count),
        Peer("quad_iou", lambda: quad_iou(*quads, aligned=True), count),
        Peer("shapely, intersection and area", lambda: shapely_overlaps(*polygons), part.stop),
    ]
    if (mmcv := compiled_mmcv()) is not None:
        few = slice(0, max(1, count // 5))
        peers.append(Peer("mmcv.ops.box_iou_rotated", lambda: mmcv(first[few], second[few], True), few.stop))
    if gpu:
        peers.append(Peer("box_iou_rotated, on the GPU", on_gpu(first, second, True), count))
    return peers


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--dense", type=int, default=2_000, help="boxes on either side")
    parser.add_argument("--aligned", type=int, default=1_000_000, help="pairs")
    parser.add_argument("--gpu", action="store_true")
    options = parser.parse_args()

    versions = f"numpy {np.__version__}, numba {numba.__version__}, shapely {shapely.__version__}"
    print(f"{versions}, {numba.get_num_threads()} threads, {platform.processor()}")
    workloads = {
        f"dense, {options.dense:,} x {options.dense:,}": dense_peers(options.dense, options.gpu),
        f"aligned, overlapping, {options.aligned:,}": aligned_peers(options.aligned, options.gpu),
    }
    print(f"{options.rounds} rounds; rates are medians, ratios are medians of the rounds' ratios to box_iou_rotated")
    print()
    print("| workload | peer | pairs timed | time | M pairs/s | times as slow |")
    print("|---|---|---:|---:|---:|---:|")
    for workload, peers in workloads.items():
        taken: dict[str, list[float]] = {peer.name: [] for peer in peers}
        for peer in peers:
            peer.run()  # compiles, or loads what was compiled
        for _ in range(options.rounds):
            for peer in peers:
                taken[peer.name].append(seconds(peer.run) / peer.pairs)
        for peer in peers:
            each = statistics.median(taken[peer.name])
            slower = statistics.median(a / b for a, b in zip(taken[peer.name], taken[peers[0].name], strict=True))
            print(
                f"| {workload} | {peer.name} | {peer.pairs:,} | {each * peer.pairs * 1e3:.1f} ms "
                f"| {1e-6 / each:.3g} | {slower:.3g} |"
            )


if __name__ == "__main__":
    main()
