"""How long it takes to score 228,864 detections on 458 images, beside MMRotate, and how that grows with the data.

The data are those of `_detections.py`. Where mmrotate and a compiled mmcv can be imported (see
packages/rbox-metrics/tests/fixtures/make_peers.py for how to come by them), MMRotate's `eval_rbbox_map` takes turns
with ours; the median of each counts. `--large` scores 10,000,000 detections against 1,000,000 truths instead.

    python benchmarks/evaluation.py
    python benchmarks/evaluation.py --large
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import _mmrotate
import numpy as np
from _detections import CLASSES, Detections, draw
from rbox_metrics import evaluate, from_arrays, sweep_scores

THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())


def flat(data: Detections) -> tuple:
    return (
        from_arrays(data.truths, data.truth_labels, data.truth_images),
        from_arrays(data.boxes, data.labels, data.image_index, data.scores),
        CLASSES,
    )


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def medians(functions: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return medians of rounds in turn; the first round, in which kernels are loaded, does not count."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds + 1):
        for name, function in functions.items():
            times[name].append(seconds(function))
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def mmrotate(data: Detections) -> Callable[[], float] | None:
    """Run `eval_rbbox_map` at IoU 0.5 with two processes, on the same data; None where it is not installed."""
    if _mmrotate.eval_rbbox_map is None:
        return None
    results, annotations = [], []
    for image in range(data.images):
        own = slice(*np.searchsorted(data.image_index, [image, image + 1]))
        rows = np.column_stack([data.boxes[own], data.scores[own]]).astype(np.float32)
        results.append([rows[data.labels[own] == label] for label in range(len(CLASSES))])
        own = slice(*np.searchsorted(data.truth_images, [image, image + 1]))
        annotations.append(
            {
                "bboxes": data.truths[own].astype(np.float32),
                "labels": data.truth_labels[own],
                "bboxes_ignore": np.zeros((0, 5), np.float32),
                "labels_ignore": np.zeros(0, np.int64),
            }
        )
    settings = {"iou_thr": 0.5, "use_07_metric": True, "logger": "silent", "nproc": 2}
    return lambda: _mmrotate.eval_rbbox_map(results, annotations, **settings)[0]


def peak() -> float:
    """Return the peak memory so far, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


COLD = """
import time
start = time.perf_counter()
import numpy as np
from rbox_metrics import evaluate, from_arrays
boxes = np.array([[50.0, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]])
flat = from_arrays(boxes, [0, 1], [0, 0], [0.9, 0.8])
evaluate(flat, flat, ["ship", "plane"])
print(time.perf_counter() - start)
"""


def cold() -> float:
    """Return the seconds from the start of Python's own work to the first metric in a new process; kernels are on
    disk."""
    return float(subprocess.run([sys.executable, "-c", COLD], check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", action="store_true", help="10 M detections against 1 M truths, once")
    options = parser.parse_args()
    if options.large:
        data = flat(draw(images=16_000, truths=1_000_000, per_truth=10))
        before = peak()
        evaluate(*flat(draw(images=10, truths=100)), iou_thresholds=THRESHOLDS, full=True)
        print(f"10 M detections, 1 M truths, AP50: {seconds(lambda: evaluate(*data)):.1f} s")
        print(f"peak {peak():.2f} GiB, including {before:.2f} for the data and their making")
        print(f"full report: {seconds(lambda: evaluate(*data, iou_thresholds=THRESHOLDS, full=True)):.1f} s")
        print(f"peak {peak():.2f} GiB")
        return
    drawn = draw()
    data, small = flat(drawn), flat(draw(images=46, truths=2866))
    evaluate(*data, iou_thresholds=THRESHOLDS, full=True)
    print(f"{'peak memory after a full report':75s} {peak():8.2f} GiB")
    large = flat(draw(images=4580, truths=286_560))
    functions: dict[str, Callable[[], object]] = {
        "AP50, AP75, 0.5:0.95, mAP_nc, F1, sweep, confusion, errors ... (full)": lambda: evaluate(
            *data, iou_thresholds=THRESHOLDS, full=True
        ),
        "AP50, mAP_nc, F1": lambda: evaluate(*data),
        "coco": lambda: evaluate(*data, protocol="coco"),
        "sweep over 20 scores": lambda: sweep_scores(*data),
        "full, a tenth of the images": lambda: evaluate(*small, iou_thresholds=THRESHOLDS, full=True),
        "full, ten times the images": lambda: evaluate(*large, iou_thresholds=THRESHOLDS, full=True),
    }
    for name, value in medians(functions, options.rounds).items():
        print(f"{name:75s} {value:8.3f} s", flush=True)
    print(f"{'peak memory, that of the ten times included':75s} {peak():8.2f} GiB")
    print(f"{'new process to the first figure':75s} {statistics.median(cold() for _ in range(5)):8.3f} s")
    if (peer := mmrotate(drawn)) is not None:
        both = medians({"ours, AP50": lambda: evaluate(*data), "mmrotate eval_rbbox_map, AP50, nproc=2": peer}, 2)
        for name, value in both.items():
            print(f"{name:75s} {value:8.3f} s")
        print(f"mAP of both: {evaluate(*data).figures['map']:.6f} {peer():.6f}")


if __name__ == "__main__":
    main()
