"""What encoding and decoding costs a box, measured for each text format; codecs_page.py shows it.

Random boxes inside an image are encoded and decoded again, and each is compared with what came back. Aspect ratios are
log-uniform from 1:1 to 1:8, angles and places uniform; a box that does not fit into the image is drawn again. The seed
is fixed for each pair of object and image size.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from rbox_formats import ClassNames, codecs, files, hbox_to_rbox, rbox_to_hbox
from rbox_formats.codecs import Codec
from rbox_formats.codecs._coordinates import Coordinates, Scaled

Size: TypeAlias = tuple[int, int]

#: The options to show of each codec, the default first; a codec that is not here has none.
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "florence2": [{"version": 2}, {"version": 1}, {"version": 3}],
    "allseeing": [{"empty": False}, {"empty": True}],
    "rscovlm": [
        {"shape": "quad"},
        {"shape": "quad", "style": "plain"},
        {"shape": "quad", "clockwise": False},
        {"shape": "obb"},
        {"shape": "obb", "style": "plain"},
        {"shape": "hbb"},
        {"shape": "hbb", "style": "plain"},
    ],
    "geochat": [{"clockwise": False}, {"clockwise": True}],
    "vrsbench": [{"version": "obb_v1"}, {"version": "obb_v2"}, {"version": "hbb"}],
    "plain": [{"decimals": 0}, {"decimals": 1}],
}

OBJECT_SIZES = (4, 8, 16, 32, 64, 128, 256, 512)
IMAGE_SIZES: tuple[Size, ...] = ((512, 512), (1024, 1024), (2048, 1024), (2048, 2048), (4096, 4096))
COUNT = 1000
#: IoU. A number measured again may differ by this: another processor may round a coordinate the other way, and of two
#: least rectangles around a quad either may be taken.
TOLERANCE = 0.002
#: What a model sees at most in the second case of formats in its pixels: 36 patches of 28 px.
INPUT = 1008

_NAMES = ClassNames(["ship"])


class Variant(NamedTuple):
    """A codec and the options to name beside it."""

    codec: Codec
    options: dict[str, Any]

    @property
    def named(self) -> str:
        """The options, as `codecs.get` takes them."""
        return ", ".join(f"{key}={value!r}".replace("'", '"') for key, value in self.options.items())

    @property
    def label(self) -> str:
        """The codec's name and its options."""
        return f"{self.codec.name} {self.named}".strip()

    @property
    def measured_as(self) -> str:
        """The label of the first variant with the same numbers; the name alone if all variants have the same."""
        variants = [variant for variant in VARIANTS if variant.codec.name == self.codec.name]
        same = [variant for variant in variants if variant.rounding == self.rounding]
        return self.codec.name if len(same) == len(variants) else same[0].label

    @property
    def rounding(self) -> Coordinates:
        """What its numbers depend on: everything except the order of a quad's corners."""
        coordinates = self.codec.coordinates
        return replace(coordinates, clockwise=True) if isinstance(coordinates, Scaled) else coordinates


VARIANTS = [
    Variant(codecs.get(name, **options), options) for name in codecs.CODECS for options in OPTIONS.get(name, [{}])
]


class Row(NamedTuple):
    """A format's numbers in images of one size.

    Attributes:
        format: The codec, and the options that change the numbers.
        input: The size at which a model sees the image, in formats where that matters.
        against: What the decoded box is compared with: the "object", or the "upright box" around it.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        smallest: IoU, by object size.
        median: IoU, by object size.
    """

    format: str
    input: str
    against: str
    width: int
    height: int
    smallest: tuple[float, ...]
    median: tuple[float, ...]

    @property
    def label(self) -> str:
        """The format, and at which size a model sees the image."""
        return f"{self.format}, input {self.input}" if self.input else self.format


def random_boxes(size: Size, long_side: int) -> np.ndarray:
    """Return boxes (COUNT, 5) inside an image of this size; see the module's text."""
    rng = np.random.default_rng([*size, long_side])
    boxes = np.empty((0, 5))
    while len(boxes) < COUNT:
        short = long_side / 8 ** rng.random(COUNT)
        angle = rng.uniform(-math.pi / 2, math.pi / 2, COUNT)
        drawn = np.column_stack([np.zeros((COUNT, 2)), np.full(COUNT, float(long_side)), short, angle])
        free = np.array(size) - 2 * rbox_to_hbox(drawn)[:, 2:]
        drawn[:, :2] = np.array(size) / 2 + (rng.random((COUNT, 2)) - 0.5) * free
        boxes = np.concatenate([boxes, drawn[(free >= 0).all(axis=1)]])
    return boxes[:COUNT]


def round_trip(codec: Codec, boxes: np.ndarray, size: Size, input_size: Size | None) -> np.ndarray:
    """Return what became of each box (N, 5)."""
    back, left = np.empty_like(boxes), np.arange(len(boxes))
    while len(left):
        some = left[:100]
        labels = np.zeros(len(some), dtype=np.int64)
        order = codec.order(boxes[some], labels, _NAMES, size, input_size)
        text = codec.encode(boxes[some], labels, _NAMES, size, input_size)
        back[some[order]] = codec.decode(text, _NAMES, size, input_size, on_invalid="raise").boxes
        left = np.concatenate([np.delete(some, order), left[100:]])  # a format may write only the first of many
    return back


def overlaps(codec: Codec, size: Size, input_size: Size | None, long_side: int) -> dict[str, np.ndarray]:
    """Return the IoU (COUNT,) of each box with what it is compared with."""
    from rbox_metrics import box_iou_rotated

    boxes = random_boxes(size, long_side)
    back = round_trip(codec, boxes, size, input_size)
    truths = {"object": boxes}
    if not codec.holds_rotation:
        truths["upright box"] = hbox_to_rbox(rbox_to_hbox(boxes))
    return {against: box_iou_rotated(truth, back, aligned=True) for against, truth in truths.items()}


def measure(image_sizes: Iterable[Size] = IMAGE_SIZES) -> Iterator[Row]:
    """Yield all numbers for images of these sizes."""
    different: dict[str, Codec] = {}
    for variant in VARIANTS:
        different.setdefault(variant.measured_as, variant.codec)
    for label, codec in different.items():
        for name, most in _inputs(codec).items():
            for size in image_sizes:
                found = [overlaps(codec, size, _seen(size, most), long_side) for long_side in OBJECT_SIZES]
                for against in found[0]:
                    smallest = tuple(round(float(values[against].min()), 4) for values in found)
                    median = tuple(round(float(np.median(values[against])), 4) for values in found)
                    yield Row(label, name, against, *size, smallest, median)


def _inputs(codec: Codec) -> dict[str, int | None]:
    """Return the longer side of what a model sees, None for the image's own, by its name."""
    if isinstance(codec.coordinates, Scaled) and codec.coordinates.frame == "input pixels":
        return {"as the image": None, f"at most {INPUT} px": INPUT}
    return {"": None}


def _seen(size: Size, most: int | None) -> Size | None:
    """Return the image made smaller, its longer side a multiple of 28 and its shape kept."""
    longer = min(most or 0, max(size) // 28 * 28)
    return (size[0] * longer // max(size), size[1] * longer // max(size)) if longer else None


_HEADER = [
    *("format", "input", "compared with", "width", "height"),
    *(f"{what} {size} px" for what in ("smallest", "median") for size in OBJECT_SIZES),
]


def write(rows: list[Row], path: Path) -> None:
    """Write the numbers as a table."""
    with files.replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEADER)
        writer.writerows([*row[:5], *(f"{value:.4f}" for value in row.smallest + row.median)] for row in rows)


def read(path: Path) -> list[Row]:
    """Read the numbers of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        _, *lines = csv.reader(file)
    rows, half = [], len(OBJECT_SIZES)
    for name, seen, against, width, height, *cells in lines:
        values = tuple(map(float, cells))
        rows.append(Row(name, seen, against, int(width), int(height), values[:half], values[half:]))
    return rows


def stale(committed: Iterable[Row], measured: Iterable[Row]) -> list[str]:
    """Return the committed numbers that differ from the measured ones."""
    old, new = ({row[:5]: row for row in rows} for rows in (committed, measured))
    lone = [f"{key}: in one of the two only" for key in old.keys() ^ new.keys()]
    both = [key for key in old.keys() & new.keys() if not alike(old[key], new[key])]
    return sorted([*lone, *(f"{key}: committed {old[key][5:]}, measured {new[key][5:]}" for key in both)])


def alike(one: Row, other: Row) -> bool:
    """Return whether the numbers are the same."""
    return bool(np.abs(np.subtract(one.smallest + one.median, other.smallest + other.median)).max() <= TOLERANCE)


class Group(NamedTuple):
    """Formats whose numbers are the same.

    Attributes:
        label: The formats' names.
        rows: The numbers of one of them, by image size.
    """

    label: str
    rows: dict[Size, Row]


def grouped(rows: Iterable[Row]) -> list[Group]:
    """Group formats by their numbers, the best in images of 1,024 px first; all rows compare with the same."""
    by_label: dict[str, dict[Size, Row]] = {}
    for row in rows:
        by_label.setdefault(row.label, {})[row.width, row.height] = row
    groups: dict[str, list[str]] = {}
    for label, by_size in by_label.items():
        same = (first for first in groups if all(alike(by_label[first][size], row) for size, row in by_size.items()))
        groups.setdefault(next(same, label), []).append(label)
    merged = [Group(_together(labels), by_label[first]) for first, labels in groups.items()]
    return sorted(merged, key=lambda group: -sum(group.rows[1024, 1024].smallest + group.rows[1024, 1024].median))


def _together(labels: list[str]) -> str:
    """Label as one, of each codec the first."""
    first: dict[str, str] = {}
    for label in labels:
        first.setdefault(label.split()[0].rstrip(","), label)
    return "; ".join(first.values())
