"""What an evaluation found: figures by name, a table, and a file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbox_formats import files

from rbox_metrics.errors import MetricsError

if TYPE_CHECKING:
    from rich.table import Table

# The figures of a threshold that a report also has as one number: the mean over its thresholds.
_SUMMARY = ("map", "map_nc", "map_nc_tied", "f1_micro", "f1_macro", "precision_micro", "recall_micro")

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
    f1_micro: float
    f1_macro: float
    precision_micro: float
    recall_micro: float
    classes: tuple[ClassFigures, ...]


@dataclass(frozen=True)
class Report:
    """What `evaluate` found.

    Attributes:
        protocol: How the average precision was taken.
        class_names: What the labels index.
        images: How many images the truth has, or None where it came as arrays without image ids.
        at: The figures at each IoU threshold, in the order asked for.
    """

    protocol: str
    class_names: tuple[str, ...]
    images: int | None
    at: tuple[AtThreshold, ...]

    @property
    def figures(self) -> dict[str, Any]:
        """The figures under torchmetrics' keys and their kin.

        `map`, `map_nc`, `map_nc_tied`, `f1_micro`, `f1_macro`, `precision_micro`, `recall_micro`: the mean over the
        thresholds asked for, so the figure itself where one was. `map_50` and `map_75`, where those were asked for.
        `map_per_class`: a list, the mean over the thresholds of each class's average precision. `classes`: the labels
        that it belongs to.
        """
        per_class = zip(*(at.classes for at in self.at), strict=True)
        return {
            **{key: _mean([getattr(at, key) for at in self.at]) for key in _SUMMARY},
            **{_KEYS[at.iou_threshold]: at.map for at in self.at if at.iou_threshold in _KEYS},
            "map_per_class": [_mean([figures.ap for figures in of_class]) for of_class in per_class],
            "classes": list(range(len(self.class_names))),
        }

    def to_dict(self) -> dict[str, Any]:
        """Everything in the report, ready for JSON: NaN is None."""
        whole = {
            "protocol": self.protocol,
            "class_names": list(self.class_names),
            "images": self.images,
            "iou_thresholds": [at.iou_threshold for at in self.at],
            **self.figures,
            "at": [asdict(at) for at in self.at],
        }
        return _without_nan(whole)

    def save(self, path: str | Path) -> None:
        """Writes `to_dict` as a JSON file, whole or not at all; the folder is made where it is missing."""
        files.write_text(path, json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def table(self, iou_threshold: float | None = None) -> Table:
        """The figures of one IoU threshold as a table for the terminal, a row per class, in percent.

        Args:
            iou_threshold: One of those asked for. None: the first.

        Raises:
            MetricsError: If it was not asked for.
        """
        from rich import box
        from rich.table import Table

        chosen = [at for at in self.at if iou_threshold is None or at.iou_threshold == iou_threshold]
        if not chosen:
            asked = ", ".join(f"{at.iou_threshold:g}" for at in self.at)
            raise MetricsError(f"expected an IoU threshold among {asked}, got {iou_threshold:g}")
        at = chosen[0]
        # Narrow enough for 80 columns.
        table = Table(
            title=f"{self.protocol}, IoU {at.iou_threshold:g}, percent",
            box=box.SIMPLE_HEAD,
            padding=(0, 0),
            pad_edge=False,
        )
        table.add_column("class", overflow="fold")
        for name, _ in _COLUMNS:
            table.add_column(name, justify="right")
        for figures in at.classes:
            table.add_row(figures.name, *(show(figures) for _, show in _COLUMNS))
        table.add_section()
        table.add_row(
            "mean", "", "", *map(_percent, (at.map, at.map_nc, at.map_nc_tied)), "", "", _percent(at.f1_macro)
        )
        micro = (at.precision_micro, at.recall_micro, at.f1_micro)
        table.add_row("all", *_totals(at), "", "", "", *map(_percent, micro))
        return table


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.2f}"


_COLUMNS: tuple[tuple[str, Callable[[ClassFigures], str]], ...] = (
    ("truths", lambda figures: str(figures.truths)),
    ("dets", lambda figures: str(figures.detections)),
    ("AP", lambda figures: _percent(figures.ap)),
    ("AP\nnc", lambda figures: _percent(figures.ap_nc)),
    ("AP nc\ntied", lambda figures: _percent(figures.ap_nc_tied)),
    ("preci-\nsion", lambda figures: _percent(figures.precision)),
    ("recall", lambda figures: _percent(figures.recall)),
    ("F1", lambda figures: _percent(figures.f1)),
)


def _totals(at: AtThreshold) -> tuple[str, str]:
    return str(sum(c.truths for c in at.classes)), str(sum(c.detections for c in at.classes))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
