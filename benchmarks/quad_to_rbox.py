"""Rotated rectangles of least area around quads: `rbox_formats.quad_to_rbox` beside a loop over `cv2.minAreaRect`.

    python benchmarks/quad_to_rbox.py [--counts 100 100000] [--rounds 15]

Prints a markdown table. The peers take turns within each round, and a ratio is taken within a round, so that what else
the machine does falls on all of them. OpenCV gets its quads as contiguous float32, which it works in; shapely
(`oriented_envelope`, GEOS) gets polygons that are made beforehand and gives polygons back.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
import shapely
from rbox_formats import quad_to_rbox, rbox_area, rbox_to_quad

SEED = 0


def annotated(count: int) -> np.ndarray:
    """Return rectangles of 5 to 100 px with corners displaced by about 5 % of the shorter side, as people draw them."""
    random = np.random.default_rng(SEED)
    sizes = random.uniform(5, 100, (count, 2))
    places, angles = random.uniform(0, 4000, (count, 2)), random.uniform(-1.5, 1.5, count)
    quads = rbox_to_quad(np.column_stack([places, sizes, angles]))
    return quads + random.normal(0, 0.05, quads.shape) * sizes.min(axis=1)[:, None, None]


def scattered(count: int) -> np.ndarray:
    """Return quads of four corners anywhere in a square of 100 px: most are concave or cross themselves."""
    random = np.random.default_rng(SEED)
    return random.uniform(0, 4000, (count, 1, 2)) + random.uniform(0, 100, (count, 4, 2))


def seconds(function: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        function()
    return (time.perf_counter() - start) / repeats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 100_000])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()

    print(f"numpy {np.__version__}, OpenCV {cv2.__version__}, shapely {shapely.__version__}, {platform.processor()}")
    print(
        f"{options.rounds} rounds; times are medians, ratios are medians of the rounds' ratios to the loop over OpenCV"
    )
    print()
    print("| quads | N | peer | time | per quad | times the loop's speed |")
    print("|---|---:|---|---:|---:|---:|")
    for kind in (annotated, scattered):
        for count in options.counts:
            quads = kind(count)
            single = np.ascontiguousarray(quads, dtype=np.float32)
            polygons = shapely.polygons(quads)
            peers = {
                "loop over cv2.minAreaRect, float32": lambda quads=single: [cv2.minAreaRect(quad) for quad in quads],
                "quad_to_rbox, numpy float64": lambda quads=quads: quad_to_rbox(quads),
                "quad_to_rbox, numpy float32": lambda quads=single: quad_to_rbox(quads),
                "shapely.oriented_envelope": lambda polygons=polygons: shapely.oriented_envelope(polygons),
            }
            loop, *_ = peers
            theirs = np.array([cv2.minAreaRect(quad)[1] for quad in single], dtype=np.float64).prod(axis=1)
            worst = np.abs(rbox_area(quad_to_rbox(single.astype(np.float64))) / theirs - 1).max()
            if worst > 1e-4:
                raise SystemExit(f"expected OpenCV's areas to 1e-4, got a difference of {worst:.1e} ({kind.__name__})")

            repeats = max(1, 20_000 // count)
            times: dict[str, list[float]] = {name: [] for name in peers}
            for _ in range(options.rounds):
                for name, peer in peers.items():
                    # The slow one in fewer repeats: it would only lengthen the rounds.
                    times[name].append(seconds(peer, max(1, repeats // 10) if "shapely" in name else repeats))
            for name, taken in times.items():
                ratio = statistics.median(a / b for a, b in zip(times[loop], taken, strict=True))
                time_taken = statistics.median(taken)
                print(
                    f"| {kind.__name__} | {count:,} | {name} | {time_taken * 1e3:.3f} ms "
                    f"| {time_taken / count * 1e9:.0f} ns | {ratio:.2f} |"
                )


if __name__ == "__main__":
    main()
