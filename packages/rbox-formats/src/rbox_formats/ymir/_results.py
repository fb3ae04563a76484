"""What the platform reads at the end of a task."""

from __future__ import annotations

import json
import keyword
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rbox_formats import files
from rbox_formats._geometry import rbox_to_hbox
from rbox_formats._records import ClassNames, ImageRecord
from rbox_formats.errors import quoted
from rbox_formats.ymir._env import Env, read_mapping
from rbox_formats.ymir._errors import TaskError

_MOST_STAGES = 11


@dataclass(frozen=True)
class Stage:
    """A model that a training has come to, with files that suffice to run it.

    >>> from rbox_formats import ymir
    >>> ymir.Stage("epoch_12", ("epoch_12.pth",), 1675840000, 0.71).entry()["mAP"]
    0.71

    Attributes:
        name: A Python identifier, as `stage_name` makes one.
        files: Names of files, without folders, in `<models_dir>/<name>`.
        timestamp: Seconds since 1970.
        map: mAP, from 0 to 1.
        more: Other metrics, from 0 to 1, and counts.
    """

    name: str
    files: tuple[str, ...]
    timestamp: int
    map: float
    more: Mapping[str, float | int] | None = None

    def entry(self) -> dict[str, Any]:
        """Return it as the platform reads it: plain values."""
        others = {name: value for name, value in (self.more or {}).items() if math.isfinite(value)}
        plain = {name: int(value) if isinstance(value, int) else float(value) for name, value in others.items()}
        return {
            "stage_name": self.name,
            "files": list(self.files),
            "timestamp": int(self.timestamp),
            "mAP": float(self.map),
            **plain,
        }


def stage_name(name: str) -> str:
    """Return a name as the platform allows it: a Python identifier.

    >>> from rbox_formats import ymir
    >>> ymir.stage_name("best-12"), ymir.stage_name("12")
    ('best_12', 'stage_12')
    """
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return plain if plain.isidentifier() and not keyword.iskeyword(plain) else f"stage_{plain}"


class TrainingResult:
    """The stages of a training, written whole after each change, so that a stopped training keeps what it has.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from rbox_formats import ymir
    >>> with TemporaryDirectory() as folder:
    ...     models = Path(folder)
    ...     env = ymir.Env(output=ymir.Output(models_dir=models, training_result_file=models / "result.yaml"))
    ...     result = ymir.TrainingResult(env)
    ...     for epoch, value in enumerate([0.4, 0.7, 0.6], start=1):
    ...         (models / f"epoch_{epoch}").mkdir()
    ...         _ = (models / f"epoch_{epoch}" / "model.pth").write_bytes(b"")
    ...         _ = result.add(ymir.Stage(f"epoch_{epoch}", ("model.pth",), epoch, value))
    ...     result.best.name, [stage.name for stage in result.stages]
    ('epoch_2', ['epoch_2', 'epoch_3'])

    Args:
        env: Where it is written.
        keep: How many of the best and how many of the newest stages are kept; -1: all. The platform takes at most 11.
        evaluate: How the metrics were computed, such as `{"iou_thr": 0.5, "conf_thr": 0.05}`.
    """

    def __init__(self, env: Env, keep: int = 1, evaluate: Mapping[str, float] | None = None) -> None:
        self._env, self._keep, self._evaluate = env, keep, dict(evaluate or {})
        self.stages: list[Stage] = self._known()

    @property
    def best(self) -> Stage:
        """The stage of the highest mAP, of equal ones the last."""
        return max(self.stages, key=lambda stage: (stage.map, stage.timestamp))

    def add(self, stage: Stage) -> list[Stage]:
        """Add a stage, drop those that are no longer kept, and write the file.

        Args:
            stage: Its files are already there. It gets a later timestamp where another stage has its own.

        Returns:
            The stages that were dropped; their files may be removed.

        Raises:
            TaskError: If the stage has no file, one is missing, or a number is no metric.
        """
        self._check(stage)
        others = [each for each in self.stages if each.name != stage.name]
        # Of equal stages the platform takes the later, by whole seconds.
        latest = max((each.timestamp for each in others), default=stage.timestamp - 1)
        stage = replace(stage, timestamp=max(stage.timestamp, latest + 1))
        stages = [*others, stage]
        self.stages = self._kept(stages)
        self._write()
        return [each for each in stages if each not in self.stages]

    def _kept(self, stages: Sequence[Stage]) -> list[Stage]:
        by_map = sorted(stages, key=lambda stage: (stage.map, stage.timestamp), reverse=True)
        by_time = sorted(stages, key=lambda stage: stage.timestamp, reverse=True)
        count = len(stages) if self._keep < 0 else max(self._keep, 1)
        chosen = {stage.name for stage in (*by_map[:count], *by_time[:count])}
        newest = [stage.name for stage in by_time if stage.name in chosen and stage != by_map[0]][: _MOST_STAGES - 1]
        return [stage for stage in stages if stage.name in {by_map[0].name, *newest}]

    def _check(self, stage: Stage) -> None:
        if stage.name != stage_name(stage.name):
            raise TaskError("container", f"expected an identifier as a stage's name, got {quoted(stage.name)}")
        if not 0 <= stage.map <= 1:
            raise TaskError("container", f"expected an mAP from 0 to 1, got {stage.map}")
        if not stage.files:
            raise TaskError("container", f"expected files of the stage {stage.name}, got none")
        for name in stage.files:
            path = self.folder(stage.name) / files.safe_name(name, self.folder(stage.name))
            if path.is_symlink() or not path.is_file():
                raise TaskError("container", f"expected a file of the stage {stage.name}, found none", path=path)

    def folder(self, name: str) -> Path:
        """Return the folder of a stage's files."""
        return self._env.output.models_dir / name

    def _write(self) -> None:
        import yaml

        best = self.best
        values: dict[str, Any] = {
            "best_stage_name": best.name,
            "mAP": float(best.map),
            "model_stages": {stage.name: stage.entry() for stage in self.stages},
        }
        if self._evaluate:
            values["evaluate_config"] = {name: float(value) for name, value in self._evaluate.items()}
        if self._env.is_old:
            values |= {"model": [f"{best.name}/{name}" for name in best.files], "map": float(best.map)}
        files.write_text(self._env.output.training_result_file, yaml.safe_dump(values, sort_keys=False))

    def _known(self) -> list[Stage]:
        """Return the stages of a run that was stopped and is resumed."""
        path = self._env.output.training_result_file
        if not path.is_file():
            return []
        found: Any = read_mapping(path).get("model_stages")
        own = ("stage_name", "files", "timestamp", "mAP")
        stages = []
        for name, entry in (found or {}).items():
            more = {key: value for key, value in entry.items() if key not in own}
            stages.append(Stage(str(name), tuple(entry["files"]), int(entry["timestamp"]), float(entry["mAP"]), more))
        return [stage for stage in stages if all((self.folder(stage.name) / name).is_file() for name in stage.files)]


def rectangle(box: Sequence[float], *, rotated: bool = True) -> dict[str, int | float]:
    """Return a box as the platform's own: whole pixels, the unturned rectangle about the same centre, and its angle.

    >>> from rbox_formats import ymir
    >>> ymir.rectangle([120, 105, 40, 10, 0.5])
    {'x': 100, 'y': 100, 'w': 40, 'h': 10, 'rotate_angle': 0.5}
    >>> ymir.rectangle([120, 105, 40, 10, 0.5], rotated=False)
    {'x': 100, 'y': 91, 'w': 40, 'h': 28}

    Args:
        box: (cx, cy, w, h, angle), `le90`, pixels and radians.
        rotated: Whether the angle is given. Else it is the upright box around the turned one.
    """
    cx, cy, w, h, angle = map(float, box)
    if not rotated:
        x0, y0, x1, y1 = rbox_to_hbox(np.array([[cx, cy, w, h, angle]]))[0].tolist()
        cx, cy, w, h = (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0
    width, height = max(1, round(w)), max(1, round(h))
    place: dict[str, int | float] = {"x": round(cx - width / 2), "y": round(cy - height / 2), "w": width, "h": height}
    return {**place, "rotate_angle": angle} if rotated else place


def write_infer_result(
    env: Env, found: Iterable[tuple[Path, ImageRecord]], class_names: ClassNames, *, rotated: bool = True
) -> Path:
    """Write the boxes of all candidates.

    >>> from rbox_formats import ymir
    >>> ymir.write_infer_result(env, [], detector.class_names)  # doctest: +SKIP

    Args:
        env: Where they are written.
        found: Each image, and the objects on it; one without objects has an empty list. Objects without scores get 1.
        class_names: What the labels index.
        rotated: Whether boxes have `rotate_angle`. Else they are the upright boxes around the turned ones, for
            platforms that refuse the key.

    Returns:
        The file.
    """
    images: dict[str, Any] = {}
    for path, record in found:
        scores = [1.0] * len(record) if record.scores is None else record.scores.tolist()
        images[path.name] = {
            "annotations" if env.is_old else "boxes": [
                {"class_name": class_names[label], "score": float(score), "box": rectangle(box, rotated=rotated)}
                for box, label, score in zip(record.boxes.tolist(), record.labels.tolist(), scores, strict=True)
            ]
        }
    files.write_text(env.output.infer_result_file, json.dumps({"detection": images}, ensure_ascii=False, indent=1))
    return env.output.infer_result_file


def write_mining_result(env: Env, scores: Mapping[str, float]) -> Path:
    """Write the ranking: a line per candidate, by falling score, of equal ones in the order given.

    >>> from rbox_formats import ymir
    >>> ymir.write_mining_result(env, {"/in/assets/a.png": 0.5})  # doctest: +SKIP

    Args:
        env: Where it is written.
        scores: The candidates, as their list names them, with a finite number each.

    Returns:
        The file.
    """
    wrong = [name for name, score in scores.items() if not math.isfinite(score)]
    if wrong:
        raise TaskError("nan", f"expected finite scores, got {scores[wrong[0]]} for {quoted(wrong[0])}")
    ordered = sorted(scores.items(), key=lambda item: -item[1])
    text = "".join(f"{name}\t{float(score)!r}\n" for name, score in ordered)
    files.write_text(env.output.mining_result_file, text)
    return env.output.mining_result_file
