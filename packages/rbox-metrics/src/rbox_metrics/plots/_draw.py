"""All pictures of some reports, as figures of matplotlib and as files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbox_formats import files
from rbox_formats.errors import listed, quoted, said

from rbox_metrics.errors import MetricsError
from rbox_metrics.plots._calibration import reliability
from rbox_metrics.plots._confusion import heat_map
from rbox_metrics.plots._curves import class_curves, mean_curves
from rbox_metrics.plots._errors import costs
from rbox_metrics.plots._placement import histograms
from rbox_metrics.plots._sweep import thresholds
from rbox_metrics.plots.style import save

if TYPE_CHECKING:
    from matplotlib.figure import Figure
else:
    Figure = Any  # matplotlib is imported where something is drawn

Parts = Mapping[str, Mapping[str, Any]]

# The pictures with all runs: their names, the part of the reports that they show, and what draws them.
_TOGETHER: tuple[tuple[str, str, Callable[[Parts], Figure | None]], ...] = (
    ("pr-curves", "curves", mean_curves),
    ("pr-classes", "curves", class_curves),
    ("score-thresholds", "sweep", thresholds),
    ("calibration", "calibration", reliability),
    ("errors", "errors", costs),
)
# The pictures of a single run: their names, the part of the report that they show, and what draws them.
_EACH: tuple[tuple[str, str, Callable[[str, Mapping[str, Any]], Figure]], ...] = (
    ("confusion", "confusion", heat_map),
    ("placement", "placement", histograms),
)
_PARTS = tuple(dict.fromkeys(part for _, part, _ in (*_TOGETHER, *_EACH)))

# With the picture's name before it and a number after it, far below a file system's 255 bytes, whatever the letters.
_LONGEST_NAME = 40

_ANOTHER = "Evaluate again with this version: the report is another's."


def draw(reports: Mapping[str, Any], folder: str | Path) -> list[Path]:
    """Write every picture that `figures` makes as a PNG of 300 dots per inch, whole or not at all.

    >>> import tempfile
    >>> from rbox_metrics import evaluate, from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> report = evaluate(truth, found, ["ship", "plane"], full=True)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = draw({"mine": report.to_dict()}, folder)
    >>> paths[0].name
    'pr-curves.png'

    Args:
        reports: As in `figures`.
        folder: The folder to write to; it is created if it is missing, and other files in it stay.

    Returns:
        The paths of the files, `<name>.png`.

    Raises:
        MetricsError: As in `figures`.
    """
    folder, paths = Path(folder), []
    for name, figure in figures(reports).items():
        paths.append(folder / files.safe_name(f"{name}.png", folder))
        save(figure, paths[-1])
    return paths


def figures(reports: Mapping[str, Any]) -> dict[str, Figure]:
    """Return the pictures of full reports, at their lowest IoU threshold.

    Pictures of all runs together: `pr-curves` (the means over classes), `pr-classes` (a small picture for each class),
    `score-thresholds` (mAP_nc and F1), `calibration` and `errors`. Pictures of each run: `confusion-<run>` and
    `placement-<run>`, where the run's name is changed to a valid file name. A picture is left out if no report has what
    it shows.

    >>> from rbox_metrics import evaluate, from_arrays
    >>> truth = from_arrays([[50, 40, 20, 10, 0.3], [90, 70, 30, 12, -0.5]], labels=[0, 1], image_index=[0, 1])
    >>> found = from_arrays([[51, 40, 20, 10, 0.3], [20, 20, 9, 9, 0]], [0, 1], [0, 1], scores=[0.9, 0.6])
    >>> report = evaluate(truth, found, ["ship", "plane"], full=True)
    >>> sorted(figures({"mine": report.to_dict()}))
    ['calibration', 'confusion-mine', 'errors', 'placement-mine', 'pr-classes', 'pr-curves', 'score-thresholds']

    Args:
        reports: The reports by the name of the run; each is what `Report.to_dict()` returns, or what its JSON file
            contains.

    Returns:
        The figures of matplotlib, by name.

    Raises:
        MetricsError: If there is no report, a report has none of the parts that pictures show or comes from another
            version, or matplotlib is not installed.
    """  # words: figures
    if not reports:
        raise MetricsError("expected at least one report to draw, got none")
    for run, report in reports.items():
        if not isinstance(report, Mapping) or not any(_has(report, part) for part in _PARTS):
            raise MetricsError(
                f"expected a report with at least one of {', '.join(_PARTS)} for {quoted(run)}, got none of them",
                remedy="Draw full reports: the result of evaluate(..., full=True), or the file that "
                "`rbox-metrics evaluate --out report.json` writes.",
            )
    drawn: dict[str, Figure] = {}
    for name, part, together in _TOGETHER:
        parts = {run: report[part] for run, report in reports.items() if _has(report, part)}
        figure = _checked(together, parts, part=part, of=parts) if parts else None
        if figure is not None:
            drawn[name] = figure
    for (run, report), safe in zip(reports.items(), file_names(list(reports)), strict=True):
        for name, part, of_run in _EACH:
            if _has(report, part):
                drawn[f"{name}-{safe}"] = _checked(of_run, run, report[part], part=part, of=[run])
    return drawn


def _has(report: Mapping[str, Any], part: str) -> bool:
    return isinstance(report.get(part), Mapping)


def _checked(make: Callable[..., Any], *arguments: Any, part: str, of: Any) -> Any:
    """Return a part of a report, or raise an error that names what the report lacks."""
    try:
        return make(*arguments)
    except KeyError as error:
        raise MetricsError(
            f"expected {error} in {quoted(part)} of the reports of {listed(map(repr, of))}, got none",
            remedy=_ANOTHER,
        ) from error
    except Exception as error:  # of any class: numbers that do not belong together show when they are drawn
        raise MetricsError(
            f"expected {quoted(part)} of the reports of {listed(map(repr, of))} as `evaluate` writes it, got "
            f"{type(error).__name__}: {said(error)}",
            remedy=_ANOTHER,
        ) from error


def file_names(runs: list[str]) -> list[str]:
    """Return for each run a file name of letters, digits, '.', '-' and '_', all different."""
    names: list[str] = []
    for run in runs:
        plain = re.sub(r"[^\w.-]+", "_", run)[:_LONGEST_NAME].strip("._") or "run"
        name, number = plain, 2
        while name.casefold() in (other.casefold() for other in names):
            name, number = f"{plain}-{number}", number + 1
        names.append(name)
    return names
