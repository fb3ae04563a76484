"""How fast DOTA's label files are read, beside a reader that only splits lines: 458 files, 28,000 objects, in one run.

DOTA-v1.0's validation set has 458 images and 28,853 objects. Ours gives quads, labels, flags, headers and boxes (the
minimum-area rectangles, of sixteen images at a time), and checks each line; the plain reader gives lists of numbers and
words. They take turns, and the best of each counts.

CPU seconds: both run on one core, and what else the machine does counts less.

    python benchmarks/dota_reading.py
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from rbox_formats import ImageRecord, datasets, quad_to_rbox
from rbox_formats.datasets import dota


def make(folder: Path, count: int, objects: int) -> None:
    """Write label files like DOTA's: two headers, whole pixels, CRLF; most have few objects, some have hundreds."""
    rng = np.random.default_rng(0)
    shares = rng.lognormal(0, 1.3, count)
    numbers = rng.multinomial(objects, shares / shares.sum())
    (folder / "labelTxt").mkdir()
    for i, number in enumerate(numbers):
        lines = ["imagesource:GoogleEarth", "gsd:0.255589285596"]
        corners = rng.integers(0, 4000, (number, 1, 2)) + rng.integers(0, 60, (number, 4, 2))
        names = rng.integers(0, len(dota.V1_0), number)
        difficult = rng.random(number) < 0.05
        for quad, name, flag in zip(corners.reshape(-1, 8).tolist(), names, difficult, strict=True):
            lines.append(f"{' '.join(map(str, quad))} {dota.V1_0[name]} {int(flag)}")
        (folder / "labelTxt" / f"P{i:04}.txt").write_bytes("\r\n".join([*lines, ""]).encode())


def plain(folder: Path) -> list[list[tuple[list[float], str, str]]]:
    """Return what one writes first: readline, split, float."""
    images = []
    for path in sorted(folder.glob("labelTxt/*.txt")):
        objects = []
        with path.open() as file:
            while line := file.readline():
                fields = line.split()
                if len(fields) == 10:
                    objects.append(([float(field) for field in fields[:8]], fields[8], fields[9]))
        images.append(objects)
    return images


def ours(folder: Path) -> list[ImageRecord]:
    return list(datasets.read("dota", folder))


def seconds(function: Callable[[], object]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=458)
    parser.add_argument("--objects", type=int, default=28_853)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, options.files, options.objects)
        records = ours(folder)
        for record, objects in zip(records, plain(folder), strict=True):
            np.testing.assert_array_equal(
                record.quads.reshape(-1, 8), np.reshape([row for row, _, _ in objects], (-1, 8))
            )
            assert [dota.V1_0[label] for label in record.labels] == [name for _, name, _ in objects]
        parts: dict[str, Callable[[], object]] = {
            "a plain reader: readline, split, float": partial(plain, folder),
            '`datasets.read("dota")`: records with boxes': partial(ours, folder),
            "for comparison: `quad_to_rbox` on one image after the other": lambda: [
                quad_to_rbox(record.quads) for record in records
            ],
        }
        rounds = [[seconds(function) for function in parts.values()] for _ in range(options.rounds)]
    best = [min(column) for column in zip(*rounds, strict=True)]
    print(f"{options.objects} objects in {options.files} files, best of {options.rounds}; the same objects from both\n")
    print("| reader | seconds | times the plain one |\n|---|---|---|")
    for part, value in zip(parts, best, strict=True):
        print(f"| {part} | {value:.3f} | {value / best[0]:.2f} |")


if __name__ == "__main__":
    main()
