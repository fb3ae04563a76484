"""The pictures of the documentation, drawn by the packages' own code."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from rbox_formats import LE90, LE135, OC, OC_OLD, ClassNames, ImageRecord, convert, draw, rbox_to_quad, synthetic
from rbox_formats.codecs import get
from rbox_metrics import box_iou_rotated
from rbox_testing.preemption import expected_seconds, lives, simulate

matplotlib.use("Agg")
TEAL, ORANGE, GREY = "#00796b", "#d84315", "#9e9e9e"


def _image(figure: Figure) -> Image.Image:
    stream = io.BytesIO()
    figure.savefig(stream, dpi=110, facecolor="white", metadata={"Software": None})
    return Image.open(stream).convert("RGB")


def start() -> Image.Image:
    """Draw what the packages are about: a scene with its boxes, the text that stands for it, and the scores."""
    scene, record = synthetic.scene(11, replace(synthetic.TINY, size=256, min_scale=0.2, max_scale=0.3, max_objects=4))
    names = synthetic.CLASS_NAMES
    text = get("plain").encode(record.boxes, record.labels, names, record.size)
    read = get("plain").decode(text, names, record.size)
    found = ImageRecord(record.image_id, read.boxes, labels=read.labels, width=record.width, height=record.height)
    drawn = draw.draw_record(scene, found, names, scale=2)
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for axes, title in ((left, "an image"), (middle, "its boxes as text"), (right, "the text as boxes")):
        axes.set_axis_off()
        axes.set_title(title, fontsize=12)
    left.imshow(scene)
    lines = text.replace("[", "\n[").replace(";", ";\n")
    middle.text(0.5, 0.5, lines, ha="center", va="center", family="monospace", fontsize=11)
    right.imshow(drawn)
    return _image(figure)


def conventions() -> Image.Image:
    """Draw one rectangle, and its five numbers in each convention."""
    box = np.array([[0.0, 0.0, 6.0, 2.5, np.radians(-60)]])
    figure = Figure(figsize=(6.4, 6.6), layout="constrained")
    for axes, convention in zip(figure.subplots(2, 2).flat, (LE90, LE135, OC, OC_OLD), strict=True):
        _, _, w, h, angle = convert(box, LE90, convention.degrees)[0]
        corners = np.vstack([rbox_to_quad(box)[0], rbox_to_quad(box)[0][:1]])
        axes.fill(corners[:, 0], corners[:, 1], color=TEAL, alpha=0.15)
        axes.plot(corners[:, 0], corners[:, 1], color=TEAL)
        axes.annotate("", (3.4, 0), (0, 0), arrowprops={"arrowstyle": "->", "color": GREY})
        turn = np.radians(angle)
        along = np.array([np.cos(turn), np.sin(turn)]) * w / 2
        axes.annotate("", along, (0, 0), arrowprops={"arrowstyle": "->", "color": ORANGE, "lw": 2})
        sweep = np.linspace(0, turn, 40)
        axes.plot(1.1 * np.cos(sweep), 1.1 * np.sin(sweep), color=ORANGE)
        low, high = convention.degrees.range
        ends = ("[", ")") if convention.closed == "low" else ("(", "]")
        axes.set_title(
            f"{convention.name}\nw {w:.1f}, h {h:.1f}, angle {angle:.0f}°\n"
            f"range {ends[0]}{low:.0f}°, {high:.0f}°{ends[1]}",
            fontsize=10,
        )
        axes.set_xlim(-4, 4)
        axes.set_ylim(3.5, -3.5)  # y points down, as on a screen
        axes.set_aspect("equal")
        axes.set_xticks([])
        axes.set_yticks([])
    return _image(figure)


def angle_error() -> Image.Image:
    """Draw how much of a box is left where only its angle is wrong, by its shape."""
    degrees = np.linspace(0, 20, 81)
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    for ratio, colour in ((1, GREY), (2, "#5c6bc0"), (4, TEAL), (8, ORANGE)):
        base = np.array([[0.0, 0.0, 10.0 * ratio, 10.0, 0.0]])
        turned = np.repeat(base, len(degrees), 0)
        turned[:, 4] = np.radians(degrees)
        axes.plot(degrees, box_iou_rotated(base, turned)[0], color=colour, label=f"1:{ratio}")
    axes.axhline(0.5, color="black", lw=0.8, ls=":")
    axes.set_xlabel("error of the angle, degrees")
    axes.set_ylabel("IoU")
    axes.set_ylim(0, 1)
    axes.legend(title="sides", frameon=False)
    return _image(figure)


def quad() -> Image.Image:
    """Draw an annotated quad, the rectangle around it, and their overlap."""
    from rbox_formats import quad_to_rbox
    from rbox_metrics import quad_iou

    corners = np.array([[[20.0, 62.0], [104.0, 24.0], [116.0, 52.0], [40.0, 78.0]]])
    rectangle = rbox_to_quad(quad_to_rbox(corners))
    overlap = quad_iou(corners, rectangle)[0, 0]
    figure = Figure(figsize=(5.6, 3.4), layout="constrained")
    axes = figure.subplots()
    for points, colour, name in ((corners[0], TEAL, "as annotated"), (rectangle[0], ORANGE, "rectangle around it")):
        closed = np.vstack([points, points[:1]])
        axes.plot(closed[:, 0], closed[:, 1], color=colour, label=name)
    axes.fill(corners[0][:, 0], corners[0][:, 1], color=TEAL, alpha=0.15)
    axes.set_title(f"IoU of the two: {overlap:.2f}", fontsize=11)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.legend(frameon=False, loc="lower right")
    return _image(figure)


def rounding() -> Image.Image:
    """Draw a box of 16 x 6 px before and after some text formats, in an image of 1,024 px."""
    names, size = ClassNames(["ship"]), (1024, 1024)
    box = np.array([[512.3, 511.6, 16.0, 6.0, 0.5]])
    figure = Figure(figsize=(9.6, 2.9), layout="constrained")
    shown = {"florence2": {}, "rscovlm": {"shape": "obb"}, "geochat": {}, "plain": {}}
    for axes, (name, options) in zip(figure.subplots(1, 4), shown.items(), strict=True):
        codec = get(name, **options)
        back = codec.decode(codec.encode(box, [0], names, size), names, size).boxes
        for which, colour in ((box, TEAL), (back, ORANGE)):
            corners = np.vstack([rbox_to_quad(which)[0], rbox_to_quad(which)[0][:1]])
            axes.plot(corners[:, 0], corners[:, 1], color=colour)
        axes.set_title(f"{name}\nIoU {box_iou_rotated(box, back)[0, 0]:.2f}", fontsize=10)
        axes.set_xlim(498, 526)
        axes.set_ylim(526, 498)
        axes.set_aspect("equal")
        axes.set_xticks([])
        axes.set_yticks([])
    return _image(figure)


def shard_size() -> Image.Image:
    """Draw what deaths of processes cost by the size of shards: the formula, and simulations of 8 processes."""
    window, write, start, wait, processes = 0.05, 0.01, 60.0, 120.0, 8
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    for rate, colour in ((1.0, ORANGE), (0.25, TEAL), (0.0, GREY)):
        for sizes, style in ((2 ** np.arange(2, 16.1, 0.25), "-"), (2 ** np.arange(6, 14.1, 2), "o")):
            costs = []
            for size in sizes:
                length = size * window + write
                if style == "-":
                    seconds = expected_seconds(length, rate / 3600, start=start, wait=wait)
                else:
                    rng, shards = np.random.default_rng(int(size)), [length] * round(2**22 / size)
                    runs = [
                        simulate(shards, lives(rate / 3600, rng), processes=processes, start=start, wait=wait)
                        for _ in range(5)
                    ]
                    seconds = np.mean([run.seconds - start for run in runs]) * processes / len(shards)
                costs.append(100 * (seconds / (size * window) - 1))
            name = f"{rate:g} an hour" if style == "-" else None
            axes.plot(sizes, costs, style, color=colour, label=name, markersize=4)
    axes.set_xscale("log", base=2)
    axes.set_ylim(0, 40)
    axes.set_xticks(
        [4, 16, 64, 256, 1024, 4096, 16384, 65536], ["4", "16", "64", "256", "1,024", "4,096", "16,384", "65,536"]
    )
    axes.set_xlabel("windows in a shard")
    axes.set_ylabel("more time, %")
    axes.legend(title="deaths of a process", frameon=False)
    return _image(figure)


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "start.png": start,
    "conventions.png": conventions,
    "angle-error.png": angle_error,
    "quad.png": quad,
    "rounding.png": rounding,
    "shard-size.png": shard_size,
}
