"""How long suppression on one image takes with ten times the boxes, and what scoring one image with very many takes.

At the same density: ten times the boxes lie on ten times the area. Boxes are spread evenly, in clusters of fifty as
detectors answer, evenly with one of them far off (a broken one), and all over each other as no detector leaves them.
Beside `nms_rotated`, OpenCV's `dnn.NMSBoxesRotated` where it can be imported, which compares each box with all that
stay, and the greedy loop over shapely's STRtree; both with `--peers` boxes only, which is where they end.

`--evaluate` scores 100,000 detections against 10,000 truths on one image instead, a process for each protocol and
geometry: the seconds of a full report, the most memory beyond the data, and how many pairs overlap.

    python benchmarks/suppression.py
    python benchmarks/suppression.py --evaluate
"""

from __future__ import annotations

import argparse
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from rbox_formats import ImageRecord, rbox_to_quad
from rbox_metrics import box_iou_rotated, evaluate, nms_rotated, quad_iou

THRESHOLD = 0.5
NAMES = tuple("abcde")


def even(rng: np.random.Generator, count: int) -> np.ndarray:
    side = math.sqrt(count * 100)
    return rng.uniform([0, 0, 5, 5, -1.5], [side, side, 80, 80, 1.5], (count, 5))


def clusters(rng: np.random.Generator, count: int) -> np.ndarray:
    boxes = np.repeat(even(rng, count // 50) * [3, 3, 1, 1, 1], 50, axis=0)
    boxes += rng.normal(0, 1, boxes.shape) * [3, 3, 2, 2, 0.05]
    boxes[:, 2:4] = np.abs(boxes[:, 2:4])
    return boxes


def one_far_off(rng: np.random.Generator, count: int) -> np.ndarray:
    boxes = even(rng, count)
    boxes[0, :2] = 1e7
    return boxes


def heap(rng: np.random.Generator, count: int) -> np.ndarray:
    side = math.sqrt(count * 1.6)
    return rng.uniform([0, 0, 5, 5, -1.5], [side, side, 20, 20, 1.5], (count, 5))


KINDS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "even": even,
    "in clusters": clusters,
    "one far off": one_far_off,
    "a heap": heap,
}


def by_opencv(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    import cv2

    given = [((x, y), (w, h), math.degrees(angle)) for x, y, w, h, angle in boxes.tolist()]
    return np.array(cv2.dnn.NMSBoxesRotated(given, scores.tolist(), 0.0, THRESHOLD))


def by_shapely(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    import shapely

    polygons = shapely.polygons(rbox_to_quad(boxes))
    areas, tree = shapely.area(polygons), shapely.STRtree(polygons)
    gone, kept = np.zeros(len(boxes), dtype=bool), []
    for i in np.argsort(-scores, kind="stable").tolist():
        if not gone[i]:
            kept.append(i)
            others = tree.query(polygons[i])
            others = others[~gone[others]]
            common = shapely.area(shapely.intersection(polygons[i], polygons[others]))
            gone[others[common / (areas[i] + areas[others] - common) > THRESHOLD]] = True
    return np.array(kept)


def seconds(function: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds by the clock and of the processors."""
    start, busy = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - start, time.process_time() - busy


def suppression(few: int, peers: int, rounds: int) -> None:
    print(f"| boxes | {few:,} | {10 * few:,} | times | CPU {few:,} | CPU {10 * few:,} | times | stay |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, kind in KINDS.items():
        rng = np.random.default_rng(0)
        sets = [(kind(rng, count), rng.random(count)) for count in (few, 10 * few)]
        for shape in ("boxes", "quads"):
            given = [(boxes if shape == "boxes" else rbox_to_quad(boxes), scores) for boxes, scores in sets]
            taken = [[seconds(lambda a=each: nms_rotated(*a, THRESHOLD)) for each in given] for _ in range(rounds + 1)]
            small, large = (np.median([row[place] for row in taken[1:]], axis=0) for place in range(2))
            stay = len(nms_rotated(*given[1], THRESHOLD))
            times = [f"{few:.3f} s | {many:.3f} s | {many / few:.1f}" for few, many in zip(small, large, strict=True)]
            print(f"| {shape}, {name} | {' | '.join(times)} | {stay:,} |", flush=True)
    print(f"\n| peer | {peers:,} boxes | times ours | stay otherwise |\n|---|---:|---:|---:|")
    for name in ("even", "in clusters"):
        rng = np.random.default_rng(0)
        boxes, scores = KINDS[name](rng, peers), rng.random(peers)
        ours = statistics.median(seconds(lambda b=boxes, s=scores: nms_rotated(b, s, THRESHOLD))[0] for _ in range(5))
        kept = set(nms_rotated(boxes, scores, THRESHOLD).tolist())
        for title, peer in (("shapely's STRtree", by_shapely), ("cv2.dnn.NMSBoxesRotated", by_opencv)):
            try:
                start = time.perf_counter()
                theirs = set(peer(boxes, scores).tolist())
            except (ImportError, AttributeError):
                continue
            taken_by = time.perf_counter() - start
            print(f"| {title}, {name} | {taken_by:.2f} s | {taken_by / ours:.0f} | {len(kept ^ theirs)} |", flush=True)


def one_image(protocol: str, geometry: str, side: float) -> None:
    """Score 100,000 detections about 10,000 truths on an image of this size in pixels, in this process alone."""
    rng, truths, each = np.random.default_rng(0), 10_000, 10
    boxes = rng.uniform([0, 0, 8, 4, -1.5], [side, side, 40, 12, 1.5], (truths, 5))
    found = np.repeat(boxes, each, axis=0) + rng.normal(0, 1, (truths * each, 5)) * [4, 4, 2, 1, 0.1]
    found[:, 2:4] = np.abs(found[:, 2:4]) + 1
    labels = rng.integers(0, len(NAMES), truths)
    quads = [rbox_to_quad(rows) if geometry == "quad" else None for rows in (boxes, found)]
    truth = [ImageRecord("a", boxes, labels, quads[0])]
    predictions = [ImageRecord("a", found, np.repeat(labels, each), quads[1], scores=rng.random(len(found)))]
    evaluate(*([record.select(slice(100))] for (record,) in (truth, predictions)), NAMES, protocol=protocol, full=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock, busy = seconds(
        lambda: evaluate(truth, predictions, NAMES, protocol=protocol, geometry=geometry, full=True)  # type: ignore[arg-type]
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    # Of each truth with some thousand detections at a time.
    shapes = (boxes, found) if geometry == "rbox" else (quads[0], quads[1])
    overlaps = quad_iou if geometry == "quad" else box_iou_rotated
    pairs = sum(int((overlaps(part, shapes[1]) >= 0.1).sum()) for part in np.array_split(shapes[0], 100))
    print(f"| {protocol} | {geometry} | {side:,.0f} px | {clock:.2f} | {busy:.2f} | {peak / 1024:.0f} | {pairs:,} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--peers", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--evaluate", action="store_true")
    parser.add_argument("--one", nargs=3, metavar=("PROTOCOL", "GEOMETRY", "SIDE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one_image(options.one[0], options.one[1], float(options.one[2]))
    elif options.evaluate:
        print("| protocol | geometry | image | seconds | CPU | MiB beyond the data | pairs from IoU 0.1 on |")
        print("|---|---|---:|---:|---:|---:|---:|")
        for side in ("4000", "300"):
            for protocol in ("voc07", "voc", "dota", "coco", "fair1m"):
                for geometry in ("rbox", "quad"):
                    sys.stdout.flush()
                    subprocess.run([sys.executable, __file__, "--one", protocol, geometry, side], check=True)
    else:
        suppression(options.few, options.peers, options.rounds)


if __name__ == "__main__":
    main()
