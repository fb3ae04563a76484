"""Pictures of truth beside predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image

from rbox_formats import ClassNames, Dataset, ImageRecord, draw, files, predictions
from rbox_formats.errors import DatasetError
from rbox_formats.progress import showing, track

__all__ = ["SHEET_SIZE", "visualize"]

SHEET_SIZE = 16

_MAX_SIDE = 2048


Sheet = Callable[[Sequence[tuple[ImageRecord, ImageRecord]], ClassNames], Image.Image]


def visualize(
    truth: Dataset,
    predictions_path: str | Path,
    out: str | Path,
    *,
    limit: int | None = None,
    progress: bool = False,
    sheet: Sheet | None = None,
) -> list[Path]:
    """Draw each image twice, with its annotations and with its predictions, and the first ones on one sheet.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import datasets, predictions, synthetic, visualization
    >>> config = synthetic.SceneConfig(size=128)
    >>> with TemporaryDirectory() as folder:
    ...     scenes = synthetic.write_scenes(folder, None, [0], config)
    ...     path = Path(folder) / "predictions.jsonl"
    ...     with predictions.Writer(path, predictions.Header(config.class_names, "my-detector")) as writer:
    ...         writer.write(scenes[0])
    ...     dataset = datasets.read("dota", folder, class_names=config.class_names)
    ...     drawn = visualization.visualize(dataset, path, Path(folder) / "pictures")
    ...     print([path.name for path in drawn])
    ['scene_0000.png', 'sheet.png']

    Args:
        truth: The dataset, read with the class names of the predictions.
        predictions_path: The file.
        out: The folder for the pictures: `<image_id>.png`, and `sheet.png` of the first 16.
        limit: The number of images to draw, from the first on. None: all.
        progress: Whether to show progress bars on standard error.
        sheet: Draws the sheet of the first 16, of annotations, predictions and class names, such as
            `rbox_metrics.plots.judged_sheet`, which tells right from wrong. None: the pictures on one.

    Returns:
        The files written, the sheet last.

    Raises:
        RboxError: If no predicted image has a file in the dataset.
    """
    by_id = {record.image_id: record for record in predictions.read(predictions_path)}
    pairs = [(record, by_id[record.image_id]) for record in truth if record.path and record.image_id in by_id][:limit]
    if not pairs:
        raise DatasetError(
            "expected images that are in the dataset and in the predictions, found none", path=predictions_path
        )
    on_one = Path(out) / "sheet.png"
    for annotated, _ in pairs:
        for target in (Path(out) / f"{annotated.image_id}.png", on_one):
            files.not_an_input(target, annotated.file)
    paths: list[Path] = []
    pictures: list[Image.Image] = []
    with showing(progress):
        for annotated, predicted in track(pairs, "drawing"):
            pixels, (left, right) = draw.fitted(annotated.file, annotated, predicted, max_side=_MAX_SIDE)
            picture = draw.side_by_side(pixels, left, right, truth.class_names, max_side=_MAX_SIDE)
            paths.append(Path(out) / f"{annotated.image_id}.png")
            draw.save(picture, paths[-1])
            if len(pictures) < SHEET_SIZE:
                pictures.append(picture)
        whole = draw.contact_sheet(pictures) if sheet is None else sheet(pairs[:SHEET_SIZE], truth.class_names)
        draw.save(whole, on_one)
    return [*paths, on_one]
