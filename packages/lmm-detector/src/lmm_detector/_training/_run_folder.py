"""The folder of a training run: what a stopped run resumes from, the settings that it is bound to, its final model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from rbox_formats import archives, files
from rbox_formats.errors import RboxError, said
from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from lmm_detector import _families
from lmm_detector._runtime._memory import is_out_of_memory
from lmm_detector._spec import FILE_NAME, DetectorSpec
from lmm_detector._training import _config, _following
from lmm_detector._training._config import TrainConfig
from lmm_detector.errors import RunError

# Settings that change nothing of what a run comes to.
_WITHOUT_EFFECT = (
    "out",
    "resume_from",
    "window_cache",
    "workers",
    "report_to",
    "device_batch_size",
    "gradient_checkpointing",
    "eval_batch_size",
    "keep_checkpoints",
)

# What a checkpoint has and a detector does not need: optimiser, schedule, random state.
without_training = shutil.ignore_patterns(
    "*.pt", "*.pth", "*.bin", "global_step*", "zero_to_fp32.py", "latest", TRAINER_STATE_NAME
)


# Of what a checkpoint needs to be gone on with elsewhere: no code, and tensors that are read as nothing else.
CHECKPOINT_FILES = (
    *("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"),
    *("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state*.pth"),
)


# What PyTorch's RuntimeErrors are known by where a file cannot be written: its writer's name, and C++'s own words.
_OF_WRITING = ("inline_container", "iostream error")


@contextmanager
def written(folder: Path) -> Iterator[None]:
    """Turn what PyTorch, safetensors and Python raise where a file cannot be written into an error that says so.

    Args:
        folder: What is written.

    Raises:
        RunError: If the block could not write it, as where the disk is full.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(words in str(error) for words in _OF_WRITING):
            raise
        free = shutil.disk_usage(next(each for each in folder.parents if each.is_dir())).free
        raise RunError(
            f"expected a disk to write on, got {type(error).__name__}: {said(error)} ({free / 2**30:.2f} GiB are free)",
            path=folder,
            remedy="Free some space if the disk is full. The same command then resumes from the checkpoint before.",
        ) from error


def check_ends(folder: Path) -> None:
    """Look for files of a checkpoint that end too early, once all processes have written theirs.

    PyTorch before 2.9 says nothing where the end of a file could not be written.

    Raises:
        OSError: If there is one.
    """
    cut = [path.name for path in folder.glob("*.pt") if not archives.is_archive(path)]
    if cut:
        raise OSError(f"the end of {cut[0]} is missing")


@contextmanager
def readable(checkpoint: Path) -> Iterator[None]:
    """Turn what a checkpoint's broken files raise into an error that names it.

    Raises:
        RunError: If the block could not read it.
    """
    try:
        yield
    except RboxError:
        raise
    except Exception as error:  # what is wrong with a broken file shows in any way
        if is_out_of_memory(error):
            raise
        raise RunError(
            f"expected a checkpoint of `lmm-detector train`, got {type(error).__name__}: {said(error)}",
            path=checkpoint,
            remedy=_WITHOUT_IT,
        ) from error


_WITHOUT_IT = "Remove this folder: the same command then resumes from the checkpoint before, or begins again."


def require_training_state(checkpoint: Path) -> None:
    """Make sure that a checkpoint has the state of optimiser and schedule; transformers begins with new ones else.

    Raises:
        RunError: If it has not.
    """
    for what, names in {"optimiser": ("optimizer.pt", "optimizer.bin"), "schedule": ("scheduler.pt",)}.items():
        if not any((checkpoint / name).is_file() for name in names):
            raise RunError(
                f"expected the state of the {what} in {' or '.join(names)}, found none",
                path=checkpoint,
                remedy=_WITHOUT_IT,
            )


def copy_checkpoints(run: Path, out: Path, called: Path) -> Path:
    """Copy the newest and the best checkpoint of a run into the folder of another, or of what is to be sent.

    Args:
        run: The run's folder.
        out: The other folder; it is there. Each checkpoint appears whole, the newest last.
        called: What they are to call it, where they name each other.

    Returns:
        The newest one, in `out`.

    Raises:
        RunError: If there is none, or one is not as `train` leaves it.
    """
    found = finished_checkpoints(run / "checkpoints")
    if not found:
        raise RunError("expected a run with a checkpoint, found none", path=run)
    try:
        best = Path(_state(found[-1]).best_model_checkpoint or "").name
        wanted = [path for path in found if path is found[-1] or path.name == best]
        (out / "checkpoints").mkdir(exist_ok=True)
        with files.temporary_folder(out) as temporary:
            for path in wanted:
                new = temporary / path.name
                new.mkdir()
                for file in {file for pattern in CHECKPOINT_FILES for file in path.glob(pattern)}:
                    shutil.copyfile(file, new / file.name)
                state = _state(path)
                state.best_model_checkpoint = str(called / "checkpoints" / best) if best else None
                state.save_to_json(str(new / TRAINER_STATE_NAME))
                shutil.rmtree(out / "checkpoints" / path.name, ignore_errors=True)
                new.rename(out / "checkpoints" / path.name)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:  # a file of a stranger
        raise RunError(f"expected checkpoints of `lmm-detector train`, got {said(error)}", path=run) from error
    return out / "checkpoints" / found[-1].name


def _state(checkpoint: Path) -> TrainerState:
    with readable(checkpoint):
        state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
        state.global_step, state.max_steps = int(state.global_step), int(state.max_steps)
        state.log_history = [dict(entry) for entry in state.log_history or ()]
        return state


def checkpoint_step(checkpoint: Path) -> int:
    """Return the step after which a checkpoint was written: checkpoint-500."""
    return int(checkpoint.name.rpartition("-")[2])


def is_whole(checkpoint: Path) -> bool:
    """Return whether a checkpoint was neither cut short while it was written, nor while it was removed."""
    names = (FILE_NAME, TRAINER_STATE_NAME)
    return all((checkpoint / name).is_file() for name in names) and any(checkpoint.glob("*.safetensors"))


def finished_checkpoints(checkpoints: Path) -> list[Path]:
    """Return the checkpoints that are whole, the newest last."""
    return sorted(filter(is_whole, checkpoints.glob("checkpoint-*")), key=checkpoint_step)


def remove_unfinished(checkpoints: Path) -> None:
    """Remove checkpoints that were cut short."""
    for path in set(checkpoints.glob("checkpoint-*")) - set(finished_checkpoints(checkpoints)):
        shutil.rmtree(path)


def logged(checkpoint: Path) -> list[dict[str, Any]]:
    """Return what a run had logged when it wrote a checkpoint: losses and evaluations by step."""
    return _state(checkpoint).log_history


def steps_left(checkpoint: Path) -> int:
    """Return how many optimiser steps a checkpoint's run had before it."""
    state = _state(checkpoint)
    return max(0, int(state.max_steps) - int(state.global_step))


def evaluations(log: Sequence[dict[str, Any]], metric: str) -> list[tuple[int, float]]:
    """Return the steps at which a run was evaluated, and a metric there, of a loss its negative: higher is better."""
    sign = -1.0 if metric == "loss" else 1.0
    return [(int(entry["step"]), sign * float(entry[f"eval_{metric}"])) for entry in log if f"eval_{metric}" in entry]


def has_settled(found: Sequence[tuple[int, float]], patience: int | None) -> bool:
    """Return whether the last `patience` evaluations were no better than the best before them; higher is better."""
    if patience is None or len(found) <= patience:
        return False
    values = [value for _, value in found]
    return max(values[-patience:]) <= max(values[:-patience])


def has_begun(out: Path) -> bool:
    """Return whether a run has something to resume from: until its first checkpoint, its settings may be changed."""
    return bool(finished_checkpoints(out / "checkpoints")) or (out / "model" / FILE_NAME).is_file()


def require_same_run(config: TrainConfig) -> None:
    """Make sure that a run in the folder `config.out`, if one has begun there, has the same settings.

    Raises:
        RunError: If it has others; it names them.
    """
    out = Path(config.out)
    path = out / "settings.yaml"
    if not has_begun(out) or not path.is_file():
        return
    # Both as a file has them, where a tuple is a list.
    old, new = (json.loads(json.dumps(asdict(each))) for each in (_config.load(path, {}), config))
    different = [
        f"{name} {old[name]!r}, not {new[name]!r}"
        for name in new
        if name not in _WITHOUT_EFFECT and old[name] != new[name]
    ]
    if different:
        raise RunError(
            f"expected the settings of the run in this folder, which has {'; '.join(different)}",
            path=path,
            remedy="Give the same settings to resume it, give another --out, or remove the folder.",
        )


def key_of(config: TrainConfig, texts: str) -> str:
    """Return a digest of the settings that have an effect, and of the texts: runs of one digest come to the same."""
    settings = {name: value for name, value in asdict(config).items() if name not in _WITHOUT_EFFECT}
    return sha256(json.dumps([settings, texts]).encode()).hexdigest()


def require_same_texts(out: Path, texts: str) -> None:
    """Make sure that a run that has begun was taught the same texts.

    Raises:
        RunError: If they were others.
    """
    path = out / "texts.jsonl"
    if has_begun(out) and path.is_file() and path.read_text(encoding="utf-8") != texts:
        raise RunError(
            "expected the texts that the run in this folder began with, got others: the dataset has changed",
            path=path,
            remedy="Choose another --out, or remove the folder.",
        )


def finish(last: Path, chosen: Path, out: Path, dtype: str = "float32") -> None:
    """Make losses, evaluations and the detector of a run.

    Args:
        last: Its last checkpoint, which holds the log.
        chosen: The one that becomes the detector.
        out: The run's folder.
        dtype: What the detector's weights are written in; adapters, which are small, stay in float32.
    """
    log = logged(last)
    _following.write_logs(log, out)
    _following.draw(log, out)
    # Beside its place, then moved there in one piece: a killed run leaves no half a model.
    unfinished = out / ".model"
    shutil.rmtree(unfinished, ignore_errors=True)
    with written(out / "model"):
        if dtype != "float32" and not _families.is_adapter(chosen):
            _families.load(str(chosen), dtype=dtype).save(unfinished)
            DetectorSpec.load(chosen).save(unfinished)
        else:
            # copyfile does not copy the modes: safetensors writes files that only their owner may read.
            shutil.copytree(chosen, unfinished, ignore=without_training, copy_function=shutil.copyfile)
        unfinished.rename(out / "model")
