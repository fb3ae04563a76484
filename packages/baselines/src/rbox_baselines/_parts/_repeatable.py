"""A run that was stopped and resumed comes to the same weights as one that was not.

mmengine keeps weights, optimiser and schedules. It keeps neither the state of random numbers nor, since a checkpoint is
written before its epoch is scored, which one is the best so far.
"""

from __future__ import annotations

import random
from functools import partial
from typing import Any

import numpy as np
from mmengine.dataset import worker_init_fn
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop
from mmrotate.registry import HOOKS


@HOOKS.register_module()
class RepeatableHook(Hook):
    """Seeds the random numbers of each epoch separately, and scores the epoch with which a resumed run begins again."""

    priority = "VERY_LOW"  # after the hooks that keep the best checkpoint, and distribute the images, are ready

    def before_train(self, runner: Any) -> None:
        """Score the epoch of the checkpoint: its run may have been stopped before that, or before it kept the best."""
        loop = runner.train_loop
        if not isinstance(loop, EpochBasedTrainLoop) or runner.val_loop is None or not runner.epoch:
            return
        is_due = runner.epoch % loop.val_interval == 0 or runner.epoch == loop.max_epochs
        if is_due and runner.epoch >= loop.val_begin:
            runner.val_loop.run()

    def before_train_epoch(self, runner: Any) -> None:
        """Seed this process, and the workers that load its images, by the run's seed and the epoch."""
        import torch

        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return
        seed = int(np.random.SeedSequence([runner.seed, runner.epoch]).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        loader = runner.train_dataloader
        if loader.num_workers:
            # Workers are seeded when they begin: those that stay from epoch to epoch begin again.
            if getattr(loader, "_iterator", None) is not None:
                loader._iterator._shutdown_workers()
                loader._iterator = None
            loader.worker_init_fn = partial(
                worker_init_fn, num_workers=loader.num_workers, rank=get_rank(), seed=seed % 2**31
            )
