"""Prediction: a detector over many images, into a file that a stopped run goes on with."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rbox_formats import images, predictions
from rbox_formats.cli import progress
from rbox_formats.errors import DatasetError

from lmm_detector._detector import Detector, Generation
from lmm_detector._samples import check_images

logger = logging.getLogger("lmm_detector")


def predict(
    detector: Detector,
    paths: Sequence[Path],
    out: str | Path,
    *,
    generation: Generation | None = None,
    dataset: Mapping[str, Any] | None = None,
) -> Path:
    """Writes the detections on image files to a predictions file, or goes on with one.

    Args:
        detector: What to detect with.
        paths: The image files, no two of the same name.
        out: The file, such as "predictions.jsonl". Images that it holds are not predicted again.
        generation: How.
        dataset: What the file's header says of the images.

    Returns:
        The file.

    Raises:
        DatasetError: If two files have the same name.
        ImageError: If a file is not a whole image; found before the first is predicted, but for damage that only
            decoding shows.
        PredictionsError: If the file belongs to another run.
    """
    generation = generation or Generation()
    by_id: dict[str, Path] = {}
    for path in paths:
        if path.stem in by_id:
            raise DatasetError(f"expected images of different names, got {by_id[path.stem]} and {path}")
        by_id[path.stem] = path
    check_images(paths)

    settings = {**asdict(generation), "dtype": str(detector.family.model.dtype)}
    del settings["batch_size"]  # which a run that was out of memory may go on with smaller
    header = predictions.Header(
        class_names=detector.class_names,
        fingerprint=detector.fingerprint,
        codec=detector.codec.to_dict(),
        generation=settings,
        dataset=dict(dataset or {}),
    )
    truncated = 0
    with predictions.Writer(out, header) as writer:
        todo = [path for image_id, path in by_id.items() if image_id not in writer.done]
        if len(todo) < len(paths):
            logger.info("%s holds %d of %d images already", out, len(paths) - len(todo), len(paths))
        with progress("predicting", sum(len(detector.windows(path)) for path in todo)) as advance:
            for record in detector.predict(paths, generation, done=frozenset(writer.done)):
                writer.write(record)
                truncated += record.metadata["status"] == "truncated"
                advance(len(record.metadata["windows"]))
    if truncated:
        logger.warning("%d of %d images have an answer that ran into the length limit", truncated, len(todo))
    return Path(out)


def find_images(sources: Sequence[str | Path]) -> list[Path]:
    """The image files among files and folders (not their subfolders), in order of their names.

    Raises:
        DatasetError: If a source is not there, or has no image.
    """
    paths: list[Path] = []
    for source in map(Path, sources):
        found = images.find(source) if source.is_dir() else [source]
        if not source.exists() or not found:
            raise DatasetError(f"expected images ({', '.join(images.SUFFIXES)}), found none", path=source)
        paths += found
    return paths
