"""Makes `peers.json`: detections on a few images, and what MMRotate and LMMRotate themselves make of them.

It needs an environment of its own. mmcv's operators are compiled once, which takes a quarter of an hour on two cores:

    pip install torch==2.13.0 "setuptools<81" wheel ninja mmdet==3.1.0 mmrotate==1.0.0rc1 mmengine==0.10.7
    MMCV_WITH_OPS=1 FORCE_CUDA=0 pip wheel --no-build-isolation --no-deps mmcv==2.1.0 -w wheels
    pip install --no-deps wheels/mmcv-2.1.0*.whl
    python peers.py --f1-script lmmrotate/modules/f1_metric.py

mmdet 3.1.0 refuses mmcv 2.1.0, though it works with it, and mmcv 2.0.1 no longer compiles: the check is overridden
below by setting the version. mmrotate reads names from `collections` that Python 3.10 took away: they are put back.
LMMRotate's script is that of VisionXLab/mllm-mmrotate at 9475a93; only its arithmetic is run, and it is not kept here.

mmcv computes in float32: a scene with an overlap within 1e-4 of a threshold, or of another, is drawn again.
"""

from __future__ import annotations

import argparse
import collections
import collections.abc
import contextlib
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import mmcv

mmcv.__version__ = "2.0.1"
for _name in ("Mapping", "Sequence", "Iterable"):
    setattr(collections, _name, getattr(collections.abc, _name))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from mmcv.ops import box_iou_quadri, box_iou_rotated, nms_rotated  # noqa: E402
from mmrotate.evaluation import eval_rbbox_map  # noqa: E402
from mmrotate.evaluation.metrics.rotated_coco_metric import RotatedCocoEval  # noqa: E402
from mmrotate.structures.bbox import rbbox_overlaps  # noqa: E402
from pycocotools.coco import COCO  # noqa: E402

CLASSES = 4  # the third has no truth, the fourth no detections
IOU_THRESHOLDS = (0.5, 0.75)
SCORE_THRESHOLDS = (0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.7)
MAX_DETS = [2, 5, 20]
MARGIN = 1e-4


def boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """In 100 x 100 px, small enough for COCO's small and medium ones; rounded so that float32 holds them."""
    sides = np.exp(rng.normal(3, 0.7, (count, 2)))
    drawn = np.c_[rng.uniform(0, 200, (count, 2)), sides, rng.uniform(-1.57, 1.57, count)]
    return drawn.astype(np.float32).astype(np.float64)


def draw(rng: np.random.Generator, image: int) -> dict:
    """An image: the fourth has difficult truths alone, the fifth none at all, the sixth no detections."""
    n = 0 if image == 4 else int(rng.integers(4, 14))
    truths, labels = boxes(rng, n), rng.choice([0, 1, 3], n, p=[0.5, 0.4, 0.1])
    difficult = np.ones(n, bool) if image == 3 else rng.random(n) < 0.2
    picks = np.repeat(np.arange(n), rng.integers(0, 4, n))
    noise = rng.normal(0, 1, (len(picks), 5)) * rng.exponential(1, (len(picks), 1))
    copies = (
        truths[picks]
        + noise * np.c_[0.05 * truths[picks][:, 2:4], 0.05 * truths[picks][:, 2:4], np.full(len(picks), 0.1)]
    )
    copies[:, 2:4] = np.abs(copies[:, 2:4]) + 1
    found = np.concatenate([copies, boxes(rng, 3)]).astype(np.float32).astype(np.float64)
    detected = np.concatenate([labels[picks], rng.integers(0, 3, 3)])
    detected[rng.random(len(detected)) < 0.15] = 1
    keep = detected < 3 if image != 5 else np.zeros(len(found), bool)
    return {
        "truths": truths,
        "labels": labels,
        "difficult": difficult,
        "boxes": found[keep],
        "detected": detected[keep],
        "scores": rng.uniform(0.01, 0.99, keep.sum()).astype(np.float32).astype(np.float64),
    }


def is_clear(image: dict) -> bool:
    """Whether no overlap is so near a threshold, or another overlap, that float32 might decide otherwise."""
    found, truths = (torch.tensor(image[name]).float() for name in ("boxes", "truths"))
    if not len(found) or not len(truths):
        return True
    iou = box_iou_rotated(found, truths).numpy()
    thresholds = np.linspace(0.5, 0.95, 10)
    best_two = np.sort(iou, axis=1)[:, -2:]
    ties = (np.diff(best_two, axis=1) < MARGIN) & (best_two[:, -1:] > 0.4) if iou.shape[1] > 1 else np.zeros(1)
    return np.abs(iou[..., None] - thresholds).min() > MARGIN and not ties.any()


def mean_ap(images: list[dict], threshold: float, use_07_metric: bool) -> dict:
    """MMRotate's `eval_rbbox_map`."""
    results, annotations = [], []
    for image in images:
        rows = np.c_[image["boxes"], image["scores"]].astype(np.float32)
        results.append([rows[image["detected"] == label] for label in range(CLASSES)])
        own = ~image["difficult"]
        annotations.append(
            {
                "bboxes": image["truths"][own].astype(np.float32),
                "labels": image["labels"][own],
                "bboxes_ignore": image["truths"][~own].astype(np.float32),
                "labels_ignore": image["labels"][~own],
            }
        )
    mean, classes = eval_rbbox_map(
        results, annotations, iou_thr=threshold, use_07_metric=use_07_metric, logger="silent", nproc=2
    )
    ap = [float(entry["ap"]) if entry["num_gts"] else None for entry in classes]
    return {"map": float(mean), "ap": ap}


def without_scores(images: list[dict], above: float) -> list[dict]:
    """Detections of higher scores, in the order of the input.

    LMMRotate sets all scores to 1, and leaves the order to numpy's argsort, which is not stable for longer arrays: here
    they fall from 1 by steps too small for anything but to keep the order of the input.
    """
    kept, place = [], 0
    for image in images:
        keep = image["scores"] > above
        scores = np.float32(1) - np.float32(2.0**-20) * np.arange(place, place + keep.sum())
        place += keep.sum()
        kept.append({**image, "boxes": image["boxes"][keep], "detected": image["detected"][keep], "scores": scores})
    return kept


def coco(images: list[dict]) -> dict:
    """MMRotate's RotatedCocoEval on boxes as they are: RotatedCocoMetric would take quads, and turn them into boxes."""
    truth = {
        "images": [{"id": k} for k in range(len(images))],
        "categories": [{"id": label, "name": str(label)} for label in range(CLASSES)],
        "annotations": [],
    }
    results = []
    for k, image in enumerate(images):
        for box, label, difficult in zip(image["truths"].tolist(), image["labels"], image["difficult"], strict=True):
            entry = {"id": len(truth["annotations"]) + 1, "image_id": k, "category_id": int(label), "bbox": box}
            truth["annotations"].append({**entry, "area": box[2] * box[3], "iscrowd": int(difficult)})
        for box, label, score in zip(image["boxes"].tolist(), image["detected"], image["scores"], strict=True):
            results.append({"image_id": k, "category_id": int(label), "bbox": box, "score": float(score)})
    api = COCO()
    api.dataset = truth
    api.createIndex()
    evaluation = RotatedCocoEval(api, api.loadRes(results), "bbox")
    evaluation.params.maxDets = MAX_DETS
    evaluation.evaluate()
    evaluation.accumulate()

    def mean(values: np.ndarray) -> float | None:
        values = values[values > -1]
        return float(values.mean()) if values.size else None

    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    sizes = dict(enumerate(evaluation.params.areaRngLbl))
    return {
        "map": mean(precision[..., 0, -1]),
        "map_50": mean(precision[0, ..., 0, -1]),
        "map_75": mean(precision[5, ..., 0, -1]),
        **{f"map_{sizes[a]}": mean(precision[..., a, -1]) for a in (1, 2, 3)},
        **{f"mar_{limit}": mean(recall[..., 0, m]) for m, limit in enumerate(MAX_DETS)},
        **{f"mar_{sizes[a]}": mean(recall[..., a, -1]) for a in (1, 2, 3)},
        "map_per_class": [mean(precision[:, :, c, 0, -1]) for c in range(CLASSES)],
        f"mar_{MAX_DETS[-1]}_per_class": [mean(recall[:, c, 0, -1]) for c in range(CLASSES)],
    }


def lmmrotate_f1(images: list[dict], script: Path) -> list[float | None]:
    """LMMRotate's own functions, cut out of the script, which imports the whole of LMMRotate."""
    source = script.read_text(encoding="utf-8")
    functions = source[source.index("def get_num_classes") : source.index("def main")]
    bar = SimpleNamespace(update=lambda: None)
    names = {"torch": torch, "nms_rotated": nms_rotated, "rbbox_overlaps": rbbox_overlaps, "ProgressBar": lambda _: bar}
    exec(compile(functions, script.name, "exec"), names)  # noqa: S102  # a script that the user names
    results = []
    for image in images:
        own = ~image["difficult"]
        results.append(
            {
                "pred_instances": {
                    "bboxes": torch.tensor(image["boxes"]).float(),
                    "labels": torch.tensor(image["detected"]),
                    "scores": torch.tensor(image["scores"]).float(),
                },
                "gt_instances": {
                    "bboxes": torch.tensor(image["truths"][own]).float().reshape(-1, 5),
                    "labels": torch.tensor(image["labels"][own]),
                },
            }
        )
    found = []
    for threshold in [step * 0.1 for step in range(10)]:
        matrix = names["calculate_confusion_matrix"](results, threshold)
        _, _, f1 = names["confusion_matrix_to_ap_ar_f1"](matrix)
        found.append(None if f1 != f1 else f1)
    return found


def operators(rng: np.random.Generator) -> dict:
    """mmcv's overlaps of boxes and of their corners, and its suppression."""
    first, second = boxes(rng, 40), boxes(rng, 30)
    a, b = (torch.tensor(x).float() for x in (first, second))
    scores = rng.permutation(len(first)) / len(first)

    def corners(x: np.ndarray) -> np.ndarray:
        half = x[:, 2:3] / 2 * [-1, 1, 1, -1] + 1j * x[:, 3:4] / 2 * [-1, -1, 1, 1]
        points = x[:, 0:1] + 1j * x[:, 1:2] + half * np.exp(1j * x[:, 4:5])
        return np.stack([points.real, points.imag], axis=-1).reshape(-1, 8)

    quads = [np.round(corners(x) + rng.uniform(-1, 1, (len(x), 8)), 1) for x in (first, second)]
    _, kept = nms_rotated(a, torch.tensor(scores).float(), 0.1)
    return {
        "first": first.tolist(),
        "second": second.tolist(),
        "scores": scores.tolist(),
        "iou": box_iou_rotated(a, b).tolist(),
        "iof": box_iou_rotated(a, b, mode="iof").tolist(),
        "kept": kept.tolist(),
        "first_quads": quads[0].tolist(),
        "second_quads": quads[1].tolist(),
        "quad_iou": box_iou_quadri(*(torch.tensor(q).float() for q in quads)).tolist(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--f1-script", type=Path, required=True, help="LMMRotate's lmmrotate/modules/f1_metric.py")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    images: list[dict] = []
    while len(images) < 12:
        image = draw(rng, len(images))
        if is_clear(image):
            images.append(image)
    with contextlib.redirect_stdout(io.StringIO()):
        expected = {
            "voc07": {f"{t:g}": mean_ap(images, t, True) for t in IOU_THRESHOLDS},
            "voc": {f"{t:g}": mean_ap(images, t, False) for t in IOU_THRESHOLDS},
            "map_nc": {f"{t:g}": mean_ap(without_scores(images, t), 0.5, True) for t in (-1, *SCORE_THRESHOLDS)},
            "coco": coco(images),
            "f1_lmmrotate": lmmrotate_f1(images, options.f1_script),
        }
    values = {
        "classes": CLASSES,
        "max_dets": MAX_DETS,
        "images": [{key: column.tolist() for key, column in image.items()} for image in images],
        "expected": expected,
        "operators": operators(rng),
    }
    text = re.sub(r"(\d\.\d{9})\d+", r"\1", json.dumps(values))
    Path(__file__).with_suffix(".json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
