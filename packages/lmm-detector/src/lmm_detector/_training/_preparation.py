"""From settings to a model that is ready to be trained."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import cast

import torch
from rbox_formats.codecs import Codec

from lmm_detector import _families
from lmm_detector._training._config import TrainConfig
from lmm_detector._training._run_folder import finished_checkpoints
from lmm_detector.errors import ModelError, RunError

logger = logging.getLogger("lmm_detector")


def prepared(config: TrainConfig, codec: Codec) -> _families.Family:
    """Return the model of a run: of the size asked for, with the codec's tokens, adapters, frozen parts.

    Raises:
        ModelError: If it cannot be had, or cannot be changed or cut up as asked for.
        RunError: If the run has begun with adapters on another.
    """
    begun = _begun(Path(config.out))
    preparation = _families.Preparation(
        model_name_or_path=config.model_name_or_path,
        model_revision=config.model_revision,
        image_square_length=config.image_square_length,
        language_model_max_length=config.language_model_max_length,
        tokens=tuple(codec.added_tokens),
        token_initialisation=config.token_initialisation,
        model_commit=None if begun is None else begun.model_commit,
    )
    family, added = _families.prepare(preparation)
    family.require_precision(config.precision)
    family.use_attention(config.attention, config.precision)  # weights are float32, whatever is computed in
    if added:
        logger.info(
            "%d tokens of the codec are new to the model, and begin as %s", len(added), config.token_initialisation
        )
        if "language" in config.frozen:
            logger.warning(
                "the rows of these %d tokens stay as they begin, since the language model is frozen "
                "(--freeze-language); --language-model-lora in its place trains them, beside adapters",
                len(added),
            )
    if added and config.adapters is not None and config.fsdp is not None:
        # accelerate cuts the embeddings apart from the head that shares them, and PyTorch has no rows of pieces.
        raise ModelError(
            f"expected a codec without new tokens for adapters with FSDP, got {len(added)} that the model lacks",
            path=config.model_name_or_path,
            remedy="Take --deepspeed zero2, a codec that writes digits (--codec plain), or no adapters.",
        )
    if config.quantization is not None:
        _families.quantise(family.base, family.linear_layers("language"), config.precision)
    if config.adapters is not None:
        torch.manual_seed(config.seed)  # adapters begin with random numbers; the trainer's seed comes later
        trained = [each for each in _families.PARTS if each not in (*config.adapters.parts, *config.frozen)]
        family = _families.with_adapters(family, preparation, config.adapters, trained=trained, tokens=added)
        _require_same(begun, family.preparation, config)
    for part in config.frozen:
        for parameter in family.parts[cast("_families.Part", part)].values():
            parameter.requires_grad_(False)
    _families.hold_frozen(family.model, config.held_in)
    if config.gradient_checkpointing:
        family.checkpoint_gradients()
    return family


def _begun(out: Path) -> _families.Preparation | None:
    """Return how the model of the run in this folder was prepared; None: there is no run, or none with adapters."""
    newest = next(reversed(finished_checkpoints(out / "checkpoints")), None)
    return None if newest is None or not _families.is_adapter(newest) else _families.Preparation.load(newest)


def _require_same(
    begun: _families.Preparation | None, found: _families.Preparation | None, config: TrainConfig
) -> None:
    """Make sure that adapters are put on what they were on when the run began."""
    if begun is None or found is None or begun.fingerprint in (None, found.fingerprint):
        return
    raise RunError(
        f"expected the model that the run in this folder began with, got another in {config.model_name_or_path}",
        path=config.out,
        remedy="Put the weights of then back there, or choose another --out.",
    )
