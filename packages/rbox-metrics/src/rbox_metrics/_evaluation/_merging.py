"""Detections on windows, in files of any kind, as a file of detections on the images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from rbox_formats import Convention, ImageRecord, files, predictions

from rbox_metrics._evaluation._submissions import write_dota_submission
from rbox_metrics._inputs.predictions import Predictions, read_predictions
from rbox_metrics._suppression import merge_records
from rbox_metrics.errors import MetricsError

WRITTEN = (".jsonl", ".parquet", ".zip")
"""How a file of merged detections may end: predictions.jsonl, the same as Parquet, or Task1 files in a zip."""


def merge_file(
    predictions_path: str | Path,
    out: str | Path,
    *,
    iou_threshold: float = 0.1,
    window_size: int | None = None,
    format: str | None = None,
    split: str | None = None,
    class_names: Iterable[str] | None = None,
    annotations: str | Path | None = None,
    convention: Convention | str | None = None,
) -> int:
    """Join the detections of windows in a file, and write a file of detections on the whole images.

    Args:
        predictions_path: A file, a zip or a folder of any kind that `read_predictions` reads, whose image ids are
            windows' names (see `rbox_formats.tiling.locate`).
        out: The file to write: predictions.jsonl if it ends in .jsonl, Parquet if it ends in .parquet, Task1 files if
            it ends in .zip. An existing file is replaced.
        iou_threshold: As in `merge_windows`.
        window_size: As in `merge_records`.
        format: As in `read_predictions`.
        split: As in `read_predictions`.
        class_names: As in `read_predictions`.
        annotations: The COCO file of the windows.
        convention: As in `read_predictions`.

    Returns:
        How many images were written.

    Raises:
        RboxError: If the file is cut short or of no known kind, an image id is not the name of a window, only some of
            the windows have scores, or `out` has another ending.
    """
    out = files.as_path(out, MetricsError)
    if out.suffix.lower() not in WRITTEN:
        raise MetricsError(
            f"expected a file ending in {', '.join(WRITTEN[:-1])} or {WRITTEN[-1]} to write to", path=out
        )
    found = read_predictions(
        predictions_path,
        class_names=class_names,
        format=format,
        split=split,
        annotations=annotations,
        convention=convention,
    )
    count = 0

    def counted() -> Iterator[ImageRecord]:
        nonlocal count
        for record in merge_records(found, iou_threshold=iou_threshold, window_size=window_size):
            count += 1
            yield record

    if out.suffix.lower() == ".zip":
        write_dota_submission(out, counted(), found.class_names)
        return count
    predictions.write(out, _header(found, predictions_path), counted())
    return count


def _header(found: Predictions, path: str | Path) -> predictions.Header:
    """Return the header of a predictions file; of other files, one that says where the detections come from."""
    if found.kind == "predictions":
        return predictions.stream(path).header
    return predictions.Header(found.class_names, f"merged from {found.kind}", dataset={"windows": str(path)})
