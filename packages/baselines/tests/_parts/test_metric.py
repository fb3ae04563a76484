"""The score while training: MMRotate's own tests of its metrics, and figures worked by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.coco
import pycocotools.cocoeval
import pycocotools.mask
import pytest
import torch
from rbox_formats import ImageRecord

# The boxes of MMRotate's tests/test_evaluation/test_metrics/test_dota_metric.py.
BOXES = [[23, 31, 10, 20, 0.0], [100, 120, 10, 20, 0.1], [150, 160, 10, 20, 0.2], [250, 260, 10, 20, 0.3]]
SCORES = [1.0, 0.98, 0.96, 0.95]


@pytest.fixture(autouse=True)
def _mmrotate(mmrotate: object) -> None:
    pass


def sample(
    truth: list[list[float]] = BOXES,
    found: list[list[float]] = BOXES,
    *,
    ignored: list[list[float]] = [],  # noqa: B006
    image: str = "P2805",
    labels: list[int] | None = None,
) -> dict[str, Any]:
    def instances(boxes: list[list[float]], **more: Any) -> dict[str, Any]:
        own = labels[: len(boxes)] if labels else [0] * len(boxes)
        return {"bboxes": torch.tensor(boxes).reshape(-1, 5), "labels": torch.tensor(own, dtype=torch.int64), **more}

    return {
        "img_id": image,
        "gt_instances": instances(truth),
        "ignored_instances": instances(ignored),
        "pred_instances": instances(found, scores=torch.tensor(SCORES[: len(found)])),
    }


def scored(
    *samples: dict[str, Any],
    classes: tuple[str, ...] = ("plane",),
    records: tuple[ImageRecord, ...] = (),
    **settings: Any,
) -> dict[str, float]:
    from mmrotate.registry import METRICS

    metric = METRICS.build({"type": "RBoxMetric", **settings})
    metric.dataset_meta = {"classes": classes, "records": {record.image_id: record for record in records}}
    for each in samples:
        metric.process([], [each])
    return metric.evaluate(size=len(samples))


def test_what_is_found_as_it_is_scores_one() -> None:
    figures = scored(sample(ignored=[[0, 0, 0, 0, 0]]))
    assert figures == {
        "rbox/map": 1.0,
        "rbox/map_50": 1.0,
        "rbox/map_nc": 1.0,
        "rbox/f1_micro": 1.0,
    }


def test_images_without_a_file_count_by_hand() -> None:
    """Four objects found, four on an image that nobody saw: recall 1/2, so 6 of 11 points."""
    unseen = ImageRecord("P1", np.array(BOXES), np.zeros(4, np.int64))
    figures = scored(sample(), records=(unseen,))
    assert figures["rbox/map"] == pytest.approx(6 / 11)
    assert scored(sample(), records=(unseen,), only_with_images=True)["rbox/map"] == 1.0


def test_the_datasets_own_records_are_the_truth_where_there_are_some(tmp_path: Path) -> None:
    """The pipeline's has one box of four."""
    own = ImageRecord("P2805", np.array(BOXES), np.zeros(4, np.int64), path=tmp_path / "P2805.png")
    assert scored(sample(BOXES[:1]), records=(own,))["rbox/map"] == 1.0
    assert scored(sample(BOXES[:1]))["rbox/f1_micro"] < 1


def test_masks_score_what_pycocotools_gives(tmp_path: Path) -> None:
    """Two masks of one object each: one found as it is, one by a mask of IoU 0.6, which counts at two thresholds."""
    pixels = np.zeros((2, 40, 60), bool)
    pixels[0, 5:25, 5:25] = pixels[1, 10:30, 30:50] = True
    found = pixels.copy()
    found[1, 10:18] = False
    record = ImageRecord.from_masks("P1", list(pixels), np.zeros(2, int), width=60, height=40, path=tmp_path / "P1.png")
    boxes, labels = torch.tensor([[5.0, 5, 25, 25], [30, 10, 50, 30]]), torch.zeros(2, dtype=torch.int64)
    instances = {"bboxes": boxes, "labels": labels, "scores": torch.tensor([0.9, 0.8]), "masks": torch.tensor(found)}
    figures = scored(
        {"img_id": "P1", "ori_shape": (40, 60), "gt_instances": {}, "pred_instances": instances},
        records=(record,),
        protocol="coco",
        iou_thresholds=[0.5 + 0.05 * step for step in range(10)],
        geometry="mask",
    )
    truth = pycocotools.coco.COCO()
    shapes = [pycocotools.mask.encode(np.asfortranarray(each.astype(np.uint8))) for each in (*pixels, *found)]
    truth.dataset = {
        "images": [{"id": 1, "width": 60, "height": 40}],
        "categories": [{"id": 1}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": 1, "segmentation": shapes[n - 1], "area": 400, "iscrowd": 0}
            for n in (1, 2)
        ],
    }
    truth.createIndex()
    results = truth.loadRes(
        [{"image_id": 1, "category_id": 1, "segmentation": shapes[n], "score": 1.1 - n / 10} for n in (2, 3)]
    )
    witness = pycocotools.cocoeval.COCOeval(truth, results, "segm")
    for step in (witness.evaluate, witness.accumulate, witness.summarize):
        step()
    assert figures["rbox/map"] == pytest.approx(witness.stats[0], abs=1e-12)
    assert figures["rbox/map_75"] == pytest.approx(witness.stats[2], abs=1e-12)
    assert 0.5 < figures["rbox/map"] < 1


def test_several_thresholds() -> None:
    figures = scored(sample(), iou_thresholds=[0.1, 0.5])
    assert figures["rbox/map"] == figures["rbox/map_50"] == 1.0


def test_coco_protocol_of_the_boxes_in_mmrotates_test() -> None:
    boxes = [[50, 60, 20, 20, 0.0], [100, 120, 30, 30, 0.0], [150, 160, 40, 40, 0.0], [250, 260, 100, 100, 0.0]]
    figures = scored(
        sample(boxes, boxes, labels=[0, 0, 1, 0]),
        classes=("car", "bicycle"),
        protocol="coco",
        iou_thresholds=[0.5, 0.75, 0.95],
    )
    assert figures["rbox/map"] == figures["rbox/map_50"] == figures["rbox/map_75"] == 1.0


def test_a_false_alarm_on_another_image_by_hand() -> None:
    """Two truths, the better detection false: precision 1/2 at recall 1/2, nothing beyond: 6 of 11 points at 1/2."""
    figures = scored(
        sample([BOXES[0]], [[200, 200, 10, 20, 0.0]]),
        sample([BOXES[1]], [[300, 300, 9, 9, 0.0], BOXES[1]], image="P2"),
    )
    # By score: 1.0 false on both images, 0.98 true: recall 1/2 at precision 1/3.
    assert figures["rbox/map"] == pytest.approx(6 / 11 / 3)
    assert figures["rbox/f1_micro"] == pytest.approx(2 * (1 / 3) * (1 / 2) / (1 / 3 + 1 / 2))


def test_ignored_truths_count_neither_way() -> None:
    assert scored(sample(BOXES[:2], BOXES, ignored=BOXES[2:]))["rbox/map"] == 1.0


def test_any_angle_is_the_same_rectangle() -> None:
    turned = [[x, y, h, w, angle - 5 * np.pi / 2] for x, y, w, h, angle in BOXES]
    assert scored(sample(BOXES, turned))["rbox/map"] == 1.0


def test_images_without_truth_or_detections() -> None:
    figures = scored(sample([], []), sample(BOXES[:1], [], image="P2"))
    assert (figures["rbox/map"], figures["rbox/f1_micro"]) == (0.0, 0.0)
    assert np.isnan(scored(sample([], []))["rbox/map"])


def test_boxes_that_are_not_finite_are_left_out() -> None:
    found = [*BOXES[:3], [float("nan")] * 5]
    assert scored(sample(BOXES[:3], found))["rbox/f1_micro"] == 1.0


def test_quads_of_gliding_vertex() -> None:
    from mmrotate.structures import RotatedBoxes

    each = sample()
    each["pred_instances"]["bboxes"] = RotatedBoxes(BOXES).convert_to("qbox")
    assert scored(each)["rbox/map"] == 1.0


def test_it_reports_under_the_names_of_the_metrics_that_it_replaces(tmp_path: Path) -> None:
    """Beside MMRotate's own DOTAMetric, which scores in this process, where our operators are."""
    from mmrotate.registry import METRICS

    moved = [[x + 3, y, w, h, a] for x, y, w, h, a in BOXES]
    samples = [sample(found=moved), sample(BOXES[:2], BOXES, image="P2806")]
    samples[1]["pred_instances"]["scores"] -= 0.005  # no ties, which MMRotate's sorting breaks by chance
    also = [{"prefix": "dota", "protocol": "voc07", "iou_thresholds": (0.5,), "names": {"mAP": "map"}}]
    also += [{"prefix": "r_coco", "protocol": "coco", "iou_thresholds": (0.5, 0.75), "names": {"bbox_mAP": "map"}}]
    figures = scored(*samples, also=also)
    theirs = METRICS.build({"type": "DOTAMetric", "outfile_prefix": str(tmp_path / "results")})
    theirs.dataset_meta = {"classes": ("plane",)}
    for each in samples:
        theirs.process([], [each])
    assert figures["dota/mAP"] == figures["rbox/map"]
    assert figures["dota/mAP"] == pytest.approx(theirs.evaluate(size=2)["dota/mAP"], abs=1e-6)
    assert figures["r_coco/bbox_mAP"] == scored(*samples, protocol="coco", iou_thresholds=[0.5, 0.75])["rbox/map"]
    assert 0 < figures["r_coco/bbox_mAP"] < figures["dota/mAP"] < 1


@pytest.mark.parametrize(
    "evaluator, expected",
    [
        ({"type": "DOTAMetric", "metric": "mAP"}, ("voc07", (0.5,), {"dota/mAP": "map", "dota/AP50": "map_50"})),
        (
            {"type": "mmrotate.DOTAMetric", "iou_thrs": [0.5, 0.75], "eval_mode": "area", "prefix": "x"},
            ("voc", (0.5, 0.75), {"x/mAP": "map", "x/AP50": "map_50", "x/AP75": "map_75"}),
        ),
        ({"type": "SomebodysMetric"}, None),
    ],
)
def test_how_a_replaced_metric_is_computed(evaluator: dict[str, Any], expected: Any) -> None:
    from rbox_baselines._configs._metrics import _served

    found = _served(evaluator)
    if expected is None:
        assert found is None
    else:
        names = {f"{found['prefix']}/{name}": key for name, key in found["names"].items()}
        assert (found["protocol"], found["iou_thresholds"], names) == expected
