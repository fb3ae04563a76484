"""The protocols: how each benchmark scores, and where that is written down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast, get_args

import numpy as np

from rbox_metrics.errors import MetricsError
from rbox_metrics.typing import FloatsR, Geometry, ProtocolName

# PASCAL VOC 2007's eleven recalls, as its successors compute them: 0.3, 0.6 and 0.7 are rounded up by a bit, so a
# recall of exactly 3/10 does not reach the fourth. DOTA's kit uses arange(0, 1.1, 0.1), which gives the same numbers.
ELEVEN_RECALLS = np.arange(0, 1 + 1e-3, 0.1)

# COCO's recalls.
HUNDRED_AND_ONE_RECALLS = np.linspace(0, 1, 101)

# Instead of recalls: the area under the curve.
AREA = np.zeros(0)

# COCO's overlaps, as pycocotools makes them.
COCO_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())

# COCO's least and greatest areas, in square pixels, both within the range.
AREA_RANGES = {
    "all": (0.0, 1e10),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e10),
}


@dataclass(frozen=True, eq=False)
class Protocol:
    """How average precisions are computed.

    Attributes:
        recalls: The recalls at which precisions are averaged, as in `average_precisions`.
        greedy: Whether a detection takes the free truth that it overlaps most, as in COCO, or claims the truth that it
            overlaps most, free or not, as in VOC.
        strict: Whether the overlap must exceed the threshold; otherwise an equal overlap is enough.
        forgets_difficult: Whether difficult truths are forgotten on images that have no other truths of any class:
            detections on them are false positives there.
        geometry: What is compared by default: boxes, or quads as annotated.
        iou_thresholds: The default IoU thresholds.
        max_dets: How many detections of a class count on an image: each number has a recall, and the last one holds
            for the precision. None: all detections count.
    """

    recalls: FloatsR
    greedy: bool = False
    strict: bool = False
    forgets_difficult: bool = False
    geometry: Geometry = "rbox"
    iou_thresholds: tuple[float, ...] = (0.5,)
    max_dets: tuple[int, ...] | None = None


PROTOCOLS: dict[ProtocolName, Protocol] = {
    # `eval_rbbox_map` in mmrotate/evaluation/functional/mean_ap.py, open-mmlab/mmrotate 1.0.0rc1, which `DOTAMetric`
    # calls; its `get_cls_results` reads the difficult truths only of images that have ordinary ones.
    "voc07": Protocol(ELEVEN_RECALLS, forgets_difficult=True),
    "voc": Protocol(AREA, forgets_difficult=True),
    # `voc_eval` in dota_evaluation_task1.py, CAPTAIN-WHU/DOTA_devkit, as its `main` calls it.
    "dota": Protocol(ELEVEN_RECALLS, strict=True, geometry="quad"),
    # `RotatedCocoMetric` in mmrotate/evaluation/metrics/rotated_coco_metric.py, open-mmlab/mmrotate 1.0.0rc1, with
    # pycocotools' COCOeval; its difficult truths are crowds.
    "coco": Protocol(HUNDRED_AND_ONE_RECALLS, greedy=True, iou_thresholds=COCO_THRESHOLDS, max_dets=(100, 300, 1000)),
    # `FAIRMetric` in lmmrotate/modules/fair_metric.py, VisionXLab/mllm-mmrotate at 9475a93, which calls MMRotate's
    # `eval_rbbox_map`, as other public code does. What the benchmark's server computes is not published.
    "fair1m": Protocol(ELEVEN_RECALLS, forgets_difficult=True),
}


def choose(protocol: str, geometry: str | None) -> tuple[Protocol, Geometry]:
    """Return a protocol by its name, and the geometry that is asked for, by default the protocol's own.

    Raises:
        MetricsError: If there is no such protocol or geometry.
    """
    if not isinstance(protocol, str) or protocol not in PROTOCOLS:
        raise MetricsError(f"expected a protocol among {', '.join(map(repr, PROTOCOLS))}, got {protocol!r}")
    if geometry is not None and geometry not in get_args(Geometry):
        raise MetricsError(f"expected a geometry among {', '.join(map(repr, get_args(Geometry)))}, got {geometry!r}")
    chosen = PROTOCOLS[protocol]
    return chosen, cast("Geometry | None", geometry) or chosen.geometry
