"""Which windows an epoch takes from each dataset, and in which order.

An order depends only on the mode, the datasets' sizes, the seed and the epoch. So every process of a run makes the same
order and takes its share of it, and a run that was stopped within an epoch finds its place in the order again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lmm_detector.errors import ConfigError

# From sizes, seed and epoch to indices into the datasets one after the other.
Draw = Callable[[Sequence[int], int, int], np.ndarray]


class Place(NamedTuple):
    """What a dataset is asked for: augmentation and the order of objects differ from epoch to epoch."""

    epoch: int
    number: int


def _each_once(sizes: Sequence[int], seed: int, epoch: int) -> np.ndarray:
    return np.arange(sum(sizes))


def _equally(sizes: Sequence[int], seed: int, epoch: int) -> np.ndarray:
    """As many windows as there are, an equal share from each dataset; what is left over goes round from epoch to epoch.

    Within one epoch none of a dataset's windows is drawn once more before all of them were drawn.
    """
    share, rest = divmod(sum(sizes), len(sizes))
    parts, start = [], 0
    for number, size in enumerate(sizes):
        count = share + ((number - epoch) % len(sizes) < rest)
        rng = np.random.default_rng((seed, epoch, number, 1))
        rounds = [rng.permutation(size) for _ in range(-(-count // size))]
        parts.append(start + np.concatenate([*rounds, np.zeros(0, np.int64)])[:count])
        start += size
    return np.concatenate(parts).astype(np.int64)


def _as_lmmrotate(sizes: Sequence[int], seed: int, epoch: int) -> np.ndarray:
    """Return an epoch of LMMRotate's "balanced concat": drawn from a pool that holds small datasets several times.

    A dataset is in the pool round(largest / its size) times, or once where that number is below 1.8. An epoch draws as
    many windows as the datasets have together, without replacement, by Python's generator seeded with the epoch alone.

    Source: `OrientedDetSFTDataset.deal_with_multidataset_mode` in lmmrotate/dataset.py, VisionXLab/mllm-mmrotate at
    9475a93.
    """
    pool: list[int] = []
    start = 0
    for size in sizes:
        times = round(max(sizes) / size)
        pool += list(range(start, start + size)) * (times if times > 1.8 else 1)
        start += size
    return np.array(random.Random(epoch).sample(pool, start), dtype=np.int64)  # not for secrets


MODES: dict[str, Draw] = {
    "single": _each_once,
    "concat": _each_once,
    "balanced": _equally,
    "balanced concat": _as_lmmrotate,
}


def epoch_order(sizes: Sequence[int], mode: str, seed: int, epoch: int, multiple: int = 1) -> np.ndarray:
    """Return the windows of an epoch, in their order.

    Args:
        sizes: How many windows each dataset has, 1 or more.
        mode: One of `MODES`: "single" and "concat", each window once; "balanced", equally many from each dataset;
            "balanced concat", as LMMRotate draws.
        seed: From 0.
        epoch: From 0.
        multiple: Of what the length is to be. The order begins again where it falls short, so that all steps are of
            one size, however many processes share them.

    Returns:
        (N,) indices into the datasets one after the other; N is the sum of the sizes, or the next multiple.
    """
    order = np.random.default_rng((seed, epoch, 0)).permutation(MODES[mode](sizes, seed, epoch))
    return np.resize(order, -(-len(order) // multiple) * multiple)


def grouped(order: np.ndarray, lengths: np.ndarray, size: int, steps: int, seed: int, epoch: int) -> np.ndarray:
    """Return an order in which windows with texts of similar length are neighbours: less of a batch is padding.

    Args:
        order: (N,) windows; N is a multiple of `size`.
        lengths: The number of tokens in the text of each window.
        size: The number of windows in a step.
        steps: The windows of this number of steps are sorted together, and the steps are then shuffled. With 1 each
            step has the same windows as before.
        seed: The seed of the shuffling, at least 0.
        epoch: The epoch, counted from 0.

    Returns:
        (N,) the same windows.
    """
    rng = np.random.default_rng((seed, epoch, 2))
    parts = []
    for start in range(0, len(order), size * steps):
        part = order[start : start + size * steps]
        rows = part[np.argsort(-lengths[part], kind="stable")].reshape(-1, size)
        parts.append(rng.permutation(rows).ravel())
    return np.concatenate(parts)


class EpochSampler:
    """The order of each epoch as PyTorch's loaders take it; accelerate sets the epoch.

    Args:
        sizes: `sizes` of `epoch_order`.
        mode: `mode` of `epoch_order`.
        seed: `seed` of `epoch_order`.
        multiple: `multiple` of `epoch_order`.
        lengths: The number of tokens in the text of each window. None: windows are not grouped by length.
        steps_together: `steps` of `grouped`.

    Raises:
        ConfigError: If the mode is "single" and there are several datasets.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        mode: str,
        seed: int,
        multiple: int = 1,
        lengths: Sequence[int] | None = None,
        steps_together: int = 1,
    ) -> None:
        if mode == "single" and len(sizes) != 1:
            raise ConfigError(
                f"expected one dataset with dataset_mode 'single', got {len(sizes)}",
                remedy="Several are mixed by dataset_mode concat, balanced or 'balanced concat'.",
            )
        self.sizes, self.mode, self.seed, self.multiple, self.epoch = tuple(sizes), mode, seed, multiple, 0
        self.lengths, self.steps_together = None if lengths is None else np.asarray(lengths), steps_together

    @property
    def steps(self) -> int:
        """Optimiser steps in an epoch, where `multiple` is the size of their batches."""
        return len(self) // self.multiple

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that comes next, from 0."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-sum(self.sizes) // self.multiple) * self.multiple

    def __iter__(self) -> Iterator[Place]:
        order = epoch_order(self.sizes, self.mode, self.seed, self.epoch, self.multiple)
        if self.lengths is not None:
            order = grouped(order, self.lengths, self.multiple, self.steps_together, self.seed, self.epoch)
        for number in order.tolist():
            yield Place(self.epoch, number)
