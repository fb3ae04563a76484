"""The score of a model while it is trained, by rbox_metrics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import rbox_metrics
from mmengine.evaluator import BaseMetric
from mmrotate.registry import METRICS
from rbox_formats import ImageRecord

from rbox_baselines._parts._records import to_record


@METRICS.register_module()
class RBoxMetric(BaseMetric):
    """Scores what a model detects as `rbox_metrics.evaluate` does, in this process.

    MMRotate's DOTAMetric starts other processes for it; these import mmrotate anew, fail where it is mended only in the
    first, and are waited for for ever.

    Args:
        protocol: Of rbox_metrics; "voc07" is MMRotate's own.
        iou_thresholds: At which detections count; `rbox/map` is their mean.
        only_with_images: Leaves out images whose file is not there. Otherwise they count, as in
            `rbox_metrics.evaluate_file`, and what is on them is missed.
        **settings: As of mmengine's BaseMetric.
    """

    default_prefix = "rbox"

    def __init__(
        self,
        protocol: rbox_metrics.ProtocolName = "voc07",
        iou_thresholds: Sequence[float] = (0.5,),
        only_with_images: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self._protocol = protocol
        self._iou_thresholds = tuple(iou_thresholds)
        self._only_with_images = only_with_images

    def process(self, data_batch: object, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keeps the annotations and detections of a batch, in pixels of the original images."""
        self.results += [(_truth(sample), _found(sample)) for sample in data_samples]

    def compute_metrics(self, results: list[tuple[ImageRecord, ImageRecord]]) -> dict[str, float]:
        """The figures of all images: `map`, `map_50` and `map_75` where they are asked for, mAP_nc and F1."""
        truth, found = [truth for truth, _ in results], [found for _, found in results]
        if not self._only_with_images:
            truth += self.dataset_meta.get("without_file", [])
        report = rbox_metrics.evaluate(
            truth, found, self.dataset_meta["classes"], protocol=self._protocol, iou_thresholds=self._iou_thresholds
        )
        figures = report.to_dict()
        named = {name: figures[name] for name in ("map", "map_50", "map_75", "map_nc", "f1_micro") if name in figures}
        return {name: float("nan") if value is None else value for name, value in named.items()}


def _truth(sample: dict[str, Any]) -> ImageRecord:
    """The annotations: those that count, then the difficult ones, which mmdet keeps apart."""
    parts = [
        to_record(str(sample["img_id"]), instances["bboxes"], instances["labels"])
        for instances in (sample["gt_instances"], sample.get("ignored_instances"))
        if instances
    ]
    counted = len(parts[0])
    whole = parts[0] if len(parts) == 1 else _joined(*parts)
    return replace(whole, difficult=np.arange(len(whole)) >= counted)


def _joined(first: ImageRecord, second: ImageRecord) -> ImageRecord:
    return replace(
        first,
        boxes=np.concatenate([first.boxes, second.boxes]),
        labels=np.concatenate([first.labels, second.labels]),
        quads=np.concatenate([first.corners, second.corners]) if first.quads is not None else None,
        difficult=np.concatenate([first.difficult, second.difficult]),
    )


def _found(sample: dict[str, Any]) -> ImageRecord:
    instances = sample["pred_instances"]
    return to_record(str(sample["img_id"]), instances["bboxes"], instances["labels"], instances["scores"])
