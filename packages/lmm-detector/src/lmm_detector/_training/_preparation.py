"""From settings to a model that is ready to be trained."""

from __future__ import annotations

import logging
from typing import cast

import torch
from rbox_formats.codecs import Codec

from lmm_detector import _families
from lmm_detector._training._config import TrainConfig

logger = logging.getLogger("lmm_detector")


def prepared(config: TrainConfig, codec: Codec) -> _families.Family:
    """The model of a run: of the size asked for, with the codec's tokens, adapters, frozen parts.

    Raises:
        ModelError: If it cannot be had, or cannot be changed as asked for.
    """
    preparation = _families.Preparation(
        model_name_or_path=config.model_name_or_path,
        model_revision=config.model_revision,
        image_square_length=config.image_square_length,
        language_model_max_length=config.language_model_max_length,
        tokens=tuple(codec.added_tokens),
        token_initialisation=config.token_initialisation,
    )
    family, added = _families.prepare(preparation)
    family.require_precision(config.precision)
    family.use_attention(config.attention, config.precision)  # weights are float32, whatever is computed in
    if added:
        logger.info(
            "%d tokens of the codec are new to the model, and begin as %s", len(added), config.token_initialisation
        )
    if config.quantization is not None:
        _families.quantise(family.base, family.linear_layers("language"), config.precision)
    if config.adapters is not None:
        torch.manual_seed(config.seed)  # adapters begin with random numbers; the trainer's seed comes later
        trained = [each for each in _families.PARTS if each not in (*config.adapters.parts, *config.frozen)]
        family = _families.with_adapters(family, preparation, config.adapters, trained=trained, tokens=added)
    for part in config.frozen:
        for parameter in family.parts[cast("_families.Part", part)].values():
            parameter.requires_grad_(False)
    _families.hold_frozen(family.model, config.held_in)
    if config.gradient_checkpointing:
        family.checkpoint_gradients()
    return family
