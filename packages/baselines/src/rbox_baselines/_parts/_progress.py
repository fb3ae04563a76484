"""A progress bar over the steps of a training run."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from mmengine.hooks import Hook
from mmrotate.registry import HOOKS
from rbox_formats.progress import progress_bar


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows steps, loss and the last score on standard error."""

    priority = "VERY_LOW"

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._score = ""

    def before_train(self, runner: Any) -> None:
        """Opens the bar, as far along as a resumed run is."""
        self._advance = self._stack.enter_context(progress_bar("training", runner.max_iters))
        self._advance(runner.iter)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Moves it on by a step."""
        loss = "" if not outputs or "loss" not in outputs else f"loss {float(outputs['loss'].detach()):.3f}"
        self._advance(1, ", ".join(part for part in (loss, self._score) if part))

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Keeps the score for the bar's note."""
        if metrics and "rbox/map" in metrics:
            self._score = f"mAP {100 * metrics['rbox/map']:.1f} % after epoch {runner.epoch}"

    def after_train(self, runner: Any) -> None:
        """Closes the bar."""
        self._stack.close()
