"""The logs of mmengine's trainings: what was logged at which step, and how long an iteration took."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from rbox_formats.errors import quoted

from rbox_baselines.errors import LogError

Values = Mapping[str, float]

_SCALARS = "scalars.json"
_COUNTS = ("step", "epoch", "iter")
_LARGEST = 2**53
_FOLDER = "vis_data"
# What a line says of itself, and of the machine.
_PLACES = ("step", "epoch", "iter", "time", "data_time", "memory")


@dataclass(frozen=True)
class Log:
    """The log of a training.

    Attributes:
        name: The run's.
        train: What was logged while training, by iteration, in order.
        val: What was logged after validations, by epoch, or by iteration where the run counts no epochs; in order.
        epochs: The epoch, from 1, of each line of `train`; none where the run counts no epochs.
    """

    name: str
    train: Mapping[int, Values]
    val: Mapping[int, Values]
    epochs: Mapping[int, int]

    def names(self) -> list[str]:
        """Return what was logged: losses and learning rates, then metrics."""
        lines = [*self.train.values(), *self.val.values()]
        return list(dict.fromkeys(name for line in lines for name in line if name not in _PLACES))

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Return the steps, or epochs, at which something was logged, and its values."""
        place = self.train if any(name in line for line in self.train.values()) else self.val
        found = {step: line[name] for step, line in place.items() if name in line}
        return list(found), list(found.values())

    def is_metric(self, name: str) -> bool:
        """Return whether it was logged after validations."""
        return not any(name in line for line in self.train.values())


@dataclass(frozen=True)
class Timing:
    """How long an iteration took, in seconds; NaN where that was not logged.

    As mmdet's `tools/analysis_tools/analyze_logs.py cal_train_time` has it: the first line of each epoch, in which
    workers start, is left out (where it is not the only one); means are of each epoch, then over epochs. What mmengine
    logs is itself a mean over the last ten iterations.

    Attributes:
        mean: Over epochs.
        spread: The standard deviation over epochs.
        slowest: The epoch with the longest iterations, and their mean time.
        fastest: That with the shortest.
    """

    mean: float
    spread: float
    slowest: tuple[int | None, float]
    fastest: tuple[int | None, float]


def read_log(path: str | Path, name: str | None = None) -> Log:
    """Read what mmengine's LocalVisBackend wrote of a run.

    A run that was stopped and resumed has a folder for each part, named by its time. They are joined: from the step at
    which a later part begins, the earlier one's lines count no more.

    Args:
        path: A work directory, one of its parts, or a file of lines of JSON (scalars.json).
        name: What to call the run. None: the name of the directory.

    Raises:
        LogError: If there is no log, or a line is not JSON. The last line may be cut short, as a killed run leaves it.
    """
    path = Path(path)
    train: dict[int, Values] = {}
    val: dict[int, Values] = {}
    epochs: dict[int, int] = {}
    for file in _files(path):
        lines = list(_lines(file))
        of_part = {int(line["step"]): line for line in lines if _is_training(line)}
        if not of_part:  # a test, which teaches nothing
            continue
        first = min(of_part)
        counted = {step: int(line["epoch"]) for step, line in of_part.items() if "epoch" in line}
        train = {step: line for step, line in train.items() if step < first}
        epochs = {step: epoch for step, epoch in epochs.items() if step < first}
        val = {step: line for step, line in val.items() if step < counted.get(first, first)}
        train |= dict(sorted(of_part.items()))
        epochs |= counted
        val |= {int(line["step"]): line for line in lines if not _is_training(line)}
    if not train:
        raise LogError(
            "expected the log of a training, found none",
            path=path,
            remedy=f"It is in <work dir>/<time>/{_FOLDER}/{_SCALARS}; name the work directory.",
        )
    return Log(name or path.name, train, dict(sorted(val.items())), epochs)


def timing(log: Log) -> Timing:
    """Return how long an iteration of a run took."""
    by_epoch: dict[int | None, list[float]] = defaultdict(list)
    for step, line in log.train.items():
        if "time" in line:
            by_epoch[log.epochs.get(step)].append(line["time"])
    if not by_epoch:
        return Timing(math.nan, math.nan, (None, math.nan), (None, math.nan))
    means = {epoch: fmean(times[1:] or times) for epoch, times in by_epoch.items()}
    slowest, fastest = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
    spread = pstdev(means.values()) if len(means) > 1 else math.nan
    return Timing(fmean(means.values()), spread, (slowest, means[slowest]), (fastest, means[fastest]))


def choose(logs: Sequence[Log], keys: Sequence[str]) -> list[str]:
    """Return the names in the logs that some keys stand for.

    Args:
        logs: The runs.
        keys: Names in upper or lower case, with or without their prefix ("mAP" for "dota/mAP"), and patterns
            ("loss*"). None: the loss, and the mAP where it was logged.

    Returns:
        The full names, losses before metrics, in the order of the keys.

    Raises:
        LogError: If a key is in none of the runs; those that there are are named.
    """
    known = list(dict.fromkeys(name for log in logs for name in log.names()))
    chosen: list[str] = []
    for key in keys or ("loss", "map"):
        found = [name for name in known if _means(key, name)]
        if not found and keys:
            raise LogError(f"expected a key among {', '.join(known)}, got {quoted(key)}")
        chosen += found
    metrics = {name for log in logs for name in log.names() if log.is_metric(name)}
    if not chosen:
        raise LogError("expected a loss or mAP in the logs, found neither", remedy=f"There are {', '.join(known)}.")
    return sorted(dict.fromkeys(chosen), key=lambda name: name in metrics)


def _means(key: str, name: str) -> bool:
    key, name = key.lower(), name.lower()
    return fnmatchcase(name, key) or fnmatchcase(name.rpartition("/")[2], key)


def _files(path: Path) -> list[Path]:
    """Return the logs of a run's parts, in the order of their times."""
    if path.is_file():
        return [path]
    folders = [path, path / _FOLDER, *sorted(path.glob(f"*/{_FOLDER}"))]
    found: list[Path] = []
    for folder in folders:
        whole = folder / _SCALARS
        # Without it, the copies that are named by the time.
        copies = sorted(folder.glob("[0-9]*_[0-9]*.json")) if folder.name == _FOLDER else []
        found += [whole] if whole.is_file() else copies
    return found


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    texts = file.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, text in enumerate(texts, start=1):
        try:
            line = json.loads(text)
            if not isinstance(line, dict):
                raise ValueError("no object")
            values = {name: value for name, value in line.items() if isinstance(value, int | float)}
            if "step" not in values or not all(
                0 <= values.get(name, 0) < _LARGEST for name in ("step", "epoch", "iter")
            ):  # nor is NaN
                raise ValueError("no step")
            yield values
        except (ValueError, RecursionError) as error:
            if number < len(texts):
                message = f"expected a line of JSON, got {quoted(text)}"
                raise LogError(message, path=file, line=number) from error


def _is_training(line: Mapping[str, Any]) -> bool:
    return "step" in line and "iter" in line
