"""The score of a model while it is trained, by rbox_metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import rbox_metrics
from mmengine.evaluator import BaseMetric
from mmrotate.registry import METRICS
from rbox_formats import ImageRecord

from rbox_baselines._parts._records import to_record

_NAMES = ("map", "map_50", "map_75", "map_nc", "f1_micro")


@METRICS.register_module()
class RBoxMetric(BaseMetric):
    """Scores what a model detects as `rbox_metrics.evaluate` does, in this process.

    MMRotate's DOTAMetric starts other processes for it, and takes minutes where this one takes seconds.

    Args:
        protocol: The name of a protocol of rbox_metrics; "voc07" is MMRotate's own.
        iou_thresholds: At which detections count; `rbox/map` is their mean.
        geometry: What is compared, as in `rbox_metrics.evaluate`, such as "mask". None: as the protocol says.
        only_with_images: Leaves out images whose file is not there. Otherwise they count, as in
            `rbox_metrics.evaluate_file`, and what is on them is missed.
        also: Metrics of MMRotate that it takes the place of, each with `prefix`, `protocol`, `iou_thresholds`, and
            `names`: of its names, "mAP" for "dota/mAP", what the report calls the same.
        **settings: As of mmengine's BaseMetric.
    """

    default_prefix = "rbox"

    def __init__(
        self,
        protocol: rbox_metrics.ProtocolName = "voc07",
        iou_thresholds: Sequence[float] = (0.5,),
        geometry: rbox_metrics.Geometry | None = None,
        only_with_images: bool = False,
        also: Sequence[Mapping[str, Any]] = (),
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self._protocol = protocol
        self._iou_thresholds = tuple(iou_thresholds)
        self._geometry = geometry
        self._only_with_images = only_with_images
        self._also = [dict(each) for each in also]
        self._others: dict[str, float] = {}

    def process(self, data_batch: object, data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep the annotations and detections of a batch, in pixels of the original images."""
        known = self.dataset_meta.get("records", {})
        for sample in data_samples:
            found = _found(sample)
            self.results.append((known[found.image_id] if found.image_id in known else _truth(sample), found))

    def compute_metrics(self, results: list[tuple[ImageRecord, ImageRecord]]) -> dict[str, float]:
        """Score all images: `map`, `map_50` and `map_75` where they are asked for, mAP_nc and F1."""
        truth, found = [truth for truth, _ in results], [found for _, found in results]
        if not self._only_with_images:
            truth += [record for record in self.dataset_meta.get("records", {}).values() if record.path is None]

        def scores(protocol: rbox_metrics.ProtocolName, iou_thresholds: Sequence[float]) -> dict[str, Any]:
            classes = self.dataset_meta["classes"]
            return rbox_metrics.evaluate(
                truth,
                found,
                classes,
                protocol=protocol,
                iou_thresholds=tuple(iou_thresholds),
                geometry=self._geometry,
            ).to_dict()

        own = scores(self._protocol, self._iou_thresholds)
        self._others = {}
        for each in self._also:
            same = (each["protocol"], tuple(each["iou_thresholds"])) == (self._protocol, self._iou_thresholds)
            theirs = own if same else scores(each["protocol"], each["iou_thresholds"])
            self._others |= {f"{each['prefix']}/{name}": _number(theirs, key) for name, key in each["names"].items()}
        return {name: _number(own, name) for name in _NAMES if name in own}

    def evaluate(self, size: int) -> dict[str, float]:
        """Score what `process` kept, under our names and those of the metrics that this one takes the place of.

        Args:
            size: How many images there are, of all processes.
        """
        from mmengine.dist import broadcast_object_list

        found = super().evaluate(size)
        others = [self._others]
        broadcast_object_list(others)  # the first process alone computes
        return found | others[0]


def _number(figures: Mapping[str, Any], name: str) -> float:
    value = figures.get(name)
    return float("nan") if value is None else float(value)


def _truth(sample: dict[str, Any]) -> ImageRecord:
    """Return the annotations of MMRotate's own datasets: those that count, then the difficult, kept apart by mmdet."""
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
    shape = sample.get("ori_shape")
    return to_record(
        str(sample["img_id"]),
        instances["bboxes"],
        instances["labels"],
        instances["scores"],
        masks=instances.get("masks"),
        size=None if shape is None else (shape[1], shape[0]),
    )
