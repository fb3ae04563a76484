"""Makes torchmetrics_map.json: upright boxes, and what torchmetrics' own metric finds of them.

    pip install torch torchvision torchmetrics pycocotools
    python torchmetrics_map.py

Boxes are drawn so that they lie on quarters of a pixel, where float32 is exact, and no two scores are the same:
torchmetrics orders equal scores by image. The last limit of detections is 100, without which pycocotools has no `map`.
IoUs and recalls are given as pycocotools has them: torchmetrics' own are rounded to float32, so that a recall of
exactly 0.3 is below its 0.3. Difficult truths are COCO's crowds, and are left out: pycocotools divides by
the detection's area there, as no rotated metric does.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torchmetrics.detection import MeanAveragePrecision

IMAGES, CLASSES = 24, 5


def draw(rng: np.random.Generator) -> tuple[list[dict], list[dict]]:
    """Truth and detections as (cx, cy, w, h): jittered copies of the truth, some of another class, and inventions."""
    preds, target = [], []
    scores = rng.permutation(10_000) / 10_000
    used = 0
    for _ in range(IMAGES):
        n = int(rng.integers(0, 12))
        sides = np.exp(rng.normal(3.4, 0.9, (n, 2))).clip(3, 250)
        truth = np.concatenate([rng.uniform(100, 900, (n, 2)), sides], axis=1)
        labels = rng.integers(0, CLASSES, n) * 3  # not in a row
        copies = np.repeat(np.arange(n), rng.integers(0, 3, n))
        found = truth[copies] + np.tile(truth[copies, 2:], 2) * rng.normal(0, 0.08, (len(copies), 4))
        other = rng.random(len(copies)) < 0.15
        found_labels = np.where(other, rng.integers(0, CLASSES + 1, len(copies)) * 3, labels[copies])
        m = int(rng.integers(0, 4))
        found = np.concatenate([found, rng.uniform(20, 800, (m, 4))])
        found_labels = np.concatenate([found_labels, rng.integers(0, CLASSES, m) * 3])
        quarters = [(np.round(boxes * 4) / 4).clip(1).tolist() for boxes in (truth, found)]
        target.append({"boxes": quarters[0], "labels": labels.tolist()})
        preds.append(
            {"boxes": quarters[1], "labels": found_labels.tolist(), "scores": scores[used : used + len(found)].tolist()}
        )
        used += len(found)
    return preds, target


def tensors(images: list[dict]) -> list[dict[str, torch.Tensor]]:
    """Images as torchmetrics takes them."""
    kinds = {"boxes": torch.float32, "scores": torch.float32, "labels": torch.int64}
    found = [{key: torch.tensor(values, dtype=kinds[key]) for key, values in image.items()} for image in images]
    return [image | {"boxes": image["boxes"].reshape(-1, 4)} for image in found]


def main() -> None:
    """Writes the file beside this one."""
    preds, target = draw(np.random.default_rng(7))
    cases = []
    for thresholds, limits in ((np.linspace(0.5, 0.95, 10).tolist(), [1, 10, 100]), ([0.3, 0.75], [2, 5, 100])):
        metric = MeanAveragePrecision(
            "cxcywh",
            iou_thresholds=thresholds,
            rec_thresholds=np.linspace(0, 1, 101).tolist(),
            max_detection_thresholds=limits,
            class_metrics=True,
        )
        metric.update(tensors(preds), tensors(target))
        found = {key: value.tolist() for key, value in metric.compute().items()}
        cases.append({"iou_thresholds": thresholds, "max_detection_thresholds": limits, "figures": found})
    versions = {name: version(name) for name in ("torchmetrics", "pycocotools", "torch")}
    content = {"versions": versions, "preds": preds, "target": target, "cases": cases}
    Path(__file__).with_suffix(".json").write_text(json.dumps(content) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
