"""Pictures of many predictions, a file each."""

from __future__ import annotations

from pathlib import Path

from rbox_formats import draw, files
from rbox_formats.detection._prediction import Prediction
from rbox_formats.progress import SizedIterable, showing, track

_MAX_SIDE = 2048


def draw_predictions(found: SizedIterable[Prediction], out: str | Path, *, progress: bool = False) -> list[Path]:
    """Draw each image with its objects, as `<out>/<image_id>.png`.

    Args:
        found: Predictions whose images are there.
        out: The folder.
        progress: Shows a progress bar on standard error.

    Returns:
        The files written.

    Raises:
        ImageError: If an image is not there any more.
        DatasetError: If a picture would overwrite its image.
    """
    out = Path(out)
    written = []
    with showing(progress):
        for each in track(found, "drawing"):
            target = out / f"{files.safe_name(each.image_id, out)}.png"
            if each.path is not None:
                files.not_an_input(target, each.path)
            draw.save(each.plot(max_side=_MAX_SIDE), target)
            written.append(target)
    return written
