"""A checkpoint to resume from, whatever the config says of checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop
from mmrotate.registry import HOOKS

#: The file, in the run's folder.
NAME = "last.pth"
# Steps between two checkpoints of a run that counts in steps, unless it is scored more often.
_STEPS = 1000


@HOOKS.register_module()
class RollingCheckpointHook(Hook):
    """Keeps one checkpoint, `last.pth`, from which a stopped run resumes, and replaces it during the run.

    It is written after each epoch, or at each evaluation and after 1,000 steps where the run counts in steps, unless
    the config's own hook has just written one. A finished run that has a later checkpoint of its own keeps none.
    """

    priority = "LOWEST"  # after the config's own hook

    def after_train_epoch(self, runner: Any) -> None:
        """Keep the epoch."""
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            self._keep(runner, f"epoch_{runner.epoch + 1}.pth", by_epoch=True)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        """Keep the step, where it is due."""
        loop = runner.train_loop
        if isinstance(loop, EpochBasedTrainLoop):
            return
        every = min(getattr(loop, "val_interval", _STEPS), _STEPS)
        if (runner.iter + 1) % every == 0:
            self._keep(runner, f"iter_{runner.iter + 1}.pth", by_epoch=False)

    def _keep(self, runner: Any, others: str, *, by_epoch: bool) -> None:
        if (Path(runner.work_dir) / others).exists():
            _remove(runner)
        else:
            runner.save_checkpoint(runner.work_dir, NAME, by_epoch=by_epoch)

    def after_train(self, runner: Any) -> None:
        """Remove it where the run's last checkpoint is there."""
        done = f"epoch_{runner.epoch}.pth", f"iter_{runner.iter}.pth"
        if any((Path(runner.work_dir) / name).exists() for name in done):
            _remove(runner)


def _remove(runner: Any) -> None:
    if runner.rank == 0:
        (Path(runner.work_dir) / NAME).unlink(missing_ok=True)
