"""The card of the small detector: what it is, how it came about, and what it does on scenes that it has not seen."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from rbox_formats import ClassNames, ImageRecord
from rbox_metrics import Report, bootstrap, evaluate
from rbox_metrics.tables import markdown_table

SIZES = ((0, 18), (18, 30), (30, 1000))  # px, of the longer side: three scales


def card(
    truth: Sequence[ImageRecord],
    found: Sequence[ImageRecord],
    class_names: ClassNames,
    report: Report,
    history: Sequence[Mapping[str, Any]],
    facts: Mapping[str, str],
) -> str:
    """Return the text of README.md.

    Args:
        truth: The scenes that it is scored on.
        found: What it detected there, with scores.
        class_names: The classes.
        report: A full report on both.
        history: The lines of `log.jsonl`.
        facts: What else is to be said of model and run, by topic.
    """
    return f"""\
# A small detector of rotated boxes, for demonstrations and tests

A Florence-2 (`Florence2ForConditionalGeneration`) in miniature, trained by `tools/train_demo_detector.py` on drawn
scenes of {truth[0].width} px (`rbox_formats.synthetic.VARIED`): {", ".join(class_names)}. It writes the boxes as text.

It is for trying the tools out, and a beginning for fine-tuning on scenes of the same making. It has never seen a
photograph, and is not for real images: there it finds nothing that can be relied on.

## On {len(truth)} scenes that it has not seen

{overall(truth, found, class_names, report)}

{by_class(truth, found, class_names, report)}

{by_size(truth, found, class_names)}

The number after ± is the standard deviation over 1,000 draws of as many scenes. F1, precision and recall count boxes of
the right class with an IoU of 0.5 or more.

## How it came about

{markdown_table(["topic", "fact"], [list(fact) for fact in facts.items()])}

{course(history)}

The licence is the project's.
"""


def overall(truth: Sequence[ImageRecord], found: Sequence[ImageRecord], class_names: ClassNames, report: Report) -> str:
    """Return the metrics of all classes and sizes."""
    figures = bootstrap(truth, found, class_names).figures
    at = report.at[0]
    rows = [
        ["F1", _with_error(figures["f1_micro"])],
        ["precision", f"{at.precision_micro:.3f}"],
        ["recall", f"{at.recall_micro:.3f}"],
        ["mAP, VOC07", _with_error(figures["map"])],
    ]
    rows.append(["mAP with one score for all, in random order", f"{at.map_nc_random:.3f} ± {at.map_nc_spread:.3f}"])
    placement = report.placement
    assert placement is not None
    if len(placement.iou):
        rows.append(["median error of the angle", f"{np.degrees(np.median(placement.angle_error)):.1f}°"])
        rows.append(["mean IoU of what was found", f"{placement.iou.mean():.3f}"])
    return markdown_table(["metric", "value"], rows)


def by_class(
    truth: Sequence[ImageRecord], found: Sequence[ImageRecord], class_names: ClassNames, report: Report
) -> str:
    """Return a row for each class."""
    intervals = bootstrap(truth, found, class_names).classes
    rows = []
    for label, (name, figures) in enumerate(zip(class_names, report.at[0].classes, strict=True)):
        count = sum(int((record.labels == label).sum()) for record in truth)
        rows.append([name, str(count), f"{figures.f1:.3f}", _with_error(intervals[name])])
    return markdown_table(["class", "objects", "F1", "AP, VOC07"], rows)


def by_size(truth: Sequence[ImageRecord], found: Sequence[ImageRecord], class_names: ClassNames) -> str:
    """Return a row for each size: the recall of its objects, those of other sizes left out of account."""
    rows = []
    for low, high in SIZES:
        others = [(record.boxes[:, 2] < low) | (record.boxes[:, 2] >= high) for record in truth]
        chosen = [replace(record, difficult=other) for record, other in zip(truth, others, strict=True)]
        placement = evaluate(chosen, found, class_names, full=True).placement
        assert placement is not None
        drawn = np.random.default_rng(0).integers(len(truth), size=(1000, len(truth)))
        hits, missed = placement.hits[drawn].sum(axis=1), placement.missed[drawn].sum(axis=1)
        value = placement.hits.sum() / max(1, placement.hits.sum() + placement.missed.sum())
        recall = f"{value:.3f} ± {(hits / np.maximum(1, hits + missed)).std():.3f}"
        what = (
            f"{low} px and more" if high == SIZES[-1][1] else f"below {high} px" if low == 0 else f"{low} to {high} px"
        )
        rows.append([what, str(sum(int((~other).sum()) for other in others)), recall])
    return markdown_table(["longer side", "objects", "recall"], rows)


def course(history: Sequence[Mapping[str, Any]]) -> str:
    """Return the learning curve, in ten lines or so."""
    shown = sorted({*range(0, len(history), max(1, len(history) // 10)), len(history) - 1})
    rows = []
    for line in (history[number] for number in shown):
        f1 = line.get("f1_0.5")
        text = line["held_out"].get("text")
        rows.append([
            str(line["step"]), line["stage"], f"{line['f1_dense_0.5']:.3f}",
            "" if text is None else f"{text:.3f}", "" if f1 is None else f"{f1:.3f}",
        ])  # fmt: skip
    return markdown_table(["step", "stage", "F1 of the dense head", "loss of held-out texts", "F1 of the texts"], rows)


def machine() -> str:
    """Return where it was trained, and by what."""
    return (
        f"{platform.machine()}, {torch.get_num_threads()} thread(s), Python {sys.version.split()[0]}, PyTorch "
        f"{torch.__version__}, transformers {transformers.__version__}"
    )


def commit() -> str:
    """Return the commit of the sources, where there is one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or "unknown"


def _with_error(interval: Any) -> str:
    return f"{interval.value:.3f} ± {interval.error:.3f}"
