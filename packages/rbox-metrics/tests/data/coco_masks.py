"""Makes coco_masks.json: instances and detections, and what pycocotools and faster-coco-eval say of them.

python coco_masks.py

Needs pycocotools 2.0.11 and faster-coco-eval 1.8.0. Twelve images with objects of three classes and all sizes, as
polygons and run lengths, some of them crowds; detections are objects moved and shrunk, with another class here and
there, and others that are nowhere.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import faster_coco_eval
import numpy as np
from pycocotools import mask as coco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

WIDTH, HEIGHT, IMAGES, CLASSES = 320, 240, 12, 3
MAX_DETS = [1, 10, 100]


def star(rng: np.random.Generator, centre: np.ndarray, size: float) -> np.ndarray:
    angles = np.sort(rng.random(9)) * 2 * np.pi
    away = size * rng.uniform(0.6, 1.0, 9)
    return (centre + np.stack([away * np.cos(angles), away * np.sin(angles)], axis=1)).round(2)


def as_runs(outline: np.ndarray) -> dict[str, Any]:
    (found,) = coco.frPyObjects([outline.ravel().tolist()], HEIGHT, WIDTH)
    return {"size": found["size"], "counts": found["counts"].decode()}


def scenes() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    rng = np.random.default_rng(20)
    annotations, results = [], []
    for image in range(1, IMAGES + 1):
        for _ in range(int(rng.integers(3, 12))):
            outline = star(rng, rng.uniform(0, [WIDTH, HEIGHT]), float(np.exp(rng.uniform(1.8, 4.5))))
            runs, label = as_runs(outline), int(rng.integers(1, CLASSES + 1))
            area = int(coco.area(runs))
            if not area:
                continue
            crowd = int(rng.random() < 0.12)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": label,
                    "segmentation": runs if crowd or rng.random() < 0.4 else [outline.ravel().tolist()],
                    "bbox": coco.toBbox(runs).tolist(),
                    "area": area,
                    "iscrowd": crowd,
                }
            )
            for _ in range(int(rng.integers(0, 4))):
                centre = outline.mean(axis=0)
                moved = (outline - centre) * rng.uniform(0.75, 1.15) + centre + rng.normal(0, 2.5, 2)
                results.append((image, label if rng.random() < 0.9 else int(rng.integers(1, CLASSES + 1)), moved))
        for _ in range(int(rng.integers(0, 5))):
            outline = star(rng, rng.uniform(0, [WIDTH, HEIGHT]), float(rng.uniform(5, 40)))
            results.append((image, int(rng.integers(1, CLASSES + 1)), outline))
    detections = [
        {"image_id": image, "category_id": label, "segmentation": as_runs(outline), "score": float(score)}
        for (image, label, outline), score in zip(results, rng.permutation(len(results)) / len(results), strict=True)
        if coco.area(as_runs(outline))
    ]
    images = [{"id": i, "file_name": f"{i:03}.png", "width": WIDTH, "height": HEIGHT} for i in range(1, IMAGES + 1)]
    categories = [{"id": i, "name": f"class{i}"} for i in range(1, CLASSES + 1)]
    return {"images": images, "annotations": annotations, "categories": categories}, detections


def statistics(evaluation: Any) -> list[float]:
    evaluation.params.maxDets = MAX_DETS
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return [float(value) for value in evaluation.stats[:12]]


def main() -> None:
    truth, detections = scenes()
    said = {}
    with contextlib.redirect_stdout(io.StringIO()):
        loaded = COCO()
        loaded.dataset = json.loads(json.dumps(truth))
        loaded.createIndex()
        theirs = COCOeval(loaded, loaded.loadRes(json.loads(json.dumps(detections))), "segm")
        said["segm"] = statistics(theirs)
        precision = theirs.eval["precision"][:, :, :, 0, -1]
        said["per_class"] = [float(precision[:, :, c][precision[:, :, c] > -1].mean()) for c in range(CLASSES)]
        for kind in ("segm", "boundary"):
            faster = faster_coco_eval.COCO(json.loads(json.dumps(truth)))
            found = faster.loadRes(json.loads(json.dumps(detections)))
            said[f"faster_{kind}"] = statistics(faster_coco_eval.COCOeval_faster(faster, found, kind))
    content = {"truth": truth, "detections": detections, "said": said}
    Path(__file__).with_suffix(".json").write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
