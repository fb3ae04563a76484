"""What a training hands to its caller while it runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from mmengine.hooks import Hook

_PAUSE = 1.0  # seconds between two looks at the loss: to fetch it, a GPU must have come so far


class Follower(Protocol):
    """What takes how far a training is, and its checkpoints."""

    def stepped(self, done: int, total: int, loss: float | None) -> None:
        """Take how many of the steps are done, and, from time to time, the loss."""
        ...

    def saved(self, epoch: int, checkpoint: Path, metrics: Mapping[str, float]) -> None:
        """Take a checkpoint, and its scores; none where nothing is scored."""
        ...


class FollowHook(Hook):
    """Calls a follower. It comes after all hooks of its priority that were there before, which save checkpoints."""

    priority = "VERY_LOW"

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self._looked = 0.0

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Say that a step is done; with its loss once a second, and at the end of an epoch."""
        loss = None
        now = time.monotonic()
        is_last = batch_idx + 1 == len(runner.train_dataloader)
        if outputs and "loss" in outputs and (is_last or now - self._looked >= _PAUSE):
            loss, self._looked = float(outputs["loss"].detach()), now
        self._follower.stepped(runner.iter + 1, runner.max_iters, loss)

    def after_train_epoch(self, runner: Any) -> None:
        """Say that there is a checkpoint, where nothing scores it."""
        if runner.val_loop is None:
            self._tell(runner, runner.epoch + 1, {})  # the epoch is counted after this

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Say that a checkpoint is scored."""
        self._tell(runner, runner.epoch, metrics or {})

    def _tell(self, runner: Any, epoch: int, metrics: Mapping[str, float]) -> None:
        checkpoint = Path(runner.work_dir) / f"epoch_{epoch}.pth"
        if runner.rank == 0 and checkpoint.is_file():
            self._follower.saved(epoch, checkpoint, metrics)
