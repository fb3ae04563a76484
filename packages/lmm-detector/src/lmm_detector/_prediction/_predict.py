"""Prediction: a detector over many images, into a file from which a stopped run resumes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
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
)
from rbox_metrics import merge_scene

from lmm_detector._prediction._detection import check_generation
from lmm_detector._prediction._detector import Detector
from lmm_detector._prediction._generation import Generation
from lmm_detector._prediction._steps import Steps
from lmm_detector._runtime import _ranks
from lmm_detector.errors import ModelError

logger = logging.getLogger("lmm_detector")

# What may change when a run is resumed: smaller batches, if memory ran out, give the same answers.
_NOT_IN_HEADER = ("batch_size", "first_tokens")


def predict(
    detector: Detector,
    paths: Sequence[str | Path] | Manifest,
    out: str | Path,
    *,
    generation: Generation | None = None,
    dataset: Mapping[str, Any] | None = None,
    skip_broken: bool = False,
    share: tuple[int, int] | None = None,
    cluster: RayCluster | None = None,
    load: Callable[[], Detector] | None = None,
    progress: bool = False,
) -> Path | None:
    """Write the detections on image files to a predictions file, or resume one.

    What is done is kept in the folder `<out>.parts` until all is done (`rbox_formats.sharding`). The processes of a run
    under torchrun share the work; each calls this alike. A stopped run may be resumed by another number of processes.

    Args:
        detector: What to detect with.
        paths: The image files, no two of the same name; one that comes twice counts once. Or a manifest of shards, with
            the windows to look at.
        out: The file, such as "predictions.jsonl". Images that it holds are not predicted again.
        generation: How answers are generated.
        dataset: What the file's header says of the images.
        skip_broken: Leaves broken files out, and lists them at the end.
        share: Does one share of the work: its number, from 0, and how many there are. The call that ends last joins all
            parts into the file. None: all; under torchrun, whose processes share it, the process's own.
        cluster: Detects in processes of Ray. None: in this one.
        load: Loads the detector in each process of Ray.
        progress: Shows progress bars on standard error.

    Returns:
        The file; its images are in the order of `paths`. None where other shares of the work are still to be done.

    Raises:
        DatasetError: If two files have the same name.
        ImageError: If a file is not a whole image. This is found before the first is predicted, except for damage that
            only decoding shows.
        ModelError: If the answers cannot be as long, or as short, as asked for, or memory runs out.
        PredictionsError: If the file belongs to another run.
    """
    with showing(progress):
        out = Path(out)
        files.require_writable(out.parent)
        if out.exists() and not out.is_file():
            raise PredictionsError("expected a file to write, got something else", path=out)
        generation = generation or Generation()
        broken: dict[Path, str] = {}
        if isinstance(paths, Manifest):
            detector = detector.with_windows(paths.window, paths.gap)
        check_generation(detector, generation)
        if isinstance(paths, Manifest):
            plan = paths.plan()
        else:
            named = images.by_id(paths)
            broken = _broken_images(list(named.values()))
            if not skip_broken:
                images.refuse(list(broken.values()))
            scenes = [detector.scene(path) for path in named.values() if path not in broken]
            plan = shards(scenes, shard_size(scenes, generation.batch_size))
        parts = _ranks.on_main(lambda: Parts(out, _header(detector, generation, dataset)))
        rank, count = _ranks.place()
        if count > 1:
            share = rank, count
        run = _runner(detector, generation, parts, cluster, load, skip_broken)
        merge = partial(merge_scene, score_threshold=generation.score_threshold)
        outcomes, joined = zip(
            *_ranks.gathered(complete(parts, plan, run, merge, share=share, skip_broken=skip_broken)), strict=True
        )
        _report(Outcome.total(outcomes), list(broken.values()))
        return out if any(joined) else None


def _runner(
    detector: Detector,
    generation: Generation,
    parts: Parts,
    cluster: RayCluster | None,
    load: Callable[[], Detector] | None,
    skip_broken: bool,
) -> Callable[[list[Shard]], Outcome]:
    """Return what does shards: in this process, or on Ray."""
    if cluster is None:
        steps = detector.steps(generation)
        return lambda mine: detect_parts(steps, mine, parts, skip_broken=skip_broken)
    if load is None:
        raise ModelError("expected what loads the detector in the processes of Ray, got none", remedy="Give `load`.")
    make = partial(_loaded_steps, load, detector.views, generation)
    return lambda mine: detect_parts_on_ray(make, mine, parts, cluster, skip_broken=skip_broken)


def _loaded_steps(load: Callable[[], Detector], views: tuple[int, int] | None, generation: Generation) -> Steps:
    detector = load()
    return (detector if views is None else detector.with_windows(*views)).steps(generation)


def _broken_images(paths: Sequence[Path]) -> dict[Path, str]:
    """Return which files are no whole images, and why; the processes share the looking."""
    rank, count = _ranks.place()
    everyones: dict[Path, str] = {}
    for part in _ranks.gathered(images.find_broken(paths[rank::count])):
        everyones |= part
    return {path: everyones[path] for path in paths if path in everyones}


def _header(detector: Detector, generation: Generation, dataset: Mapping[str, Any] | None) -> predictions.Header:
    settings = {**asdict(generation), "dtype": str(detector.family.model.dtype), **images.shown_by()}
    if detector.engine is not None:
        settings["engine"] = detector.engine.version  # by which answers differ in rounding
    if detector.views is not None:
        settings |= dict(zip(("window", "gap"), detector.views, strict=True))
    # Draws are those of a batch.
    without = _NOT_IN_HEADER if generation.temperature is None else ()
    if generation.score_threshold == 0:  # which files of earlier versions do not name
        without = (*without, "score_threshold")
    return predictions.Header(
        class_names=detector.class_names,
        fingerprint=detector.fingerprint,
        codec=detector.codec.to_dict(),
        generation={name: value for name, value in settings.items() if name not in without},
        dataset=dict(dataset or {}),
    )


def _report(outcome: Outcome, broken: list[str]) -> None:
    """Say at the end what a user should know."""
    rank, _ = _ranks.place()
    if rank != 0:
        return
    statuses, broken = outcome.statuses, [*broken, *outcome.broken.values()]
    written = statuses.total()
    if statuses["truncated"]:
        logger.warning(
            "%d of %d images have an answer that ran into the length limit (--max-new-tokens)",
            statuses["truncated"],
            written,
        )
    if statuses["repeated"]:
        logger.warning(
            "%d of %d images have an answer that was stopped because it repeated the same boxes (--max-repeats)",
            statuses["repeated"],
            written,
        )
    if broken:
        logger.warning("%d broken images were left out:\n%s", len(broken), "\n".join(broken))  # words: left out:
