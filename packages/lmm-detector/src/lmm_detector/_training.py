"""Fine-tuning: from a configuration to a folder with a detector in it."""

from __future__ import annotations

import itertools
import json
import logging
import math
import shutil
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, cast

from accelerate import PartialState
from rbox_formats import codecs, files, tiling
from rbox_formats.cli import Advance, progress
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.integrations.integration_utils import get_reporting_integration_callbacks
from transformers.trainer import TRAINER_STATE_NAME

from lmm_detector import _config, _families
from lmm_detector._config import TrainConfig
from lmm_detector._families._tokens import Initialisation
from lmm_detector._mixing import EpochSampler
from lmm_detector._samples import ObjectOrder, TextWriter, WindowTexts, check_images, window_texts
from lmm_detector._sources import open_sources
from lmm_detector._spec import FILE_NAME, DetectorSpec
from lmm_detector.errors import ConfigError, RunError

logger = logging.getLogger("lmm_detector")

# Settings that change nothing of what a run comes to.
_WITHOUT_EFFECT = ("out", "workers", "report_to", "device_batch_size")

# What a checkpoint has and a detector does not need: optimiser, schedule, random state.
_ONLY_FOR_TRAINING = ("*.pt", "*.pth", "*.bin", TRAINER_STATE_NAME)


def train(config: TrainConfig) -> Path:
    """Fine-tunes a model, or goes on with a run that was stopped.

    Everything that can be checked is checked first; only then is anything written. In `config.out` are then

    - `settings.yaml`: the settings, for `--config`,
    - `texts.jsonl`: the windows that are trained on, with the text of each,
    - `checkpoints/`: the last two checkpoints, from which a stopped run goes on; each is a detector as well,
    - `losses.jsonl`: step, loss and learning rate, at the end,
    - `model/`: the detector, at the end.

    Args:
        config: The settings.

    Returns:
        The detector's folder.

    Raises:
        RboxError: If a setting, the dataset or the model is not as expected.
    """
    out = Path(config.out)
    require_same_run(config)
    if (out / "model" / FILE_NAME).is_file():
        logger.info("%s: this run is finished, nothing is done again", out)
        return out / "model"

    codec = codecs.get(config.response_format, **config.codec_options)
    arguments = _arguments(config, out / "checkpoints")
    class_names, records = open_sources(config.sources, config.class_names)
    family = _families.load(config.model_name_or_path, attn_implementation=config.attn_implementation)
    prompt = config.prompt or codec.prompt
    prompt = prompt.replace("{classes}", ", ".join(class_names))
    window = (config.window, config.window)
    added = family.add_tokens(codec.added_tokens, cast("Initialisation", config.token_initialisation))
    if added:
        logger.info(
            "%d tokens of the codec are new to the model, and begin as %s", len(added), config.token_initialisation
        )
    family.check(codec, prompt, window)
    for part in config.frozen:
        for parameter in family.parts[cast("_families.Part", part)].values():
            parameter.requires_grad_(False)
    gap = tiling.default_gap(config.window) if config.gap is None else config.gap
    check_images([record.file for of_dataset in records for record in of_dataset])
    order = cast("ObjectOrder", config.object_order)
    room = family.answer_room(prompt, window)
    writer = TextWriter(class_names, codec, room, family.count_tokens, order, family.input_size)
    windows = [window_texts(of_dataset, writer, window=config.window, gap=gap) for of_dataset in records]
    samples = WindowTexts(list(itertools.chain(*windows)), writer, config.changes, config.seed)
    sizes = [len(of_dataset) for of_dataset in windows]
    sampler = EpochSampler(sizes, config.dataset_mode, config.seed, config.batch_size)
    if _has_begun(out):
        _require_same_texts(out / "texts.jsonl", samples)
    newest = _newest_finished(out / "checkpoints")
    together = PartialState()
    together.wait_for_everyone()  # until all have seen the folder as it was
    if together.is_main_process:
        _remove_unfinished(out / "checkpoints")
        files.write_text(out / "settings.yaml", _config.to_yaml(config))
        files.write_text(out / "texts.jsonl", samples.to_jsonl())
        _report(family, samples, room, out)
    together.wait_for_everyone()
    if newest is not None:
        logger.info("going on from %s", newest)
    if newest is None or not _is_last(newest):
        spec = DetectorSpec(class_names, codec.to_dict(), prompt, config.window, gap)
        with ExitStack() as stack:
            trainer = _EpochTrainer(
                sampler,
                model=family.model,
                args=arguments,
                train_dataset=samples,
                data_collator=partial(family.collate, prompt=prompt),
                processing_class=family.processor,
                callbacks=[_Watch(stack, spec)],
            )
            trainer.remove_callback(PrinterCallback)  # which prints every log
            trainer.train(resume_from_checkpoint=None if newest is None else str(newest))
        newest = _newest_finished(out / "checkpoints")
        if newest is None:
            raise RunError("expected a checkpoint at the end of training, found none", path=out / "checkpoints")
    if together.is_main_process:
        _finish(newest, out)
    together.wait_for_everyone()
    return out / "model"


def _finish(last: Path, out: Path) -> None:
    """Makes the losses and the detector of a run out of its last checkpoint."""
    history = TrainerState.load_from_json(str(last / TRAINER_STATE_NAME)).log_history
    losses = [entry for entry in history if "loss" in entry]
    files.write_text(out / "losses.jsonl", "".join(json.dumps(entry) + "\n" for entry in losses))
    # Beside its place, then moved there in one piece: a killed run leaves no half a model.
    unfinished = out / ".model"
    shutil.rmtree(unfinished, ignore_errors=True)
    # copyfile leaves the modes behind: safetensors writes files that only their owner may read.
    shutil.copytree(last, unfinished, ignore=shutil.ignore_patterns(*_ONLY_FOR_TRAINING), copy_function=shutil.copyfile)
    unfinished.rename(out / "model")


def _report(family: _families.Family, samples: WindowTexts, room: int, out: Path) -> None:
    objects, left_out = sum(item.objects for item in samples.items), sum(item.left_out for item in samples.items)
    logger.info("%s: %d windows with %d objects, answers of up to %d tokens", out, len(samples), objects, room)
    for part, parameters in family.parts.items():
        trained = sum(p.numel() for p in parameters.values() if p.requires_grad)
        of_all = sum(p.numel() for p in parameters.values())
        logger.info("%s: %.1f M of %.1f M parameters are trained", part, trained / 1e6, of_all / 1e6)
    if left_out:
        cut = sum(item.left_out > 0 for item in samples.items)
        logger.warning(
            "%d more objects, in %d of the windows, are left out: the texts would be longer than the model's %d tokens "
            "(smaller windows hold fewer objects)",
            *(left_out, cut, room),
        )


def _arguments(config: TrainConfig, checkpoints: Path) -> TrainingArguments:
    try:
        if config.report_to != "none":
            get_reporting_integration_callbacks([config.report_to])
        arguments = TrainingArguments(
            output_dir=str(checkpoints),
            per_device_train_batch_size=config.device_batch_size,
            num_train_epochs=config.epochs,
            max_steps=config.steps or -1,
            learning_rate=config.learning_rate,
            lr_scheduler_type=_config.SCHEDULES[config.schedule],
            warmup_steps=config.warmup,  # below 1, a share of all steps
            weight_decay=config.weight_decay,
            bf16=config.precision == "bfloat16",
            fp16=config.precision == "float16",
            logging_steps=config.log_every,
            logging_nan_inf_filter=False,  # which would show the last finite loss instead
            save_steps=config.save_every,
            save_total_limit=2,  # the one being written and the one before
            dataloader_num_workers=config.workers,
            remove_unused_columns=False,
            seed=config.seed,
            use_cpu=config.cpu,
            report_to=config.report_to,
            disable_tqdm=True,
        )
    except (ValueError, RuntimeError, ImportError) as error:
        # What transformers finds wrong: precisions that the device lacks, trackers that are not installed.
        raise ConfigError(f"expected settings that transformers takes, got: {str(error).splitlines()[0]}") from error
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # a process, a device: transformers would let this one drive all, with a batch for each
    share, rest = divmod(config.batch_size, arguments.world_size)
    if rest:
        raise ConfigError(
            f"expected a batch_size that {arguments.world_size} processes can share, got {config.batch_size}",
            remedy="Choose a multiple of their number.",
        )
    at_once = max(size for size in range(1, min(config.device_batch_size, share) + 1) if share % size == 0)
    arguments.per_device_train_batch_size, arguments.gradient_accumulation_steps = at_once, share // at_once
    return arguments


class _EpochTrainer(Trainer):
    """A trainer whose epochs go through the windows as the sampler says."""

    def __init__(self, sampler: EpochSampler, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.sampler = sampler
        # What an encoder-decoder is to write is not shifted against its labels: the first of them counts too.
        self._loss_shifts_labels &= not arguments["model"].config.is_encoder_decoder

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return self.sampler


class _Watch(TrainerCallback):
    """Moves the progress bar, stops a run whose loss is not a number, and finishes checkpoints."""

    def __init__(self, stack: ExitStack, spec: DetectorSpec) -> None:
        self.stack, self.spec = stack, spec
        self.advance: Advance = lambda _step, _note="": None
        self.note = ""

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        if not state.is_world_process_zero:
            return
        self.advance = self.stack.enter_context(progress("training", state.max_steps))
        self.advance(state.global_step)  # what a resumed run has behind it

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.advance(1, self.note)
        # A logged loss is the mean since the last one: with one at each checkpoint, a resumed run logs the same.
        control.should_log |= control.should_save

    def on_log(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        loss = kwargs["logs"].get("loss")
        if loss is None:
            return
        self.note = f"loss {loss:.4f}"
        if not math.isfinite(loss):
            raise RunError(
                f"expected a finite loss, got {loss} at step {state.global_step}",
                remedy="Lower the learning rate, or train in float32 (--precision float32).",
            )

    def on_save(self, args: TrainingArguments, state: TrainerState, control: Any, **kwargs: Any) -> None:
        # The last file of a checkpoint, behind those of every process: one without it was cut short, and is not gone on
        # from.
        together = PartialState()
        together.wait_for_everyone()
        if together.is_main_process:
            self.spec.save(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")
        together.wait_for_everyone()


def _newest_finished(checkpoints: Path) -> Path | None:
    """The checkpoint to go on from."""
    finished = [path for path in checkpoints.glob("checkpoint-*") if (path / FILE_NAME).is_file()]
    return max(finished, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _remove_unfinished(checkpoints: Path) -> None:
    """Removes checkpoints that were cut short."""
    for path in checkpoints.glob("checkpoint-*"):
        if not (path / FILE_NAME).is_file():
            shutil.rmtree(path)


def _is_last(checkpoint: Path) -> bool:
    state = TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
    return state.global_step >= state.max_steps


def _has_begun(out: Path) -> bool:
    """Whether a run has something to go on from: before its first checkpoint it binds nobody."""
    return any(out.glob(f"checkpoints/*/{FILE_NAME}")) or (out / "model" / FILE_NAME).is_file()


def require_same_run(config: TrainConfig) -> None:
    """Makes sure that a run in the folder `config.out`, if one has begun there, has the same settings.

    Raises:
        RunError: If it has others; it names them.
    """
    out = Path(config.out)
    path = out / "settings.yaml"
    if not _has_begun(out) or not path.is_file():
        return
    old, new = asdict(_config.load(path, {})), asdict(config)
    different = [
        f"{name} {old[name]!r}, not {new[name]!r}"
        for name in new
        if name not in _WITHOUT_EFFECT and old[name] != new[name]
    ]
    if different:
        raise RunError(
            f"expected the settings of the run in this folder, which has {'; '.join(different)}",
            path=path,
            remedy="Give the same settings to go on with it, another --out, or remove the folder.",
        )


def _require_same_texts(path: Path, samples: WindowTexts) -> None:
    if path.is_file() and path.read_text(encoding="utf-8") != samples.to_jsonl():
        raise RunError(
            "expected the texts that the run in this folder began with, got others: the dataset has changed",
            path=path,
            remedy="Choose another --out, or remove the folder.",
        )
