"""The vision tower learns first, by a dense head on its features: before any text, and many times faster than by it."""

from __future__ import annotations

import copy
import json
import logging
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rbox_formats import files
from rbox_formats.errors import quoted
from rbox_formats.progress import progress_bar
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lmm_detector import _families
from lmm_detector._runtime import _ranks
from lmm_detector._runtime._memory import enough_memory
from lmm_detector._spec import DetectorSpec
from lmm_detector._training._config import TrainConfig
from lmm_detector._training._dense_head import DenseHead, Objects
from lmm_detector._training._mixing import EpochSampler, Place
from lmm_detector._training._run_folder import written
from lmm_detector._training._samples import WindowTexts
from lmm_detector.errors import ConfigError, RunError

logger = logging.getLogger("lmm_detector")

FOLDER = "vision-warm-up"  # of a run's folder; gone when the run is over
LOG = "vision-warm-up.jsonl"

_STATE, _RESULT = "newest.pt", "vision.safetensors"
_PARTS: tuple[_families.Part, ...] = ("vision", "projection")
_HEAD_RATE = 1e-3  # the head begins with nothing, however little a pretrained tower is to change


def require_grid(family: _families.Family) -> None:
    """Make sure that a model's vision tower can be taught place by place.

    Raises:
        ConfigError: If it sees images in tiles.
    """
    model_type = family.base.config.model_type
    if model_type not in _families.WITH_GRID:
        raise ConfigError(
            f"expected no vision_warm_up with a model of type {quoted(model_type)}, which sees images in tiles",
            remedy=f"Models that see an image as one grid: {', '.join(_families.WITH_GRID)}.",
        )


def factor(step: int, steps: int) -> float:
    """Return a step's share of the highest learning rate: it rises over a twentieth, falls over the last third."""
    rise, fall = max(1.0, 0.05 * steps), max(1.0, steps / 3)
    return min(1.0, (step + 1) / rise) * (0.1 + 0.9 * min(1.0, (steps - step) / fall))


@dataclass(frozen=True)
class Round:
    """What a process takes at once.

    Attributes:
        inputs: Of the model, as `Family.collate` makes them.
        objects: The windows'.
    """

    inputs: dict[str, Any]
    objects: Objects


@dataclass(frozen=True)
class _Scenes:
    """Windows as a loader takes them, without their texts."""

    samples: WindowTexts
    family: _families.Family
    prompt: str

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, place: Place) -> Any:
        return self.samples.scene(place)

    def collate(self, scenes: Sequence[Any]) -> Round:
        samples = [_families.Sample(image, "", complete=False) for image, _ in scenes]
        inputs = self.family.collate(samples, self.prompt)
        return Round(inputs, Objects.of([record for _, record in scenes]))


@dataclass
class _Learner:
    """All that is learnt, as its state holds it."""

    trained: dict[str, torch.Tensor]
    head: DenseHead
    optimiser: torch.optim.Optimizer
    step: int = 0
    log: list[dict[str, float]] = field(default_factory=list)

    def save(self, path: Path, key: str) -> None:
        state = {
            "key": key,
            "step": self.step,
            "log": self.log,
            "trained": {name: value.detach() for name, value in self.trained.items()},
            "head": self.head.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        with written(path), files.replacing(path) as temporary:
            torch.save(state, temporary)

    def resume(self, path: Path, key: str) -> None:
        """Take a state, unless it is of other settings."""
        state = torch.load(path, weights_only=True, map_location="cpu")
        if state["key"] != key:
            return
        _take(self.trained, state["trained"])
        self.head.load_state_dict(state["head"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.log = int(state["step"]), list(state["log"])


def warm_up(
    family: _families.Family,
    samples: WindowTexts,
    sampler: EpochSampler,
    spec: DetectorSpec,
    config: TrainConfig,
    *,
    at_once: int,
    device: torch.device,
    key: str,
) -> None:
    """Train the vision tower and the projection, unless they are frozen, with a dense head that is then removed.

    A run that was stopped resumes from its last state (`save_every`); one whose warm-up is over takes its result. With
    other settings or texts, the warm-up begins again. Several processes share each step's windows.

    Args:
        family: The model.
        samples: What is trained on.
        sampler: In which order; it is not changed.
        spec: What the model is to be taught.
        config: The run's settings; `vision_warm_up` is the number of steps.
        at_once: Windows that a process takes at once; a divisor of its share of `batch_size`.
        device: Where the model is.
        key: Of settings and texts.

    Raises:
        RunError: If the loss is not a number, or the state cannot be written or read.
        ModelError: If the device's memory does not suffice.
    """
    folder = Path(config.out) / FOLDER
    trained = {name: value for part in _PARTS for name, value in family.parts[part].items() if value.requires_grad}
    if _ranks.on_main(lambda: _is_result(folder / _RESULT, key)):
        _take(trained, load_file(folder / _RESULT))
        logger.info("the vision tower is warm already, from %s", folder)
        return
    devices = [device.index or 0] if device.type == "cuda" else []
    remedy = f"Fewer windows at once need less (--device-batch-size, now {at_once})."
    # What comes after draws the same random numbers, whether the warm-up was stopped or not.
    with torch.random.fork_rng(devices), enough_memory(f"a warm-up step of {at_once} windows", remedy):
        learner = _begin(family, trained, spec, config, device)
        if _ranks.on_main((folder / _STATE).is_file):
            learner.resume(folder / _STATE, key)
        scenes = _Scenes(samples, family, spec.prompt)
        _learn(learner, family, scenes, sampler, spec, config, at_once, device, folder, key)
    rank, _ = _ranks.place()
    if rank == 0:
        found = {name: value.detach().cpu().contiguous() for name, value in trained.items()}
        with written(folder / _RESULT), files.replacing(folder / _RESULT) as temporary:
            save_file(found, temporary, {"key": key})
        (folder / _STATE).unlink(missing_ok=True)
    _ranks.gathered(None)


def remove(out: Path) -> None:
    """Remove what a warm-up has left in a run's folder, but its log."""
    shutil.rmtree(out / FOLDER, ignore_errors=True)


def _is_result(path: Path, key: str) -> bool:
    if not path.is_file():
        return False
    with safe_open(path, "pt") as file:
        return bool((file.metadata() or {}).get("key") == key)


def _take(own: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> None:
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(found[name])


def _begin(
    family: _families.Family,
    trained: dict[str, torch.Tensor],
    spec: DetectorSpec,
    config: TrainConfig,
    device: torch.device,
) -> _Learner:
    torch.manual_seed(config.seed)
    head = DenseHead(int(family.base.config.get_text_config().hidden_size), len(spec.class_names)).to(device)
    groups: dict[float, list[torch.Tensor]] = {}
    for name, value in trained.items():
        groups.setdefault(config.learning_rates[family.part_of(name)], []).append(value)
    optimiser = torch.optim.AdamW(
        [
            *({"params": values, "lr": rate, "highest": rate} for rate, values in groups.items()),
            {"params": list(head.parameters()), "lr": _HEAD_RATE, "highest": _HEAD_RATE},
        ],
        weight_decay=config.weight_decay,
    )
    return _Learner(trained, head, optimiser)


def _places(sampler: EpochSampler, batch_size: int, first: int, last: int) -> Iterator[list[Place]]:
    """Yield the windows of each step from the first to the last, in the order of training's epochs."""
    sampler = copy.copy(sampler)
    step = 0
    for epoch in range(-(-last // sampler.steps)):
        sampler.set_epoch(epoch)
        order = list(sampler)
        for start in range(0, len(order), batch_size):
            if first <= step < last:
                yield order[start : start + batch_size]
            step += 1


def _rounds(
    scenes: _Scenes, sampler: EpochSampler, config: TrainConfig, at_once: int, first: int
) -> Iterator[list[Round]]:
    """Yield what this process takes of each step, round by round."""
    rank, count = _ranks.place()
    mine = [step[rank::count] for step in _places(sampler, config.batch_size, first, config.vision_warm_up)]
    batches = [step[start : start + at_once] for step in mine for start in range(0, len(step), at_once)]
    loader: Any = torch.utils.data.DataLoader(
        scenes,  # type: ignore[arg-type]  # with length and items, which is what loaders ask for
        batch_sampler=batches,
        num_workers=config.loading_processes,
        collate_fn=scenes.collate,
    )
    found = iter(loader)
    for step in mine:
        yield [next(found) for _ in range(0, len(step), at_once)]


def _learn(
    learner: _Learner,
    family: _families.Family,
    scenes: _Scenes,
    sampler: EpochSampler,
    spec: DetectorSpec,
    config: TrainConfig,
    at_once: int,
    device: torch.device,
    folder: Path,
    key: str,
) -> None:
    rank, count = _ranks.place()
    steps = config.vision_warm_up
    # Float16 would want its losses scaled; without the language model float32 has room.
    half = torch.bfloat16 if config.precision == "bfloat16" else None
    parameters = [value for group in learner.optimiser.param_groups for value in group["params"]]
    log = Path(config.out) / LOG
    if rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
        files.write_text(log, "".join(json.dumps(entry) + "\n" for entry in learner.log))
        logger.info("the vision tower learns by a dense head, steps %d to %d", learner.step + 1, steps)
    family.model.train()
    sums: dict[str, torch.Tensor] = {}
    begin, since = time.perf_counter(), learner.step
    with progress_bar("warming up the vision tower", steps) as advance:
        advance(learner.step)
        note = ""
        for rounds in _rounds(scenes, sampler, config, at_once, learner.step):
            torch.manual_seed((config.seed * 2**20 + learner.step) * count + rank)  # of dropped paths
            for group in learner.optimiser.param_groups:
                group["lr"] = group["highest"] * factor(learner.step, steps)
            objects = sum(_ranks.gathered(sum(len(each.objects) for each in rounds)))
            for each in rounds:
                inputs = family.on_device(each.inputs)
                with torch.autocast(device.type, half, enabled=half is not None):
                    features = family.places(inputs)
                losses = learner.head.loss(features.float(), each.objects.to(device), spec.window, objects)
                torch.stack(list(losses.values())).sum().backward()
                for name, value in losses.items():
                    sums[name] = sums.get(name, 0) + value.detach()
            _add_up(parameters)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            learner.optimiser.step()
            learner.optimiser.zero_grad(set_to_none=True)
            learner.step += 1
            saves = learner.step % config.save_every == 0 and learner.step < steps
            if learner.step % config.log_every == 0 or learner.step == steps or saves:
                done = learner.step - since
                entry = _entry(sums, done)
                entry |= {"step": learner.step, "learning_rate": learner.optimiser.param_groups[0]["lr"]}
                entry["windows_per_second"] = round(done * config.batch_size / (time.perf_counter() - begin), 3)
                learner.log.append(entry)
                note = f"loss {entry['loss']:.4f}"
                sums, begin, since = {}, time.perf_counter(), learner.step
                if rank == 0:
                    with log.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(entry) + "\n")
            if saves and rank == 0:
                learner.save(folder / _STATE, key)
            advance(1, note)


def _entry(sums: dict[str, torch.Tensor], steps: int) -> dict[str, float]:
    """Return the mean losses of some steps, over all processes.

    Raises:
        RunError: If one is not a number.
    """
    mine = {name: float(value) for name, value in sums.items()}
    everyones = _ranks.gathered(mine)
    means = {name: sum(each[name] for each in everyones) / steps for name in mine}
    loss = sum(means.values())
    if not math.isfinite(loss):
        raise RunError(
            f"expected a finite loss of the vision tower's warm-up, got {loss}",
            remedy="Lower the learning rate of the vision tower (--learning-rate-vision), or train in float32.",
        )
    return {"loss": loss, **means}


def _add_up(parameters: Sequence[torch.Tensor]) -> None:
    """Add up the gradients of all processes; what has none in one has none in any."""
    _, count = _ranks.place()
    if count == 1:
        return
    for value in parameters:
        if value.grad is not None:
            torch.distributed.all_reduce(value.grad)
