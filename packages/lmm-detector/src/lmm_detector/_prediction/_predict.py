"""Prediction: a detector over many images, into a file from which a stopped run resumes."""

from __future__ import annotations

import glob
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from rbox_formats import files, images, predictions
from rbox_formats.detection import Scene, blocks, shared
from rbox_formats.errors import ImageError, PredictionsError
from rbox_formats.progress import progress_bar, showing

from lmm_detector._prediction._detection import check_generation, detect
from lmm_detector._prediction._detector import Detector
from lmm_detector._prediction._generation import Generation
from lmm_detector._runtime import _ranks

logger = logging.getLogger("lmm_detector")

# What may change when a run is resumed: smaller batches, if memory ran out, give the same answers.
_NOT_IN_HEADER = ("batch_size", "first_tokens")


def predict(
    detector: Detector,
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    generation: Generation | None = None,
    dataset: Mapping[str, Any] | None = None,
    skip_broken: bool = False,
    progress: bool = False,
) -> Path:
    """Write the detections on image files to a predictions file, or resume one.

    The processes of a run under torchrun share the images; each calls this alike. Until all are done, each appends to
    a file of its own beside `out`, `<out>.part-<number>`; a stopped run may be resumed by another number of processes.

    Args:
        detector: What to detect with.
        paths: The image files, no two of the same name; one that comes twice counts once.
        out: The file, such as "predictions.jsonl". Images that it holds are not predicted again.
        generation: How answers are generated.
        dataset: What the file's header says of the images.
        skip_broken: Leaves broken files out, and lists them at the end.
        progress: Shows progress bars on standard error.

    Returns:
        The file; its images are in the order of `paths`.

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
        check_generation(detector, generation)
        named = images.by_id(paths)
        broken = _broken_images(list(named.values()))
        if not skip_broken:
            images.refuse(list(broken.values()))
        scenes = [detector.scene(path) for path in named.values() if path not in broken]
        header = _header(detector, generation, dataset)

        parts, done = _ranks.on_main(lambda: _held(out, header))
        rank, count = _ranks.place()
        if rank == 0 and (held := sum(scene.image_id in done for scene in scenes)):
            logger.info("%s holds %d of %d images already", out, held, len(scenes))
        if parts or count > 1:
            outcome = _by_parts(detector, scenes, generation, out, header, done, skip_broken)
        else:
            todo = {scene.image_id for scene in scenes} - done
            outcome = _run(detector, scenes, generation, out, header, todo, skip_broken)
        _report(outcome, [*broken.values(), *outcome.broken])
        return out


def _broken_images(paths: Sequence[Path]) -> dict[Path, str]:
    """Return which files are no whole images, and why; the processes share the looking."""
    rank, count = _ranks.place()
    everyones: dict[Path, str] = {}
    for part in _ranks.gathered(images.find_broken(paths[rank::count])):
        everyones |= part
    return {path: everyones[path] for path in paths if path in everyones}


class _Outcome(NamedTuple):
    """What came of some images.

    Attributes:
        written: How many were predicted.
        truncated: How many have an answer that ran into the length limit.
        repeated: How many others have one that was stopped because it repeated boxes.
        broken: What is wrong with the others.
    """

    written: int
    truncated: int
    repeated: int
    broken: list[str]


def _header(detector: Detector, generation: Generation, dataset: Mapping[str, Any] | None) -> predictions.Header:
    settings = {**asdict(generation), "dtype": str(detector.family.model.dtype), **images.shown_by()}
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


def _held(out: Path, header: predictions.Header) -> tuple[list[Path], set[str]]:
    """Return the parts that a run of several processes left, and the images that they and the file itself hold."""
    parts = _parts(out)
    return parts, set().union(*(predictions.held(path, header) for path in (out, *parts)))


def _parts(out: Path) -> list[Path]:
    return sorted(out.parent.glob(f"{glob.escape(out.name)}.part-*"))


def _run(
    detector: Detector,
    scenes: Sequence[Scene],
    generation: Generation,
    out: Path,
    header: predictions.Header,
    todo: Collection[str],
    skip_broken: bool,
) -> _Outcome:
    """Append the predictions of the images in `todo` to a file."""
    truncated = repeated = 0
    broken: list[str] = []
    windows = sum(len(scene.windows) for scene in scenes if scene.image_id in todo)

    def on_broken(scene: Scene, error: ImageError) -> None:
        broken.append(str(error).splitlines()[0])

    written = 0
    with (
        predictions.Writer(out, header) as writer,
        progress_bar("predicting", windows) as advance,
    ):
        for found in detect(detector, scenes, generation, wanted=todo, on_broken=on_broken if skip_broken else None):
            writer.write(found)
            written += 1
            truncated += found.status == "truncated"
            repeated += found.status == "repeated"
            advance(len(found.metadata["windows"]))
    return _Outcome(written, truncated, repeated, broken)


def _by_parts(
    detector: Detector,
    scenes: Sequence[Scene],
    generation: Generation,
    out: Path,
    header: predictions.Header,
    done: set[str],
    skip_broken: bool,
) -> _Outcome:
    """Predict this process's share, into a part; when all are done, put the parts together."""
    rank, count = _ranks.place()
    left = [
        (block, [scene for scene in block if scene.image_id not in done])
        for block in blocks(scenes, generation.batch_size)
    ]
    left = [(block, todo) for block, todo in left if todo]
    # All of a block is answered again where an image of it is asked for.
    owners = shared([sum(len(scene.windows) for scene in block) for block, _ in left], count)
    mine = {scene.image_id for owner, (_, todo) in zip(owners, left, strict=True) if owner == rank for scene in todo}
    outcomes = _ranks.gathered(
        _run(detector, scenes, generation, out.with_name(f"{out.name}.part-{rank}"), header, mine, skip_broken)
    )
    order = [scene.image_id for scene in scenes]
    _ranks.on_main(lambda: predictions.join(out, _parts(out), header, order))
    return _Outcome(
        sum(each.written for each in outcomes),
        sum(each.truncated for each in outcomes),
        sum(each.repeated for each in outcomes),
        [message for each in outcomes for message in each.broken],
    )


def _report(outcome: _Outcome, broken: list[str]) -> None:
    """Say at the end what a user should know."""
    rank, _ = _ranks.place()
    if rank != 0:
        return
    if outcome.truncated:
        logger.warning(
            "%d of %d images have an answer that ran into the length limit (--max-new-tokens)",
            outcome.truncated,
            outcome.written,
        )
    if outcome.repeated:
        logger.warning(
            "%d of %d images have an answer that was stopped because it repeated the same boxes (--max-repeats)",
            outcome.repeated,
            outcome.written,
        )
    if broken:
        logger.warning("%d broken images were left out:\n%s", len(broken), "\n".join(broken))  # words: left out:
