"""Pictures of truth beside predictions, and a sheet that tells right from wrong."""

from __future__ import annotations

from pathlib import Path

from rbox_formats import Dataset
from rbox_formats.visualization import visualize as _visualize


def visualize(
    truth: Dataset, predictions_path: str | Path, out: str | Path, *, limit: int | None = None, progress: bool = False
) -> list[Path]:
    """Draw each image twice, with its annotations and with its predictions, and the first of them on one sheet.

    On the sheet, `rbox_metrics.plots.judged_sheet`, colours tell what is right, wrong and missed.

    Args:
        truth: The dataset, read with the class names of the predictions.
        predictions_path: The file.
        out: The folder for the pictures: `<image_id>.png`, and `sheet.png` of the first 16.
        limit: Draw only this number of images, the first ones.
        progress: Shows progress bars on standard error.

    Returns:
        The files written, the sheet last.

    Raises:
        RboxError: If no predicted image has a file in the dataset.
    """
    from rbox_metrics.plots import judged_sheet

    return _visualize(truth, predictions_path, out, limit=limit, progress=progress, sheet=judged_sheet)
