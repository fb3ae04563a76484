"""What a distillation is set to."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from rbox_baselines.errors import ConfigError

FeatureLoss = Literal["l1", "l2", "cosine"]
CorruptionPlace = Literal["tokens", "image"]
CorruptionSchedule = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True)
class Distillation:
    """Settings of `distill`.

    RS4D corrupts what its student sees, but its exact rule is unknown: only two percentages, 20 and 20 in most runs,
    are. Here the student sees corrupted images and the teacher whole ones. A share `mask` of the patches is replaced
    (by a vector that is learnt, or by the mean colour), and to all of them noise is added, with `noise` of their own
    standard deviation.

    >>> from rbox_baselines import Distillation
    >>> Distillation(steps=22_000, mask=0.3).loss
    'l1'

    Attributes:
        steps: How many batches the student learns from.
        batch_size: Images of a batch.
        learning_rate: Of AdamW, after 5 % of the steps; then it falls to 0 along a cosine.
        weight_decay: Of AdamW, except for norms, biases, rates and positions.
        loss: How maps are compared: mean absolute or squared difference, or one minus the cosine of each place.
        mask: Share of the patches that are replaced, from 0 to 1.
        noise: Standard deviation of the noise, as a share of that of the patches.
        place: Where both happen: "tokens", after the patch embedding, for RSMamba; "image", to pixels.
        schedule: How both shares change: "constant", or to 0 at the last step, "linear" or along a "cosine".
        layers: Pairs of a map of the student and one of the teacher, from 0, that are compared beside the last.
        layer_weight: Weight of each of these pairs; the last map has 1.
        image_size: The side of the square that images are resized and padded to, in pixels. None: the teacher's own, or
            1,024.
        seed: Seed of weights, order of images and corruption.
        held_out: How many images are left out of training, to evaluate on.
        evaluate_every: Steps between evaluations.
        save_every: Steps between checkpoints to resume from.
        workers: Threads that read images.
    """

    steps: int = 10_000
    batch_size: int = 8
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    loss: FeatureLoss = "l1"
    mask: float = 0.2
    noise: float = 0.2
    place: CorruptionPlace = "tokens"
    schedule: CorruptionSchedule = "constant"
    layers: tuple[tuple[int, int], ...] = ()
    layer_weight: float = 1.0
    image_size: int | None = None
    seed: int = 0
    held_out: int = 8
    evaluate_every: int = 500
    save_every: int = 500
    workers: int = 2

    def check(self) -> None:
        """Check the settings.

        Raises:
            ConfigError: If one is out of its range.
        """
        for name, known in (("loss", FeatureLoss), ("place", CorruptionPlace), ("schedule", CorruptionSchedule)):
            value = getattr(self, name)
            if value not in get_args(known):
                raise ConfigError(f"expected {name} to be one of {', '.join(get_args(known))}, got {value!r}")
        if not 0 <= self.mask < 1 or self.noise < 0:
            raise ConfigError(f"expected mask from 0 to below 1 and noise from 0, got {self.mask} and {self.noise}")
        for name in ("steps", "batch_size", "evaluate_every", "save_every", "workers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"expected {name} of 1 or more, got {getattr(self, name)}")
        if self.held_out < 0 or any(index < 0 for pair in self.layers for index in pair):
            raise ConfigError("expected held_out and layers from 0")

    def identity(self, more: Iterable[tuple[str, Any]]) -> str:
        """Return what makes two runs the same, as JSON; how often a run is saved and evaluated does not."""
        other = ("save_every", "evaluate_every", "workers")
        own = {name: value for name, value in asdict(self).items() if name not in other}
        return json.dumps({**own, **dict(more)}, sort_keys=True)
