"""The settings of a run as transformers' Trainer has them."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import torch
from transformers import TrainingArguments
from transformers.integrations.integration_utils import get_reporting_integration_callbacks

from lmm_detector._runtime import _ranks
from lmm_detector._training import _sharding
from lmm_detector._training._config import TrainConfig
from lmm_detector.errors import ConfigError

_BY_BITSANDBYTES = ("nf4", "adamw_8bit")
_OPTIMISERS = {"adamw": "adamw_torch_fused", "adamw_8bit": "adamw_bnb_8bit"}  # as transformers calls them


def arguments_of(config: TrainConfig, checkpoints: Path) -> TrainingArguments:
    """Return the settings as transformers has them.

    Raises:
        ConfigError: If something that they need is not installed, the device lacks the precision, or the processes
            cannot share a batch.
    """
    evaluates = config.eval_split is not None
    at_once, rounds = shares(config)
    if config.deepspeed is not None and importlib.util.find_spec("deepspeed") is None:
        raise ConfigError("expected DeepSpeed, found none", remedy="pip install deepspeed")
    report_to = config.report_to
    if report_to is None:
        report_to = "tensorboard" if importlib.util.find_spec("tensorboard") is not None else "none"
    try:
        if report_to != "none":
            for tracker in get_reporting_integration_callbacks([report_to]):
                tracker()  # which says so where it is not installed
        arguments = TrainingArguments(
            output_dir=str(checkpoints),
            per_device_train_batch_size=at_once,
            gradient_accumulation_steps=rounds,
            num_train_epochs=config.epochs,
            max_steps=config.steps or -1,
            learning_rate=config.learning_rate,
            # transformers' "constant" disregards the warm-up.
            lr_scheduler_type="constant_with_warmup" if config.schedule == "constant" else config.schedule,
            warmup_steps=config.warmup,  # below 1, a share of all steps
            weight_decay=config.weight_decay,
            max_grad_norm=config.max_grad_norm,
            optim=_OPTIMISERS[config.optimiser],
            bf16=config.precision == "bfloat16",
            fp16=config.precision == "float16",
            logging_steps=config.log_every,
            logging_nan_inf_filter=False,  # which would show the last finite loss instead
            save_steps=config.save_every,
            save_total_limit=config.keep_checkpoints + evaluates,  # the best is counted with them
            eval_strategy="steps" if evaluates else "no",
            eval_steps=config.eval_every or config.save_every,
            metric_for_best_model=config.eval_metric if evaluates else None,
            greater_is_better=config.eval_metric != "loss",
            dataloader_num_workers=config.loading_processes,
            dataloader_pin_memory=torch.cuda.is_available() and not config.cpu,
            remove_unused_columns=False,
            seed=config.seed,
            use_cpu=config.cpu,
            report_to=report_to,
            disable_tqdm=True,
            ddp_find_unused_parameters=True,  # LLaVA-OneVision's last norm of the image encoder
            ddp_timeout=int(_ranks.PATIENCE.total_seconds()),
            **_sharding.arguments(config.deepspeed, config.fsdp),
        )
    except (ValueError, RuntimeError, ImportError) as error:
        # What transformers finds wrong: precisions that the device lacks, trackers that are not installed.
        half = config.precision != "float32"
        raise ConfigError(
            f"expected settings that transformers takes, got: {str(error).splitlines()[0]}",
            remedy="Without a GPU take --precision float32, or --cpu." if half else None,
        ) from error
    if config.precision == "float16" and arguments.device.type == "cpu":
        # accelerate has it on GPUs alone: layers would compute in float32, and in evaluations in float16.
        raise ConfigError(
            "expected a GPU for precision float16, got none",
            remedy="On the CPU take --precision bfloat16 or --precision float32.",
        )
    for name in ("quantization", "optimiser"):
        if (value := getattr(config, name)) in _BY_BITSANDBYTES:
            _require_bitsandbytes(arguments, f"{name} {value}")
    if (config.deepspeed or config.fsdp) and arguments.device.type == "cpu":
        raise ConfigError(
            "expected a GPU for DeepSpeed or FSDP, got none: every process would hold the whole model, unasked"
        )
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # a process, a device: transformers would let this one drive all, with a batch for each
    return arguments


def _require_bitsandbytes(arguments: TrainingArguments, what: str) -> None:
    if arguments.device.type != "cuda":
        raise ConfigError(f"expected a GPU for {what}, got none")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            f"expected bitsandbytes for {what}, found none", remedy="pip install 'lmm-detector[quantization]'"
        )


def shares(config: TrainConfig) -> tuple[int, int]:
    """Return how many windows a process takes at once, and how often for a step."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    share, rest = divmod(config.batch_size, processes)
    if rest:
        raise ConfigError(
            f"expected a batch_size that {processes} processes can share, got {config.batch_size}",
            remedy="Choose a multiple of their number.",
        )
    at_once = max(size for size in range(1, min(config.device_batch_size, share) + 1) if share % size == 0)
    return at_once, share // at_once
