"""Fine-tuning: from a configuration to a folder with a detector in it."""

from __future__ import annotations

import json
import logging
import math
import shutil
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rbox_formats import codecs, datasets, files, tiling
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
from lmm_detector._samples import WindowTexts, check_images, records_with_images, window_texts
from lmm_detector._spec import FILE_NAME, DetectorSpec
from lmm_detector.errors import ConfigError, RunError

logger = logging.getLogger("lmm_detector")

# Settings that change nothing of what a run comes to.
_WITHOUT_EFFECT = ("out", "workers", "report_to")

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

    codec = codecs.get(config.codec, **config.codec_options)
    arguments = _arguments(config, out / "checkpoints")
    dataset = datasets.read(config.format, config.data, config.split, config.class_names)
    family = _families.load(config.model)
    prompt = config.prompt or codec.question(dataset.class_names)
    family.check(codec, prompt)
    gap = tiling.default_gap(config.window) if config.gap is None else config.gap
    records = records_with_images(dataset)
    check_images([record.file for record in records])
    samples = window_texts(
        records,
        dataset.class_names,
        codec,
        window=config.window,
        gap=gap,
        max_tokens=family.max_target_tokens,
        count_tokens=family.count_tokens,
    )
    if _has_begun(out):
        _require_same_texts(out / "texts.jsonl", samples)
    files.write_text(out / "settings.yaml", _config.to_yaml(config))
    files.write_text(out / "texts.jsonl", samples.to_jsonl())
    _report(family, samples, out)

    newest = _newest_finished(out / "checkpoints")
    if newest is not None:
        logger.info("going on from %s", newest)
    if newest is None or not _is_last(newest):
        spec = DetectorSpec(dataset.class_names, codec.to_dict(), prompt, config.window, gap)
        with ExitStack() as stack:
            trainer = Trainer(
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
    return _finish(newest, out)


def _finish(last: Path, out: Path) -> Path:
    """Makes the losses and the detector of a run out of its last checkpoint."""
    history = TrainerState.load_from_json(str(last / TRAINER_STATE_NAME)).log_history
    losses = [entry for entry in history if "loss" in entry]
    files.write_text(out / "losses.jsonl", "".join(json.dumps(entry) + "\n" for entry in losses))
    # Beside its place, then moved there in one piece: a killed run leaves no half a model.
    unfinished = out / ".model"
    shutil.rmtree(unfinished, ignore_errors=True)
    # copyfile leaves the modes behind: safetensors writes files that only their owner may read.
    shutil.copytree(last, unfinished, ignore=shutil.ignore_patterns(*_ONLY_FOR_TRAINING), copy_function=shutil.copyfile)
    return unfinished.rename(out / "model")


def _report(family: _families.Family, samples: WindowTexts, out: Path) -> None:
    objects, left_out = sum(item.objects for item in samples.items), sum(item.left_out for item in samples.items)
    parameters = sum(p.numel() for p in family.model.parameters())
    logger.info("%s: %.1f M parameters; %d windows with %d objects", out, parameters / 1e6, len(samples), objects)
    if left_out:
        cut = sum(item.left_out > 0 for item in samples.items)
        logger.warning(
            "%d more objects, in %d of the windows, are left out: the texts would be longer than the model's %d tokens "
            "(smaller windows hold fewer objects)",
            *(left_out, cut, family.max_target_tokens),
        )


def _arguments(config: TrainConfig, checkpoints: Path) -> TrainingArguments:
    try:
        if config.report_to != "none":
            get_reporting_integration_callbacks([config.report_to])
        arguments = TrainingArguments(
            output_dir=str(checkpoints),
            per_device_train_batch_size=config.batch_size,
            gradient_accumulation_steps=config.gradient_accumulation,
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
    if arguments.world_size > 1:
        raise ConfigError(
            f"expected one process, got {arguments.world_size}",
            remedy="Training by several processes (torchrun, accelerate launch) is not there yet.",
        )
    return arguments


class _Watch(TrainerCallback):
    """Moves the progress bar, stops a run whose loss is not a number, and finishes checkpoints."""

    def __init__(self, stack: ExitStack, spec: DetectorSpec) -> None:
        self.stack, self.spec = stack, spec
        self.advance: Advance = lambda _step, _note="": None
        self.note = ""

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
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
        # The last file of a checkpoint: one without it was cut short, and is not gone on from.
        self.spec.save(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}")


def _newest_finished(checkpoints: Path) -> Path | None:
    """The checkpoint to go on from; those that were cut short are removed."""
    found = sorted(checkpoints.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    finished = [path for path in found if (path / FILE_NAME).is_file()]
    for path in set(found) - set(finished):
        shutil.rmtree(path)
    return finished[-1] if finished else None


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
