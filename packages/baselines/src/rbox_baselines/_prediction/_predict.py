"""Prediction: a detector over many images, into a file from which a stopped run resumes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from rbox_formats import files, images, predictions
from rbox_formats.errors import PredictionsError
from rbox_formats.progress import showing
from rbox_formats.sharding import (
    Manifest,
    Outcome,
    Parts,
    RayCluster,
    Shard,
    complete,
    detect_parts,
    detect_parts_on_ray,
    shard_size,
    shards,
    share_of_environment,
)

from rbox_baselines._prediction._detector import Detector
from rbox_baselines._prediction._views import BATCH_SIZE, Steps, Views
from rbox_baselines.errors import ConfigError

logger = logging.getLogger("rbox_baselines")


def predict(
    detector: Detector,
    paths: Sequence[str | Path] | Manifest,
    out: str | Path,
    *,
    views: Views | None = None,
    batch_size: int = BATCH_SIZE,
    dataset: Mapping[str, Any] | None = None,
    skip_broken: bool = False,
    share: tuple[int, int] | None = None,
    cluster: RayCluster | None = None,
    load: Callable[[], Detector] | None = None,
    progress: bool = False,
) -> Path | None:
    """Write the detections on image files to a predictions file, or resume one that a stopped run has left.

    If several windows, or several views of one window, find the same object, the box with the best score is kept: among
    windows by `rbox_metrics.merge_windows`, among the views of a window by `nms_rotated`.

    Args:
        detector: The detector.
        paths: The image files, no two of the same name; a file that is given twice counts once. Or a manifest of
            shards, whose windows take the place of those of `views`.
        out: The file, such as "predictions.jsonl". Images that it holds are not predicted again.
        views: Windows, flips and scales. None: the defaults of `Views`.
        batch_size: How many windows are processed together, across images.
        dataset: The entry `dataset` of the file's header: which images these are.
        skip_broken: Leaves broken files out, and lists them at the end.
        share: Does one share of the work: its number, from 0, and how many there are. The call that ends last joins all
            parts into the file. None: under torchrun this process's own; else all.
        cluster: Detects in processes of Ray. None: in this one.
        load: Loads the detector in each process of Ray.
        progress: Shows progress bars on standard error.

    Returns:
        The file; None where other shares of the work are still to be done. Until all is, what is done is in the folder
        `<out>.parts` (`rbox_formats.sharding`).

    Raises:
        DatasetError: If two files have the same name.
        ImageError: If a file is not a whole image; found before the first is predicted.
        PredictionsError: If the file belongs to another run.
    """
    with showing(progress):
        views = views or Views()
        broken: dict[Path, str] = {}
        if isinstance(paths, Manifest):
            views = replace(views, window=paths.window, gap=paths.gap)
            plan = paths.plan(pad_whole=False)
        out = Path(out)
        files.require_writable(out.parent)
        if out.exists() and not out.is_file():
            raise PredictionsError("expected a file to write, got something else", path=out)
        steps = _steps(detector, views, batch_size)
        if not isinstance(paths, Manifest):
            named = images.by_id(paths)
            broken = images.find_broken(list(named.values()))
            if not skip_broken:
                images.refuse(list(broken.values()))
            scenes = [steps.scene(path) for path in named.values() if path not in broken]
            plan = shards(scenes, shard_size(scenes, batch_size))
        header = predictions.Header(
            class_names=detector.class_names,
            fingerprint=detector.fingerprint,
            generation={**asdict(views), **images.shown_by()},
            dataset=dict(dataset or {}),
        )
        parts = Parts(out, header)
        outcome, is_joined = complete(
            parts,
            plan,
            _runner(steps, parts, cluster, load, skip_broken),
            steps.merge,
            share=share or share_of_environment(),
            skip_broken=skip_broken,
        )
        if messages := [*broken.values(), *outcome.broken.values()]:
            text = "%d broken images were left out:\n%s"  # words: left out:
            logger.warning(text, len(messages), "\n".join(messages))
        return out if is_joined else None


def _steps(detector: Detector, views: Views, batch_size: int) -> Steps:
    return Steps(detector, views, detector.input_side, batch_size, views.score_threshold)


def _runner(
    steps: Steps, parts: Parts, cluster: RayCluster | None, load: Callable[[], Detector] | None, skip_broken: bool
) -> Callable[[list[Shard]], Outcome]:
    """Return what does shards: in this process, or on Ray."""
    if cluster is None:
        return lambda mine: detect_parts(steps, mine, parts, skip_broken=skip_broken)
    if load is None:
        raise ConfigError("expected what loads the detector in the processes of Ray, got none", remedy="Give `load`.")
    make = partial(_loaded_steps, load, steps.views, steps.batch_size)
    return lambda mine: detect_parts_on_ray(make, mine, parts, cluster, skip_broken=skip_broken)


def _loaded_steps(load: Callable[[], Detector], views: Views, batch_size: int) -> Steps:
    return _steps(load(), views, batch_size)
