"""How fast JSON with boxes is read, beside `json` alone and msgspec: predictions and COCO annotations, in one run.

Predictions (2,000 images of 100 boxes) are read by msgspec, line by line, into the types of their schema; beside it
what that replaced: `json.loads`, and numpy of the lists.

COCO files (200,000 annotations) are read by `json`, and walked. msgspec's part of that, a decode into types, is here
to say what it would save. It says neither the line in which a file is broken nor what stands where something else was
expected, and it takes no NaN, also in keys that are not read.

CPU seconds, best of some rounds in turn.

    python benchmarks/json_reading.py
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from rbox_formats import ClassNames, ImageRecord, canonical_le90, datasets, predictions, rbox_to_quad

NAMES = ClassNames([f"class{number}" for number in range(15)])


class Annotation(msgspec.Struct, gc=False):
    image_id: int
    category_id: int
    bbox: list[float] | None = None
    segmentation: list[list[float]] | dict[str, Any] | None = None
    iscrowd: int | bool = 0
    ignore: int | bool = 0
    score: float | None = None


class Document(msgspec.Struct):
    images: list[dict[str, Any]]
    annotations: list[Annotation]
    categories: list[dict[str, Any]]


def scenes(images: int, objects: int) -> Iterator[ImageRecord]:
    rng = np.random.default_rng(0)
    for number in range(images):
        boxes = canonical_le90(rng.uniform([0, 0, 5, 5, -1.5], [1024, 1024, 80, 80, 1.5], (objects, 5)))
        labels, scores = rng.integers(0, len(NAMES), objects), rng.random(objects)
        yield ImageRecord(f"P{number:05}", boxes, labels, rbox_to_quad(boxes), scores=scores, width=1024, height=1024)


def by_json(path: Path) -> list[dict[str, Any]]:
    """Read lines as arrays, unchecked."""
    columns = ("boxes", "quads", "labels", "scores")
    lines = [json.loads(line) for line in path.read_bytes().splitlines()[1:]]
    return [{**line, **{name: np.array(line[name]) for name in columns}} for line in lines]


def seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--annotations", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        lines, coco = Path(name) / "predictions.jsonl", Path(name) / "coco.json"
        with predictions.Writer(lines, predictions.Header(NAMES, "none")) as writer:
            for record in scenes(options.images, 100):
                writer.write(record)
        datasets.write("coco", scenes(options.annotations // 50, 50), coco, None, NAMES)
        for ours, theirs in zip(predictions.read(lines), by_json(lines), strict=True):
            np.testing.assert_array_equal(ours.boxes, theirs["boxes"])
        parts: dict[str, Callable[[], object]] = {
            "predictions: `json.loads` and numpy, unchecked": lambda: by_json(lines),
            "predictions: `predictions.read`": lambda: predictions.read(lines),
            "COCO: `json.loads` alone": lambda: json.loads(coco.read_bytes()),
            "COCO: msgspec into types, alone": lambda: msgspec.json.decode(coco.read_bytes(), type=Document),
            'COCO: `datasets.read("coco")`, opened': lambda: datasets.read("coco", coco),
            'COCO: `datasets.read("coco")`, with all records': lambda: list(datasets.read("coco", coco)),
        }
        rounds = [[seconds(function) for function in parts.values()] for _ in range(options.rounds)]
    print(f"{options.images} images of 100 boxes; {options.annotations} annotations\n")
    print("| reader | seconds |\n|---|---:|")
    for part, values in zip(parts, zip(*rounds, strict=True), strict=True):
        print(f"| {part} | {min(values):.2f} |")


if __name__ == "__main__":
    main()
