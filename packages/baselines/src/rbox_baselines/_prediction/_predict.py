"""Prediction: a detector over many images, into a file from which a stopped run resumes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rbox_formats import files, images, predictions
from rbox_formats.detection import Scene
from rbox_formats.errors import ImageError, PredictionsError
from rbox_formats.progress import progress_bar, showing

from rbox_baselines._prediction._detector import Detector
from rbox_baselines._prediction._views import BATCH_SIZE, Views, look

logger = logging.getLogger("rbox_baselines")


def predict(
    detector: Detector,
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    views: Views | None = None,
    batch_size: int = BATCH_SIZE,
    dataset: Mapping[str, Any] | None = None,
    skip_broken: bool = False,
    progress: bool = False,
) -> Path:
    """Write the detections on image files to a predictions file, or resume one that a stopped run has left.

    If several windows, or several views of one window, find the same object, the box with the best score is kept: among
    windows by `rbox_metrics.merge_windows`, among the views of a window by `nms_rotated`.

    Args:
        detector: The detector.
        paths: The image files, no two of the same name; a file that is given twice counts once.
        out: The file, such as "predictions.jsonl". Images that it holds are not predicted again.
        views: Windows, flips and scales. None: the defaults of `Views`.
        batch_size: How many windows are processed together, across images.
        dataset: The entry `dataset` of the file's header: which images these are.
        skip_broken: Leaves broken files out, and lists them at the end.
        progress: Shows progress bars on standard error.

    Returns:
        The file.

    Raises:
        DatasetError: If two files have the same name.
        ImageError: If a file is not a whole image; found before the first is predicted.
        PredictionsError: If the file belongs to another run.
    """
    with showing(progress):
        views = views or Views()
        out = Path(out)
        files.require_writable(out.parent)
        if out.exists() and not out.is_file():
            raise PredictionsError("expected a file to write, got something else", path=out)
        named = images.by_id(paths)
        broken = images.find_broken(list(named.values()))
        if not skip_broken:
            images.refuse(list(broken.values()))
        scenes = [detector.scene(path, views) for path in named.values() if path not in broken]
        header = predictions.Header(
            class_names=detector.class_names,
            fingerprint=detector.fingerprint,
            generation={**asdict(views), **images.shown_by()},
            dataset=dict(dataset or {}),
        )
        messages = list(broken.values())
        with predictions.Writer(out, header) as writer:
            todo = {scene.image_id for scene in scenes} - writer.done
            if len(todo) < len(scenes):
                logger.info("%s holds %d of %d images already", out, len(scenes) - len(todo), len(scenes))
            sizes = {scene.image_id: len(scene.windows) for scene in scenes}

            def on_broken(scene: Scene, error: ImageError) -> None:
                messages.append(str(error).splitlines()[0])

            with progress_bar("predicting", sum(sizes[image_id] for image_id in todo)) as advance:
                tell = on_broken if skip_broken else None
                for found in look(detector, scenes, views, batch_size, wanted=todo, on_broken=tell):
                    writer.write(found)
                    advance(sizes[found.image_id])
        if messages:
            text = "%d broken images were left out:\n%s"  # words: left out:
            logger.warning(text, len(messages), "\n".join(messages))
        return out
