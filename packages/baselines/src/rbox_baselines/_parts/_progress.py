"""A progress bar over the steps of a training run."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop
from mmrotate.registry import HOOKS
from rbox_formats.progress import progress_bar

logger = logging.getLogger("rbox_baselines")


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows steps, loss and the last score on standard error."""

    priority = "VERY_LOW"

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._loss = self._score = ""
        self._shown = 0.0

    def before_train(self, runner: Any) -> None:
        """Open the bar, as far along as a resumed run is."""
        self._advance = self._stack.enter_context(progress_bar("training", runner.max_iters))
        self._advance(runner.iter)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Move it on by a step, with the loss once a second: to fetch it, a GPU must have come so far."""
        now = time.monotonic()
        if outputs and "loss" in outputs and now - self._shown >= 1:
            self._loss, self._shown = f"loss {float(outputs['loss'].detach()):.3f}", now
        self._move(1)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Show the score."""
        if metrics and "rbox/map" in metrics:
            by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
            when = f"epoch {runner.epoch}" if by_epoch else f"step {runner.iter}"
            self._score = f"mAP {100 * metrics['rbox/map']:.1f} % after {when}"
            self._move(0)

    def _move(self, step: int) -> None:
        self._advance(step, ", ".join(part for part in (self._loss, self._score) if part))

    def after_train(self, runner: Any) -> None:
        """Close the bar; the last score stays on the terminal."""
        self._stack.close()
        if self._score:
            logger.info("%s", self._score)
