"""What can be followed during a run: losses and speed by step, scores, and a picture of both."""

from __future__ import annotations

import importlib.util
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from rbox_formats import files
from transformers import TrainerCallback, TrainerState, TrainingArguments

logger = logging.getLogger("lmm_detector")

PICTURE = "training.png"
_BETWEEN_PICTURES = 60  # seconds; the last is drawn when the run ends

_GIB = 2**30


@dataclass
class Pace:
    """What has gone by since the last logged loss.

    Attributes:
        windows: Of all processes.
        tokens: Of their answers.
        loading: Seconds that this process waited for windows.
        computing: Seconds of its steps.
    """

    windows: int = 0
    tokens: int | torch.Tensor = 0
    loading: float = 0.0
    computing: float = 0.0

    def figures(self) -> dict[str, float]:
        """Return windows and taught tokens a second, the share of time for loading, the most memory until now."""
        seconds = self.loading + self.computing
        if seconds == 0:
            return {}
        found = {
            "windows_per_second": round(self.windows / seconds, 3),
            "tokens_per_second": round(float(self.tokens) / seconds, 1),
            "loading_share": round(self.loading / seconds, 4),
        }
        if torch.cuda.is_initialized():
            found["memory_gib"] = round(torch.cuda.max_memory_allocated() / _GIB, 2)
        return found


def is_loss(entry: Mapping[str, Any]) -> bool:
    """Return whether a line of a run's log is a training loss."""
    return "loss" in entry


def is_evaluation(entry: Mapping[str, Any]) -> bool:
    """Return whether a line of a run's log is an evaluation."""
    return any(str(name).startswith("eval_") for name in entry)


#: The files of a run's folder, and what of its log they hold.
LOGS = {"losses.jsonl": is_loss, "evaluations.jsonl": is_evaluation}


def write_logs(log: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Write `losses.jsonl`, and `evaluations.jsonl` where there are any."""
    for name, belongs in LOGS.items():
        lines = [_line(entry) for entry in log if belongs(entry)]
        if lines or belongs is is_loss:
            files.write_text(out / name, "".join(lines))


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry) + "\n"


class Follower(TrainerCallback):
    """Writes the logs of a run into its folder as they come.

    A resumed run begins with what its checkpoint had logged: later lines of the run that was stopped come again.

    Args:
        out: The run's folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.drawn = time.monotonic()

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            write_logs(state.log_history, self.out)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        entry = state.log_history[-1]
        for name, belongs in LOGS.items():
            if belongs(entry):
                with (self.out / name).open("a", encoding="utf-8") as file:
                    file.write(_line(entry))
        if is_evaluation(entry) and time.monotonic() - self.drawn > _BETWEEN_PICTURES:
            draw(state.log_history, self.out)
            self.drawn = time.monotonic()


class Watcher(Protocol):
    """What takes how far a training is, and its checkpoints."""

    def stepped(self, done: int, total: int, loss: float | None) -> None:
        """Take how many of the steps are done, and, from time to time, the loss."""
        ...

    def saved(self, step: int, checkpoint: Path, metrics: Mapping[str, float]) -> None:
        """Take a checkpoint, and its scores; none where it was not evaluated."""
        ...


class Watched(TrainerCallback):
    """Calls a watcher, in the first process.

    Args:
        watcher: What is called.
    """

    def __init__(self, watcher: Watcher) -> None:
        self.watcher = watcher

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.watcher.stepped(state.global_step, state.max_steps, None)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        entry = state.log_history[-1]
        if state.is_world_process_zero and is_loss(entry):
            self.watcher.stepped(state.global_step, state.max_steps, float(entry["loss"]))

    def on_save(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        step = state.global_step
        found = [entry for entry in state.log_history if is_evaluation(entry) and entry.get("step") == step]
        figures = {str(name).removeprefix("eval_"): value for name, value in (found[-1] if found else {}).items()}
        self.watcher.saved(step, Path(str(args.output_dir)) / f"checkpoint-{step}", figures)


# In the order of the panels: their titles, and the names of what they show.
_PANELS = {
    "loss": {"loss": "training", "eval_loss": "held-out windows"},
    "scores on held-out images": {
        "eval_map_nc": "mAP_nc",
        "eval_map": "mAP",
        "eval_f1_micro": "F1, micro",
        "eval_f1_macro": "F1, macro",
    },
    "learning rate": {"learning_rate": "learning rate"},
    "gradient norm": {"grad_norm": "gradient norm"},
    "windows a second": {"windows_per_second": "windows a second"},
}


def draw(log: Sequence[Mapping[str, Any]], out: Path) -> None:
    """Draw `training.png`, where matplotlib is installed: what a run has logged, by step."""
    if importlib.util.find_spec("matplotlib") is None:
        return
    from matplotlib.figure import Figure

    panels = {
        title: {label: found for name, label in names.items() if len((found := _points(log, name))[0])}
        for title, names in _PANELS.items()
    }
    panels = {title: lines for title, lines in panels.items() if lines}
    if not panels:
        return
    height = 2.2 * len(panels)
    figure = Figure(figsize=(8, height))
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    # By hand, in inches: matplotlib's own layout takes longer than the drawing.
    figure.subplots_adjust(left=0.09, right=0.98, top=1 - 0.3 / height, bottom=0.5 / height, hspace=0.4)
    for axis, (title, lines) in zip(axes, panels.items(), strict=True):
        for label, (steps, values) in lines.items():
            axis.plot(steps, values, marker="." if len(steps) < _FEW else "", linewidth=1.2, label=label)
        axis.set_title(title, loc="left", fontsize=10)
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        if len(lines) > 1:
            axis.legend(fontsize=8, frameon=False)
        if title == "scores on held-out images":
            axis.set_ylim(0, 1)
        elif title != "loss":
            axis.set_ylim(bottom=0)
    axes[-1].set_xlabel("step")
    with files.replacing(out / PICTURE) as target:
        figure.savefig(target, dpi=120, format="png")


_FEW = 50  # points that are seen apart


def _points(log: Sequence[Mapping[str, Any]], name: str) -> tuple[list[int], list[float]]:
    found = [(int(entry["step"]), float(entry[name])) for entry in log if isinstance(entry.get(name), int | float)]
    return [step for step, _ in found], [value for _, value in found]
