"""The result of an evaluation: metrics by name, as a table, and in a file."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rbox_formats import files

from rbox_metrics._plain import plain
from rbox_metrics._reports import _render
from rbox_metrics._scores import (
    AtThreshold,
    Calibration,
    ClassFigures,
    CocoFigures,
    Confusion,
    Curves,
    ErrorBreakdown,
    Placement,
    Sweep,
    Turned,
)
from rbox_metrics.errors import MetricsError
from rbox_metrics.tables import csv_table, html_table, markdown_table, percent, plain_table
from rbox_metrics.typing import Geometry, ProtocolName

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.table import Table
else:
    DataFrame = Table = Any  # rich is imported where a table is drawn, pandas where a frame is asked for

# The metrics at an IoU threshold whose mean over the thresholds is also in a report.
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

# The columns of a report as CSV or data frame, without the IoU threshold.
_COLUMNS = tuple(field.name for field in fields(ClassFigures))

# The parts that only full reports have.
_PARTS = ("sweep", "confusion", "errors", "curves", "calibration", "placement", "turned")

# For how many IoU thresholds a notebook shows a table.
_MOST_TABLES = 3

# The IoU thresholds whose `map` has its own key, as in torchmetrics.
_KEYS = {0.5: "map_50", 0.75: "map_75"}


@dataclass(frozen=True, repr=False)
class Report:
    """The result of `evaluate`, shown as a table, or in a notebook as HTML.

    >>> from rbox_metrics import evaluate, from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 0])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3]], labels=[0], image_index=[0], scores=[0.9])
    >>> report = evaluate(truth, found, ["ship", "plane"])
    >>> report.figures["map"], report.figures["f1_micro"]
    (0.5, 0.6666666666666666)
    >>> report
    Report: voc07 on boxes, IoU 0.5, percent
                                  AP  AP nc preci-
     class truths dets     AP     nc   tied   sion recall     F1
     ───────────────────────────────────────────────────────────
     ship       1    1 100.00 100.00 100.00 100.00 100.00 100.00
     plane      1    0   0.00   0.00   0.00   0.00   0.00   0.00
    <BLANKLINE>
     mean               50.00  50.00  50.00                50.00
     all        2    1                      100.00  50.00  66.67

    Attributes:
        protocol: How the average precision was computed.
        geometry: Whether boxes ("rbox"), quads ("quad") or masks ("mask", "boundary") were compared.
        class_names: The classes, in the order of the labels.
        images: How many images the ground truth has, or None if it was given as arrays without image ids.
        at: The metrics at each IoU threshold, rising.
        coco: The metrics that only COCO's protocol has, or None.
        sweep: The metrics over score thresholds. Only in full reports, at the lowest IoU threshold.
        confusion: Which classes are detected as which. Only in full reports, at the lowest IoU threshold.
        errors: The kinds of errors, and how much each costs. Only in full reports, at the lowest IoU threshold.
        curves: Precision over recall. Only in full reports, at the lowest IoU threshold.
        calibration: Whether scores are probabilities. Only in full reports, at the lowest IoU threshold.
        placement: How well the found objects are placed, and the counts of each image. Only in full reports, at the
            lowest IoU threshold.
        turned: If nearly all detections with the right place and size have a wrong angle, the misread convention that
            explains it. None otherwise, and in reports that are not full.
        self_crossing_truths: If quads were compared, how many quads of the ground truth cross themselves.
            Implementations differ in the area of such quads, so DOTA's kit gives other numbers. None if boxes were
            compared.
        angles: How boxes of five numbers in COCO results give their angle, such as "degrees-counter-clockwise", if a
            file of COCO results with such boxes was scored; otherwise None.
        only_with_images: Whether images of the ground truth without a file were ignored, as asked of `evaluate_file`.
            Otherwise all images count, and all objects on images without a file are missed.
        images_left_out: How many images of the ground truth do not count: those without a file if only images with a
            file count, and those that are not in a sample.
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
    turned: Turned | None = None
    self_crossing_truths: int | None = None
    angles: str | None = None
    only_with_images: bool = False
    images_left_out: int = 0

    @property
    def figures(self) -> dict[str, Any]:
        """The metrics by name; names are torchmetrics' where it has the metric.

        - `map`, `map_nc`, `map_nc_tied`, `map_nc_random`, `map_nc_spread`, `f1_micro`, `f1_macro`, `precision_micro`,
          `recall_micro`: each the mean over the IoU thresholds that were asked for.
        - `map_50` and `map_75`, if those thresholds were asked for.
        - `map_per_class`: a list with each class's average precision, the mean over the IoU thresholds.
        - `classes`: the labels of that list.
        - For `coco` also `map_small`, `map_medium`, `map_large`, `mar_N`, `mar_small`, `mar_medium`, `mar_large` and
          `mar_N_per_class`.
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
        """Return everything in the report as a dictionary for JSON; NaN becomes None."""
        whole = {
            "protocol": self.protocol,
            "geometry": self.geometry,
            "class_names": list(self.class_names),
            "images": self.images,
            "only_with_images": self.only_with_images,
            "images_left_out": self.images_left_out,
            "angles": self.angles,
            "self_crossing_truths": self.self_crossing_truths,
            "iou_thresholds": [at.iou_threshold for at in self.at],
            **self.figures,
            "at": [asdict(at) for at in self.at],
            **{name: part.to_dict() for name in _PARTS if (part := getattr(self, name)) is not None},
        }
        return plain(whole)

    def save(self, path: str | Path) -> None:
        """Write a file, whole or not at all; its ending says what: `to_dict` as JSON, Markdown (.md) or CSV (.csv).

        A missing folder is created.

        Raises:
            MetricsError: If the file has another ending.
        """
        texts = {".json": self.to_json, ".md": self.to_markdown, ".csv": self.to_csv}
        ending = files.as_path(path, MetricsError).suffix.lower()
        if ending not in texts:
            raise MetricsError(f"expected a report's file to end in {', '.join(texts)}, got {str(path)!r}")
        files.write_text(path, texts[ending]())

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    def table(self, iou_threshold: float | None = None) -> Table:
        """Return the metrics at one IoU threshold as a table for the terminal, a row per class, in percent.

        Args:
            iou_threshold: One of the IoU thresholds of the report. Default: the first.

        Raises:
            MetricsError: If the report does not have this threshold.
        """
        chosen = [at for at in self.at if iou_threshold is None or at.iou_threshold == iou_threshold]
        if not chosen:
            asked = ", ".join(f"{at.iou_threshold:g}" for at in self.at)
            raise MetricsError(f"expected an IoU threshold among {asked}, got {iou_threshold:g}")
        return _render.table(self._title(chosen[0]), chosen[0])

    def __repr__(self) -> str:
        """Return the table of the first IoU threshold; `summary` has the other metrics."""
        lines = [f"Report: {self._headline()}", plain_table(_render.table("", self.at[0]))]
        if len(self.at) > 1:
            lines.append(f"mAP over {len(self.at)} IoU thresholds (the table shows IoU {self.at[0].iou_threshold:g}): ")
            lines[-1] += percent(self.figures["map"])
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return HTML for notebooks: a table for each of up to three IoU thresholds, then the other metrics."""
        header = ["class", *(name for name, _ in _render.COLUMNS)]
        parts = [
            html_table(self._title(at), header, [row for part in _render.class_rows(at) for row in part])
            for at in self.at[:_MOST_TABLES]
        ]
        return "\n".join([*parts, html_table(self._headline(), ["metric", "value"], self.summary())])

    def to_pandas(self) -> DataFrame:
        """Return a data frame with a row for each IoU threshold and class: what `to_csv` writes, fractions from 0 to 1.

        >>> from rbox_metrics import evaluate, from_arrays
        >>> truth = from_arrays([[50, 40, 20, 10, 0.3]], labels=[0], image_index=[0])
        >>> evaluate(truth, truth, ["ship"]).to_pandas()[["name", "ap"]]  # doctest: +SKIP
           name   ap
        0  ship  1.0

        Raises:
            MetricsError: If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MetricsError(
                "expected pandas for a data frame, found none", remedy="pip install 'rbox-metrics[pandas]'"
            ) from error
        return pandas.DataFrame(self._rows(), columns=["iou_threshold", *_COLUMNS])

    def summary(self) -> list[tuple[str, str]]:
        """Return the metrics that are not in the table, by name, the most important first.

        Metrics over all IoU thresholds come first, then, with its own name, what holds for the lowest one only.
        """
        at, lines = self.at[0], []
        if images := self._images():
            lines.append(("what counts of the ground truth", images))
        if len(self.at) > 1:
            lines.append((f"mAP over {len(self.at)} IoU thresholds", percent(self.figures["map"])))
        if self.coco:
            lines += [
                (name, percent(value)) for name, value in self.coco.figures.items() if not isinstance(value, list)
            ]
        if len(self.at) > 1:
            lines.append(("from here on, the IoU threshold is", f"{at.iou_threshold:g}"))
        lines.append(("mAP_nc, mean of random orders", f"{percent(at.map_nc_random)} ± {percent(at.map_nc_spread)}"))
        if self.sweep:
            lines += _render.best_lines(self.sweep)
        if self.placement and len(self.placement.iou):
            lines.append(("mean IoU of matches", percent(float(self.placement.iou.mean()))))
            degrees = math.degrees(float(np.median(self.placement.angle_error)))
            lines.append(("median angle error of matches", f"{degrees:.2f} degrees"))
        if self.calibration:
            lines.append(("expected calibration error", percent(self.calibration.ece)))
        if self.angles:
            lines.append(("angles of boxes in COCO results, read as", self.angles.replace("-", ", ", 1)))
        if self.self_crossing_truths:
            lines.append(
                ("truths that cross themselves (DOTA's kit overlaps such otherwise)", str(self.self_crossing_truths))
            )
        if self.turned:
            lines.append(("angles", str(self.turned)))
        return lines

    def to_markdown(self) -> str:
        """Return the report as Markdown: a table for each IoU threshold, then the other metrics."""
        parts = []
        for at in self.at:
            per_class, totals = _render.class_rows(at)
            header = ["class", *(name for name, _ in _render.COLUMNS)]
            parts.append(f"## {self._title(at)}\n\n" + markdown_table(header, [*per_class, *totals]))
        parts.append("## Other metrics\n\n" + markdown_table(["metric", "value"], self.summary()))
        if self.sweep:
            parts.append("## Over score thresholds, percent\n\n" + markdown_table(*_render.sweep_rows(self.sweep)))
        if self.errors:
            parts.append(
                "## Errors, and the AP that each kind costs, percent\n\n"
                + markdown_table(*_render.error_rows(self.errors))
            )
        if self.confusion:
            parts.append(
                "## Which class was taken for which\n\n" + markdown_table(*_render.confusion_rows(self.confusion))
            )
        return "\n".join(parts)

    def to_csv(self) -> str:
        """Return CSV with a row for each IoU threshold and class, with all its metrics; empty cells for NaN."""
        return csv_table(["iou_threshold", *_COLUMNS], self._rows())

    def _rows(self) -> list[list[Any]]:
        """Return the columns of `to_csv`, for each IoU threshold and class."""
        return [[at.iou_threshold, *(getattr(one, name) for name in _COLUMNS)] for at in self.at for one in at.classes]

    def _headline(self) -> str:
        """Return what was compared, and how."""
        compared = _COMPARED[self.geometry]
        overlaps = _several([f"{at.iou_threshold:g}" for at in self.at])
        return ", ".join(filter(None, [f"{self.protocol} on {compared}", f"IoU {overlaps}", self._images(), "percent"]))

    def _images(self) -> str:
        """Return how many images count, and which were chosen; "" where images have no ids."""
        if self.images is None:
            return ""
        which = " with a file" if self.only_with_images else ""
        if self.images_left_out:
            return f"{self.images} images{which} of {self.images + self.images_left_out}"
        return f"all {self.images} images{which}"

    def _title(self, at: AtThreshold) -> str:
        return f"{self.protocol}, IoU {at.iou_threshold:g}, percent"


_COMPARED: dict[Geometry, str] = {
    "rbox": "boxes",
    "quad": "quads",
    "mask": "masks",
    "boundary": "masks and their boundaries",
}


def _several(texts: list[str]) -> str:
    """Return a few values in full, or the first and last of many."""
    return ", ".join(texts) if len(texts) <= _MOST_TABLES else f"{texts[0]} to {texts[-1]} ({len(texts)})"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
