"""What an evaluation found: figures by name, a table, and a file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbox_formats import files

from rbox_metrics._plain import plain
from rbox_metrics._typing import Geometry, ProtocolName
from rbox_metrics.errors import MetricsError

if TYPE_CHECKING:
    from rich.table import Table

    from rbox_metrics._calibration import Calibration
    from rbox_metrics._confusion import Confusion
    from rbox_metrics._curves import Curves
    from rbox_metrics._error_breakdown import ErrorBreakdown
    from rbox_metrics._placement import Placement
    from rbox_metrics._sweep import Sweep

# The figures of a threshold that a report also has as one number: the mean over its thresholds.
_SUMMARY = (
    "map",
    "map_nc",
    "map_nc_tied",
    "map_nc_random",
    "map_nc_spread",
    "f1_micro",
    "f1_macro",
    "precision_micro",
    "recall_micro",
)

# What only full reports have.
_PARTS = ("sweep", "confusion", "errors", "curves", "calibration", "placement")

# The thresholds whose `map` has a key of its own, as in torchmetrics.
_KEYS = {0.5: "map_50", 0.75: "map_75"}


@dataclass(frozen=True)
class ClassFigures:
    """One class at one IoU threshold. Figures are from 0 to 1, and NaN for a class without truth.

    Attributes:
        name: The class.
        truths: How many there are to find, without the difficult ones.
        difficult: How many difficult ones there are.
        detections: How many were given, ignored ones included.
        ap: Average precision by the protocol.
        ap_nc: The same by VOC07 with every score 1, in the order of the input.
        ap_nc_tied: The same with all detections as one point of the curve.
        ap_nc_random: The same in random orders, the mean over them.
        precision: Of all detections given, matched one to one.
        recall: Likewise.
        f1: Likewise.
    """

    name: str
    truths: int
    difficult: int
    detections: int
    ap: float
    ap_nc: float
    ap_nc_tied: float
    ap_nc_random: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class AtThreshold:
    """The figures at one IoU threshold, as `evaluate` defines them; NaN where there is no truth."""

    iou_threshold: float
    map: float
    map_nc: float
    map_nc_tied: float
    map_nc_random: float
    map_nc_spread: float
    f1_micro: float
    f1_macro: float
    precision_micro: float
    recall_micro: float
    classes: tuple[ClassFigures, ...]


@dataclass(frozen=True)
class CocoFigures:
    """What only COCO's protocol has: means over classes with truth and IoU thresholds, NaN where there is none.

    Attributes:
        max_dets: How many detections of a class count on an image; the last where no other is named.
        map_by_area: Average precision for truths that are "small", "medium" and "large".
        mar: Recall with each of `max_dets`.
        mar_by_area: Recall for truths of each size.
        mar_per_class: Recall of each class, the mean over IoU thresholds.
    """

    max_dets: tuple[int, ...]
    map_by_area: dict[str, float]
    mar: dict[int, float]
    mar_by_area: dict[str, float]
    mar_per_class: tuple[float, ...]

    @property
    def figures(self) -> dict[str, Any]:
        """The figures under torchmetrics' keys."""
        return {
            **{f"map_{name}": value for name, value in self.map_by_area.items()},
            **{f"mar_{limit}": value for limit, value in self.mar.items()},
            **{f"mar_{name}": value for name, value in self.mar_by_area.items()},
            f"mar_{self.max_dets[-1]}_per_class": list(self.mar_per_class),
        }


@dataclass(frozen=True)
class Report:
    """What `evaluate` found.

    Attributes:
        protocol: How the average precision was taken.
        geometry: Whether boxes or quads were compared.
        class_names: What the labels index.
        images: How many images the truth has, or None where it came as arrays without image ids.
        at: The figures at each IoU threshold, rising.
        coco: What only COCO's protocol has.
        sweep: The figures over score thresholds; this and what follows only in full reports, and at the lowest IoU
            threshold.
        confusion: Which classes are taken for which.
        errors: What goes wrong, and what it costs.
        curves: Precision over recall.
        calibration: Whether scores are what they say.
        placement: How well what was found is placed, and what each image has right and wrong.
    """

    protocol: ProtocolName
    geometry: Geometry
    class_names: tuple[str, ...]
    images: int | None
    at: tuple[AtThreshold, ...]
    coco: CocoFigures | None = None
    sweep: Sweep | None = None
    confusion: Confusion | None = None
    errors: ErrorBreakdown | None = None
    curves: Curves | None = None
    calibration: Calibration | None = None
    placement: Placement | None = None

    @property
    def figures(self) -> dict[str, Any]:
        """The figures under torchmetrics' keys and their kin.

        `map`, `map_nc`, `map_nc_tied`, `map_nc_random`, `map_nc_spread`, `f1_micro`, `f1_macro`, `precision_micro`,
        `recall_micro`: the mean over the thresholds asked for, so the figure itself where one was. `map_50` and
        `map_75`, where those were asked for. `map_per_class`: a list, the mean over the thresholds of each class's
        average precision. `classes`: the labels that it belongs to. For `coco` also `map_small`, `map_medium`,
        `map_large`, `mar_N`, `mar_small`, `mar_medium`, `mar_large` and `mar_N_per_class`.
        """
        per_class = zip(*(at.classes for at in self.at), strict=True)
        return {
            **{key: _mean([getattr(at, key) for at in self.at]) for key in _SUMMARY},
            **{_KEYS[at.iou_threshold]: at.map for at in self.at if at.iou_threshold in _KEYS},
            "map_per_class": [_mean([figures.ap for figures in of_class]) for of_class in per_class],
            "classes": list(range(len(self.class_names))),
            **(self.coco.figures if self.coco else {}),
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything in the report, ready for JSON: NaN is None."""
        whole = {
            "protocol": self.protocol,
            "geometry": self.geometry,
            "class_names": list(self.class_names),
            "images": self.images,
            "iou_thresholds": [at.iou_threshold for at in self.at],
            **self.figures,
            "at": [asdict(at) for at in self.at],
            **{name: part.to_dict() for name in _PARTS if (part := getattr(self, name)) is not None},
        }
        return plain(whole)

    def save(self, path: str | Path) -> None:
        """Writes a file, whole or not at all: by its ending `to_dict` as JSON, Markdown (.md) or CSV (.csv).

        The folder is made where it is missing.

        Raises:
            MetricsError: If the ending is another.
        """
        from rbox_metrics import _render

        texts = {".json": self.to_json, ".md": lambda: _render.markdown(self), ".csv": lambda: _render.to_csv(self)}
        ending = Path(path).suffix.lower()
        if ending not in texts:
            raise MetricsError(f"expected a report's file to end in {', '.join(texts)}, got {str(path)!r}")
        files.write_text(path, texts[ending]())

    def to_json(self) -> str:
        """`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def table(self, iou_threshold: float | None = None) -> Table:
        """The figures of one IoU threshold as a table for the terminal, a row per class, in percent.

        Args:
            iou_threshold: One of those asked for. None: the first.

        Raises:
            MetricsError: If it was not asked for.
        """
        from rbox_metrics import _render

        chosen = [at for at in self.at if iou_threshold is None or at.iou_threshold == iou_threshold]
        if not chosen:
            asked = ", ".join(f"{at.iou_threshold:g}" for at in self.at)
            raise MetricsError(f"expected an IoU threshold among {asked}, got {iou_threshold:g}")
        return _render.table(self, chosen[0])


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
