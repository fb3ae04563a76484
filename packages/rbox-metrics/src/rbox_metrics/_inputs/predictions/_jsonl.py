"""`predictions.jsonl`, its part files, and Parquet: see `rbox_formats.predictions`."""

from __future__ import annotations

from rbox_formats import predictions

from rbox_metrics._inputs.predictions._source import Predictions, Source
from rbox_metrics.errors import MetricsError


def read(source: Source) -> Predictions:
    """Read the predictions of a run; see `read_predictions`. Its header names the classes."""
    found = predictions.read(source.parts)
    names = source.context.class_names or found.class_names
    if len(names) != len(found.class_names):
        raise MetricsError(
            f"expected the {len(found.class_names)} class names of the file's header, got {len(names)}",
            path=source.path,
            remedy="Leave class_names out; map_classes maps the file's classes to others.",
        )
    return Predictions(names, found.sources, found.load, kind="predictions", has_empty_images=True)
