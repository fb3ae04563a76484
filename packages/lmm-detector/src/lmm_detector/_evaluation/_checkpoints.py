"""Which checkpoints a run has, and after how many steps each was written."""

from __future__ import annotations

import filecmp
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lmm_detector._families import fetch_detector
from lmm_detector._spec import FILE_NAME, DetectorSpec
from lmm_detector.errors import ModelError, RunError

# The names that transformers' Trainer gives, and the name of the final model here.
_NUMBERED = re.compile(r"(?:checkpoint|model)-(\d+)")
_WEIGHTS = "*.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A detector's folder.

    Attributes:
        name: `<run>/checkpoint-<step>` or `<run>/model-<step>` for those of a run; else the folder's name.
        path: The folder.
        step: After how many optimiser steps it was written, or None where nothing tells.
    """

    name: str
    path: Path
    step: int | None


def find_checkpoints(paths: Iterable[str | Path], *, intermediate: bool = False) -> list[Checkpoint]:
    """Return the detectors in some folders: the folders in the given order, the checkpoints of each by their steps.

    Args:
        paths: Detectors' folders or names, or the folders of runs. The same one twice counts once.
        intermediate: Of a run, all checkpoints that it has kept and the final model; one that is the final model, byte
            for byte, is left out. Otherwise, the final model alone.

    Raises:
        ModelError: If a folder holds no detector, or no run where one is asked for.
        RunError: If two have the same name.
    """
    found: dict[Path, Checkpoint] = {}
    for path in map(fetch_detector, paths):
        for checkpoint in _of_run(path) if intermediate else [_alone(path)]:
            found.setdefault(checkpoint.path.resolve(), checkpoint)
    by_name: dict[str, Checkpoint] = {}
    for checkpoint in found.values():
        other = by_name.setdefault(checkpoint.name.casefold(), checkpoint)
        if other is not checkpoint:
            raise RunError(
                f"expected checkpoints of different names, got {checkpoint.name!r} twice: {other.path} and "
                f"{checkpoint.path}",
                remedy="Evaluate them one after the other, into different folders (--out).",
            )
    return list(found.values())


def step_in(name: str) -> int | None:
    """Return the step that a checkpoint's name tells, such as 500 for "dota/checkpoint-500"."""
    match = _NUMBERED.fullmatch(name.rpartition("/")[2])
    return int(match[1]) if match else None


def _alone(path: Path) -> Checkpoint:
    if (path / FILE_NAME).is_file():
        run = _run_of(path)
        if run is None:
            return Checkpoint(path.resolve().name, path, step_in(path.resolve().name))
        return _final(run, _intermediate(run)) if path.resolve().name == "model" else _at_step(run, path)
    if not (path / "model" / FILE_NAME).is_file():
        if _intermediate(path):
            raise ModelError(
                "expected a finished run, found checkpoints alone",
                path=path,
                remedy="--intermediate evaluates those, or name one of them.",
            )
        DetectorSpec.load(path)  # which says what is missing
    return _final(path, _intermediate(path))


def _of_run(run: Path) -> list[Checkpoint]:
    """Return all that a run's folder holds, by their steps."""
    if (run / FILE_NAME).is_file():
        raise ModelError(
            "expected a run's folder for its checkpoints, got a detector's",
            path=run,
            remedy="Give the folder that training wrote to (its --out), or leave --intermediate out.",
        )
    kept = _intermediate(run)
    if not (run / "model" / FILE_NAME).is_file():
        if not kept:
            DetectorSpec.load(run)
        return [_at_step(run, path) for path in kept]
    return [_at_step(run, path) for path in kept if not _same_weights(path, run / "model")] + [_final(run, kept)]


def _intermediate(run: Path) -> list[Path]:
    """Return a run's finished checkpoints by their steps."""
    paths = [path.parent for path in run.glob(f"checkpoints/*/{FILE_NAME}")]
    return sorted((path for path in paths if step_in(path.name) is not None), key=lambda path: step_in(path.name) or 0)


def _run_of(path: Path) -> Path | None:
    """Return the run that a detector's folder lies in, by where training puts it."""
    path = path.resolve()
    if path.name == "model" and ((path.parent / "settings.yaml").is_file() or (path.parent / "checkpoints").is_dir()):
        return path.parent
    if path.parent.name == "checkpoints" and step_in(path.name) is not None:
        return path.parent.parent
    return None


def _at_step(run: Path, path: Path) -> Checkpoint:
    return Checkpoint(f"{run.resolve().name}/{path.resolve().name}", path, step_in(path.resolve().name))


def _final(run: Path, kept: list[Path]) -> Checkpoint:
    """Return the final model: a copy of a checkpoint, or, if those are gone, of the last that was logged."""
    path = run / "model"
    steps = [step_in(other.name) for other in kept if _same_weights(other, path)]
    step = steps[-1] if steps else _last_logged(run / "losses.jsonl")
    name = f"{run.resolve().name}/model"
    return Checkpoint(name if step is None else f"{name}-{step}", path, step)


def _last_logged(losses: Path) -> int | None:
    try:
        return int(json.loads(losses.read_text(encoding="utf-8").splitlines()[-1])["step"])
    except (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError):
        return None  # there is none, or it is not one of ours


def _same_weights(one: Path, other: Path) -> bool:
    """Return whether two folders hold the same weights: compared up to the first byte in which they differ."""
    names = sorted(path.name for path in one.glob(_WEIGHTS))
    if not names or names != sorted(path.name for path in other.glob(_WEIGHTS)):
        return False
    return not any(filecmp.cmpfiles(one, other, names, shallow=False)[1:])
