"""How long it takes to score 1, 3 and 10 million predictions from files, and how much memory, by the kind of file.

Made with a seed: images with 10 truths and 50 detections each, 8 of them near a truth, 15 classes, scores with ties;
the truths as DOTA's label files, the detections as ten part files of predictions.jsonl and as ten of Parquet. Each
size and kind runs in a process of its own. Shown are seconds on the clock and, in brackets, of the processor, which
other work on the machine changes less, for reading the truths, reading the detections and scoring (the full report),
and the peak of the resident memory. The data stay in the folder and are made again only where they are missing.

    python benchmarks/evaluation_scale.py --folder runs/scale
    python benchmarks/evaluation_scale.py --folder runs/scale --images 20000 60000 --kinds parquet
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from rbox_formats import Dataset, ImageRecord, datasets, files, predictions, rbox_to_quad
from rbox_formats.predictions import Header, to_dict
from rbox_metrics import evaluate, map_classes, read_predictions

CLASSES = tuple(f"class {number}" for number in range(15))
HEADER = Header(CLASSES, "benchmarks/evaluation_scale.py")
TRUTHS, DETECTIONS, NEAR, SIDE, PARTS = 10, 50, 8, 1024, 10
KINDS = ("jsonl", "parquet")


def image(number: int) -> tuple[ImageRecord, ImageRecord]:
    """Return the truths and the detections of an image, the same each time."""
    rng = np.random.default_rng([0, number])

    def some(count: int) -> np.ndarray:
        return rng.uniform([0, 0, 20, 8, -1.5], [SIDE, SIDE, 60, 20, 1.5], (count, 5)).round(2)

    boxes, labels = some(TRUTHS), rng.integers(0, len(CLASSES), TRUTHS)
    found = some(DETECTIONS)
    found[:NEAR] = (boxes[:NEAR] + rng.normal(0, 1, (NEAR, 5)) * [2, 2, 1, 1, 0.05]).round(2)
    found[:, 2:4] = np.maximum(found[:, 2:4], 1)
    of_found = rng.integers(0, len(CLASSES), DETECTIONS)
    of_found[:NEAR] = labels[:NEAR]
    scores = rng.uniform(0, 1, DETECTIONS).round(3)
    scores[:NEAR] = np.sqrt(scores[:NEAR]).round(3)
    name, size = f"scene_{number:06d}", {"width": SIDE, "height": SIDE}
    return ImageRecord(name, boxes, labels, **size), ImageRecord(name, found, of_found, scores=scores, **size)


def make(folder: Path, images: int) -> None:
    """Write the data of a size where they are not there."""
    if (folder / "done").exists():
        return
    labels = folder / "labelTxt"
    labels.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        (folder / kind).mkdir(exist_ok=True)

    def records(part: int) -> Iterator[ImageRecord]:
        for number in range(part, images, PARTS):
            truth, found = image(number)
            quads = rbox_to_quad(truth.boxes).reshape(-1, 8).round(2).tolist()
            rows = (
                f"{' '.join(map(str, quad))} {CLASSES[label].replace(' ', '-')} 0\n"
                for quad, label in zip(quads, truth.labels.tolist(), strict=True)
            )
            (labels / f"{truth.image_id}.txt").write_text("".join(rows), encoding="utf-8")
            yield found

    for part in range(PARTS):
        lines = folder / "jsonl" / f"part-{part}.jsonl"
        with files.replacing(lines) as temporary, temporary.open("wb") as file:
            file.write(json.dumps(HEADER.to_dict()).encode() + b"\n")
            for record in records(part):
                file.write(msgspec.json.encode(to_dict(record)) + b"\n")
        predictions.write(folder / "parquet" / f"part-{part}.parquet", HEADER, predictions.stream(lines))
    (folder / "done").touch()


def measure(folder: Path, kind: str) -> dict[str, float]:
    """Return seconds on the clock and of the processor for each step, and the peaks of memory in GiB."""
    found: dict[str, float] = {}
    last = [time.perf_counter(), time.process_time()]

    def step(name: str) -> None:
        now = [time.perf_counter(), time.process_time()]
        found[name], found[f"{name} cpu"] = (after - before for after, before in zip(now, last, strict=True))
        found[f"{name} peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        last[:] = now

    opened = datasets.read("dota", folder, class_names=CLASSES)
    truth = Dataset(opened.class_names, list(opened))
    step("truths")
    detections = read_predictions(folder / kind)
    step("detections")
    detections = map_classes(detections, detections.class_names, truth.class_names)
    report = evaluate(truth, detections, truth.class_names, full=True)
    step("scoring")
    found["map"] = report.figures["map"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--images", type=int, nargs="+", default=[20_000, 60_000, 200_000])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--one", action="store_true", help="measure in this process, and print JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.folder / str(options.images[0]), options.kinds[0])))
        return
    print("| predictions | files | size, MB | reading truths, s | reading predictions, s | scoring, s | peak, GiB |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    for images in options.images:
        folder = options.folder / str(images)
        make(folder, images)
        for kind in options.kinds:
            words = ["--folder", str(options.folder), "--images", str(images), "--kinds", kind, "--one"]
            done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=True)
            found = json.loads(done.stdout)
            size = sum(path.stat().st_size for path in (folder / kind).iterdir()) / 1e6
            times = [f"{found[step]:.1f} ({found[f'{step} cpu']:.1f})" for step in ("truths", "detections", "scoring")]
            cells = [f"{images * DETECTIONS:,}", kind, f"{size:,.0f}", *times, f"{found['scoring peak']:.2f}"]
            print(f"| {' | '.join(cells)} |", flush=True)
            print(json.dumps(found), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
