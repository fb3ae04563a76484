"""transformers' Trainer, with our sampler, batches, checkpoints and evaluation."""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from accelerate import PartialState
from rbox_formats.progress import Advance, progress_bar
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.integrations.integration_utils import TensorBoardCallback

from lmm_detector import _families
from lmm_detector._runtime import _ranks
from lmm_detector._runtime._memory import enough_memory
from lmm_detector._spec import DetectorSpec
from lmm_detector._training._following import Follower, Pace
from lmm_detector._training._mixing import EpochSampler, Place
from lmm_detector._training._rehearsal import Device, longest, rehearsed
from lmm_detector._training._run_folder import (
    check_ends,
    checkpoint_step,
    evaluations,
    has_settled,
    readable,
    require_training_state,
    written,
)
from lmm_detector._training._samples import WindowTexts
from lmm_detector._training._trackers import Trackers
from lmm_detector._training._validation import sheet
from lmm_detector.errors import RunError

logger = logging.getLogger("lmm_detector")

# From a step to the metrics of the model at that step.
Evaluate = Callable[[int], dict[str, float]]

_GIB = 2**30
_NAMED = 8  # windows in an error

# A loss this number of times as high as that of guessing, and as the first one, no longer comes down.
_EXPLOSION = 3


class _Drawn(NamedTuple):
    """A sample, and which of the windows it is of."""

    number: int
    sample: _families.Sample


class _Numbered:
    """Windows as a loader takes them: each with its number."""

    def __init__(self, samples: WindowTexts) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, place: Place) -> _Drawn:
        return _Drawn(place.number, self.samples[place])


def _collate(drawn: Sequence[_Drawn], family: _families.Family, prompt: str) -> dict[str, Any]:
    """Return a batch, and beside it the numbers of its windows: (B,) int64."""
    batch = family.collate([each.sample for each in drawn], prompt)
    return {**batch, "numbers": torch.tensor([each.number for each in drawn])}


class FamilyTrainer(Trainer):
    """A trainer of a family: its epochs go through the windows as a sampler says, its checkpoints are detectors.

    Args:
        family: The model.
        arguments: The settings as transformers has them.
        samples: What is trained on.
        sampler: In which order.
        spec: What the checkpoints are taught, written last into each.
        evaluate: What measures the model during training. None: it is not measured.
        patience: Training ends after this number of evaluations without a better one. None: it does not.
        learning_rates: The highest learning rate of each part. None: that of `arguments` for all.
        soft: What spreads the targets of coordinates; evaluations leave it out. None: nothing does.
    """

    def __init__(
        self,
        family: _families.Family,
        arguments: TrainingArguments,
        samples: WindowTexts,
        sampler: EpochSampler,
        spec: DetectorSpec,
        *,
        evaluate: Evaluate | None = None,
        patience: int | None = None,
        learning_rates: Mapping[str, float] | None = None,
        soft: _families.SoftTargets | None = None,
    ) -> None:
        self._stack = ExitStack()
        self._out = out = Path(str(arguments.output_dir)).parent
        self._trackers = Trackers()
        super().__init__(
            model=family.model,
            args=arguments,
            train_dataset=_Numbered(samples),  # with length and items, which is what loaders ask for
            eval_dataset=None if evaluate is None else [],  # `evaluate` has its own
            data_collator=partial(_collate, family=family, prompt=spec.prompt),
            processing_class=family.processor,
            callbacks=[_Watch(self._stack, spec, patience), Follower(out)],
        )
        self.remove_callback(PrinterCallback)  # which prints every log
        board: Any = self.pop_callback(TensorBoardCallback)
        if board is not None:
            board.logging_dir = board.logging_dir or str(out / "tensorboard")
            self.add_callback(board)
        self.samples, self.prompt = samples, spec.prompt
        self.pace = Pace()
        self._recent: list[tuple[torch.Tensor, torch.Tensor]] = []  # numbers of windows, and what they lost
        self._numbers = torch.zeros(0, dtype=torch.int64)
        self.family, self.sampler, self._figures = family, sampler, evaluate
        self._learning_rates, self._soft = learning_rates or {}, soft
        # The tokens of a whole step are counted for `compute_loss`, the first of each window too.
        self.model_accepts_loss_kwargs, self._loss_shifts_labels = True, False

    def fit(self, checkpoint: Path | None) -> None:
        """Train to the end, from a checkpoint if there is one.

        Raises:
            RunError: If the loss is not a number.
            ModelError: If the device's memory does not suffice.
        """
        remedy = (
            f"Fewer windows at once need less (--device-batch-size, now {self._train_batch_size}; the losses stay the "
            "same), and so do --gradient-checkpointing, --precision bfloat16, --language-model-lora 16, a frozen part "
            "(--freeze-vision), a smaller --image-size."
        )
        if checkpoint is not None:
            # accelerate does not set the epoch of the sampler where the loader skips what a resumed epoch has done.
            self.sampler.set_epoch(checkpoint_step(checkpoint) // self.sampler.steps)
        with self._stack, enough_memory(f"a step of {self._train_batch_size} windows", remedy):
            if self._is_measurable():
                logger.info("%s", self._rehearsed(Device()))
            self.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))

    def _is_measurable(self) -> bool:
        """Return whether the model is whole on a GPU already: in pieces it is cut up when training begins."""
        return self.args.device.type == "cuda" and not (self.is_fsdp_enabled or self.is_deepspeed_enabled)

    def _rehearsed(self, device: Device) -> str:
        """Say what memory a step takes; see `rehearsed`."""
        numbers = longest([item.text for item in self.samples.items], self._train_batch_size)
        batch = _collate([_Drawn(n, self.samples[Place(0, n)]) for n in numbers], self.family, self.prompt)
        return rehearsed(
            self.family.model,
            lambda: self.family.loss(self._prepare_inputs(batch), soft=self._soft),
            len(numbers),
            2 if "8bit" in str(self.args.optim) else 8,
            {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.accelerator.mixed_precision),
            device,
        )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        """Load all weights of a checkpoint, in the way that models are loaded.

        transformers' own method compares the names in the file with the model's, and ignores those that differ. Most
        families are saved under the older names that the hub has: a run would resume with the weights that it began
        with, but with the optimiser's state for those that it had learnt.

        Raises:
            RunError: If there is not one for each of the model's, of its shape, or one more.
        """
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:  # in pieces, under the model's names
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        if self.family.preparation is not None:
            with readable(Path(resume_from_checkpoint)):
                _check_adapters(self.model, Path(resume_from_checkpoint))
                super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        found, own = _families.load(resume_from_checkpoint).base.state_dict(), self.family.base.state_dict()
        if other := _differing(found, own):
            raise RunError(
                f"expected the weights of this model, got others of {len(other)}, such as {other[0]}",
                path=resume_from_checkpoint,
            )
        self.family.base.load_state_dict(found)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None and not self.is_deepspeed_enabled:  # which loads them with the weights
            require_training_state(Path(checkpoint))
            with readable(Path(checkpoint)):
                super()._load_optimizer_and_scheduler(checkpoint)
            return
        super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with readable(Path(str(checkpoint))):
            super()._load_rng_state(checkpoint)

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Return the optimiser, with a group for each part of the model, and one for what weight decay leaves out."""
        if self.optimizer is None:
            model = self.model if model is None else model
            decayed = set(self.get_decay_parameter_names(model))
            groups: dict[tuple[str, bool], list[Any]] = {}
            for name, parameter in model.named_parameters():
                if parameter.requires_grad:
                    # peft puts the base within two modules of its own.
                    part = self.family.part_of(name.removeprefix("base_model.model."))
                    groups.setdefault((part, name in decayed), []).append(parameter)
            kind, options = self.get_optimizer_cls_and_kwargs(self.args, model)
            self.optimizer = kind(
                [
                    {
                        "params": parameters,
                        "weight_decay": self.args.weight_decay if is_decayed else 0.0,
                        "lr": self._learning_rates.get(part, self.args.learning_rate),
                    }
                    for (part, is_decayed), parameters in groups.items()
                ],
                **options,
            )
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return self.sampler

    def get_batch_samples(self, *arguments: Any) -> Any:
        """Return the batches of a step; how long they were waited for is kept."""
        begin = time.perf_counter()
        found = super().get_batch_samples(*arguments)
        self.pace.loading += time.perf_counter() - begin
        return found

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        self._numbers = inputs["numbers"]
        return self.family.on_device({name: value for name, value in inputs.items() if name != "numbers"})

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Return a part of a step's loss: the mean over all tokens of its windows, however the step is divided.

        Args:
            model: The family's, with what is around it.
            inputs: What a process takes at once.
            return_outputs: Not supported.
            num_items_in_batch: How many tokens the step teaches, over all processes.
        """
        loss = self.family.loss(inputs, model, self._soft)
        self._recent.append((self._numbers, loss.detach()))
        # Gradients are averaged over processes, and added up over rounds.
        return loss * self.accelerator.num_processes / cast("torch.Tensor", num_items_in_batch)

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """Return a round of a step, on its clock."""
        begin = time.perf_counter()
        loss: torch.Tensor = super().training_step(model, inputs, num_items_in_batch)
        self.pace.computing += time.perf_counter() - begin
        self.pace.windows += len(self._numbers) * self.accelerator.num_processes
        self.pace.tokens = self.pace.tokens + num_items_in_batch / self.args.gradient_accumulation_steps
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log metrics; with a loss also how fast training is.

        Raises:
            RunError: If the loss is not a number, or has exploded.
        """
        if "loss" in logs:
            logs |= self.pace.figures()
            self.pace = Pace()
        super().log(logs, start_time)
        if "loss" in logs:
            self._check_loss(float(logs["loss"]))
            self._recent = []

    def _check_loss(self, loss: float) -> None:
        if not math.isfinite(loss):
            broken = (numbers for numbers, lost in self._recent if not torch.isfinite(lost))
            mine = next(broken, torch.zeros(0)).tolist()
            windows = [self.samples.items[int(number)] for number in itertools.chain(*_ranks.gathered(mine))]
            names = ", ".join(f"{item.image_id} at {item.window.x},{item.window.y}" for item in windows[:_NAMED])
            raise RunError(
                f"expected a finite loss, got {loss} at step {self.state.global_step}"
                + (f", first with the windows {names}" if names else ""),
                remedy="Lower the learning rate, or train in float32 (--precision float32).",
            )
        first = next(entry["loss"] for entry in self.state.log_history if "loss" in entry)
        guessing = math.log(self.family.base.get_output_embeddings().weight.shape[0])
        if loss > _EXPLOSION * max(first, guessing):
            raise RunError(
                f"expected a loss that comes down, got {loss:.1f} at step {self.state.global_step}, after {first:.1f} "
                f"at the start; guessing has {guessing:.1f}",
                remedy="Lower the learning rate, or begin with a longer --warmup.",
            )

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return the metrics of the model now, and log them under the names that transformers looks for."""
        if self._figures is None:
            return {}
        found = self._figures(self.state.global_step)
        listed = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
        logger.info("step %d: %s", self.state.global_step, listed)
        figures = {f"eval_{name}": value for name, value in found.items()}
        self.log(figures)
        pictures = sheet(self._out, self.state.global_step)
        if self.is_world_process_zero() and pictures.is_file():
            self._trackers.show(pictures, self.state.global_step, self.callback_handler.callbacks)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, figures)
        return figures

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint.

        Raises:
            RunError: If it cannot be written.
        """
        with written(Path(str(self.args.output_dir)) / f"checkpoint-{self.state.global_step}"):
            super()._save_checkpoint(model, trial)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Write a checkpoint's weights and processor; transformers would pickle the settings as well."""
        if self.args.should_save:
            folder = Path(output_dir or str(self.args.output_dir))
            folder.mkdir(parents=True, exist_ok=True)
            self.family.save(folder, state_dict)


def _check_adapters(model: Any, checkpoint: Path) -> None:
    """Make sure that a checkpoint has all that adapters train, and nothing else: peft passes over what differs.

    Raises:
        RunError: If not.
    """
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    path = checkpoint / "adapter_model.safetensors"
    with safe_open(path, "pt") as file:
        found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
        shapes = {name: tuple(part.get_shape()) for name, part in found.items()}
    own = get_peft_model_state_dict(model, save_embedding_layers=False)
    if other := sorted(shapes.items() ^ {name: tuple(value.shape) for name, value in own.items()}.items()):
        raise RunError(f"expected the adapters of this model, got others, such as {other[0][0]}", path=path)


def _differing(found: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Return the names that only one has, and those whose shapes differ."""
    shapes = ({name: tuple(value.shape) for name, value in each.items()} for each in (found, own))
    first, second = (each.items() for each in shapes)
    return sorted({name for name, _ in first ^ second})


class _Watch(TrainerCallback):
    """Moves the progress bar, stops a run that is over, and finishes checkpoints."""

    def __init__(self, stack: ExitStack, spec: DetectorSpec, patience: int | None) -> None:
        self.stack, self.spec, self.patience = stack, spec, patience
        self.advance: Advance = lambda _step, _note="": None
        self.note = ""

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        self.advance = self.stack.enter_context(progress_bar("training", state.max_steps))
        self.advance(state.global_step)  # the steps that a resumed run has already done

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.advance(1, self.note)
        # A logged loss is the mean since the last one: with one at each checkpoint, a resumed run logs the same.
        control.should_evaluate |= args.eval_strategy != "no" and state.global_step >= state.max_steps
        control.should_log |= control.should_save | control.should_evaluate

    def on_log(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        loss = kwargs["logs"].get("loss")
        if loss is None:
            return
        self.note = f"loss {loss:.4f}"
        if torch.cuda.is_available() and not args.use_cpu:
            self.note += f", {torch.cuda.max_memory_allocated() / _GIB:.1f} GiB"

    def on_evaluate(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        control.should_save = True  # what was measured is kept, in case that it is the best
        if has_settled(evaluations(state.log_history, args.metric_for_best_model), self.patience):
            control.should_training_stop = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        # The last file of a checkpoint, written after those of every process. Without it the checkpoint is incomplete,
        # and no run resumes from it.
        together = PartialState()
        together.wait_for_everyone()
        if together.is_main_process:
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            with written(folder):
                check_ends(folder)
                self.spec.save(folder)
        together.wait_for_everyone()
