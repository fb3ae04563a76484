"""Answers by vLLM, which runs the model in place of transformers: a window's answer begins as soon as another ends.

It is given what our own loop reads: the same tokens of the prompt, and images at the size at which the model sees them.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from rbox_formats.errors import quoted, said
from rbox_formats.typing import Image, LabelsN, ScoresN

from lmm_detector import _families
from lmm_detector._decoding._circles import EVERY, Circle
from lmm_detector._families import Answer, Decoding
from lmm_detector._prediction._generation import Generation
from lmm_detector.errors import ConfigError, ModelError

_NAME = "--engine vllm"
_LOCAL = "Leave --engine out: transformers runs it."
_OLD_NAMES = "vLLM, up to 0.33, knows the weights of its vision model by names that transformers 5.23 no longer writes"
# Why vLLM does not run a model type, or gives other answers.
_REFUSED = {
    "florence2": "vLLM has no Florence-2, which left it with other encoder-decoders",
    "paligemma": "vLLM has it read from left to right, while it has learnt to see image and prompt as a whole",
    "gemma3": _OLD_NAMES,
    "llava_onevision": _OLD_NAMES,
}
# Only set where the user has not: no report of use over the network, no question to the hub about a model in a folder.
_ENVIRONMENT = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
# Seen in tiles, which the processor cuts: by Pillow, as ours does. Others in tiles (InternVL, SmolVLM) have a part for
# videos, which is there for torchvision alone, so that it resizes their images too, to slightly other pixels.
_CUT_BY_PILLOW = ("idefics3",)
_SEEDS = 2**63  # vLLM holds seeds in 64 bits with a sign


def require(folder: str | Path, device: str | None = None) -> None:
    """Make sure, before anything is loaded, that vLLM is there and runs a model.

    Args:
        folder: The model's.
        device: What the user named, if anything.

    Raises:
        ModelError: If not.
    """
    if _families.is_adapter(folder):
        raise ModelError(
            f"expected a model with its weights for {_NAME}, got adapters",
            path=folder,
            remedy=f"Add them into the weights: lmm-detector merge {folder} OUT",
        )
    model_type = _families.read_config(str(folder)).get("model_type")
    if (reason := _REFUSED.get(str(model_type))) is not None:
        raise ModelError(f"expected a model that vLLM runs, got {model_type}: {reason}", path=folder, remedy=_LOCAL)
    if device is not None:
        raise ModelError(
            f"expected no device with {_NAME}, got {quoted(device)}: vLLM takes the first GPU that it sees",
            remedy="Show it another with CUDA_VISIBLE_DEVICES=1.",
        )
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ModelError(
            f"expected one process with {_NAME}, got {os.environ['WORLD_SIZE']} of a launcher",
            remedy="Start a command for each GPU, with --share 1/2, --share 2/2 and so on.",
        )
    if importlib.util.find_spec("vllm") is None:
        raise ModelError(
            f"expected vLLM for {_NAME}, which is not installed",
            remedy="The README of lmm-detector says how: --engine.",
        )


class Vllm:
    """An engine; see `lmm_detector._prediction._engine.Engine`. The model is loaded for the first answer.

    Args:
        folder: A model with its weights.
        family: Its outline: prompts, tokens, sizes.
        dtype: What to compute in.
    """

    def __init__(self, folder: str | Path, family: _families.Chat, dtype: str) -> None:
        self._folder, self._family, self._dtype = str(folder), family, dtype
        # Which tokens the model must read for an image of a size.
        self._read = lru_cache(maxsize=64)(lambda prompt, size: family.prompt_ids(prompt, size))

    @property
    def version(self) -> str:
        """See `Engine.version`."""
        return f"vllm {self._vllm.__version__}"

    def check(self, generation: Generation) -> None:
        """See `Engine.check`."""
        if generation.num_beams > 1:
            raise ConfigError(
                f"expected one beam with {_NAME}, got {generation.num_beams}: vLLM's beam search gives no "
                "probabilities of the model's own, and ends by another rule",
                remedy="Leave out --num-beams, or --engine.",
            )

    def generate(self, images: Sequence[Image], prompt: str, decoding: Decoding) -> list[Answer]:
        """See `Family.generate`; without constraints, answers come with their log-probabilities."""
        ids = self._family.prompt_ids(prompt)
        settings = [self._settings(decoding, place) for place in range(len(images))]
        found = []
        for image, output in zip(images, self._run(images, [ids] * len(images), settings), strict=True):
            self._require_prompt(output.prompt_token_ids, prompt, image)
            (written,) = output.outputs
            tokens = np.array(written.token_ids, dtype=np.int64)
            answer = self._family.answer(tokens, decoding)
            logs = None if written.logprobs is None else _of_tokens(written.logprobs, answer.tokens)
            found.append(answer._replace(log_probabilities=logs))
        return found

    def log_probabilities(
        self, images: Sequence[Image], prompt: str, answers: Sequence[Sequence[int] | LabelsN]
    ) -> list[ScoresN]:
        """See `Family.log_probabilities`: answers are read as the end of their prompts."""
        ids = self._family.prompt_ids(prompt)
        whole = [[*ids, *(int(token) for token in answer)] for answer in answers]
        settings = self._vllm.SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0, detokenize=False)
        outputs = self._run(images, whole, [settings] * len(whole))
        return [
            _of_tokens(output.prompt_logprobs[len(output.prompt_logprobs) - len(answer) :], answer)
            for output, answer in zip(outputs, answers, strict=True)
        ]

    @cached_property
    def _vllm(self) -> Any:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        return importlib.import_module("vllm")

    @cached_property
    def _llm(self) -> Any:
        try:
            return self._vllm.LLM(**self.arguments())
        except Exception as error:  # whatever is wrong with model, GPU or memory
            raise ModelError(
                f"expected a model that vLLM loads, got {type(error).__name__}: {said(error)}",
                path=self._folder,
                remedy=f"What vLLM wrote above says more. {_LOCAL}",
            ) from error

    def arguments(self) -> dict[str, Any]:
        """Return what vLLM is asked to load, and how."""
        limit, model_type = self._family.position_limit, self._family.base.config.model_type
        pillow = {"mm_processor_kwargs": {"backend": "pil"}} if model_type in _CUT_BY_PILLOW else {}
        return {
            "model": self._folder,
            "dtype": self._dtype,
            "max_model_len": -1 if limit is None else limit,  # -1: as many as its memory holds
            "limit_mm_per_prompt": {"image": 1, "video": 0},
            "mm_processor_cache_gb": 0,  # no window comes twice
            "logprobs_mode": "raw_logprobs",  # before temperature and the like
            "generation_config": "vllm",  # none of the checkpoint's own
            "trust_remote_code": False,
            **pillow,
        }

    def _settings(self, decoding: Decoding, place: int) -> Any:
        """Return vLLM's settings for one answer of a batch."""
        vllm, circle = self._vllm, decoding.circle
        structured = None
        if decoding.expression is not None:
            structured = _class("StructuredOutputsParams")(regex=decoding.expression)
        return vllm.SamplingParams(
            temperature=decoding.temperature or 0.0,
            top_p=decoding.top_p,
            seed=None if decoding.seed is None else (decoding.seed + place) % _SEEDS,
            max_tokens=decoding.max_new_tokens,
            min_tokens=decoding.min_new_tokens,
            stop_token_ids=list(self._family.end_tokens),
            bad_words=self._family.never_written,
            # Those that come with a constrained answer are of allowed tokens alone.
            logprobs=0 if structured is None else None,
            structured_outputs=structured,
            repetition_detection=None if circle is None else _repetition(circle),
            detokenize=False,
        )

    def _run(self, images: Sequence[Image], ids: Sequence[Sequence[int]], settings: Sequence[Any]) -> list[Any]:
        from PIL import Image as PillowImage

        prompts = [
            {
                "prompt_token_ids": list(tokens),
                "multi_modal_data": {"image": PillowImage.fromarray(np.ascontiguousarray(self._family.resized(image)))},
            }
            for image, tokens in zip(images, ids, strict=True)
        ]
        outputs: list[Any] = self._llm.generate(prompts, list(settings), use_tqdm=False)
        return outputs

    def _require_prompt(self, ids: Sequence[int], prompt: str, image: Image) -> None:
        """Make sure that vLLM made the same tokens of prompt and image as transformers does."""
        expected = self._read(prompt, (image.shape[1], image.shape[0]))
        if list(ids) != expected:
            raise ModelError(
                f"expected {len(expected)} tokens of prompt and image, as transformers makes them, got {len(ids)} of "
                f"{self.version}" + ("" if len(ids) != len(expected) else ", others"),
                path=self._folder,
                remedy=_LOCAL,
            )


def _class(name: str) -> Any:
    return getattr(importlib.import_module("vllm.sampling_params"), name)


def _repetition(circle: Circle) -> Any:
    """Return when vLLM stops an answer that runs in a circle: never before ours would, so that answers are the same.

    A pattern of at least `EVERY` tokens that has come once more than `circle` asks for was already a circle at our last
    look. Shorter patterns make up such a one. Longer ones, of several boxes, are found when the answer is there: vLLM
    tries every length after every token.
    """
    least = max(circle.box_tokens, EVERY)
    return _class("RepetitionDetectionParams")(
        min_pattern_size=least, max_pattern_size=2 * least, min_count=circle.repeats + 1
    )


def _of_tokens(places: Any, tokens: Sequence[int] | LabelsN) -> ScoresN:
    """Return (T,) the log-probabilities of tokens; there may be more places than tokens."""
    found = [place[int(token)].logprob for place, token in zip(places, tokens, strict=False)]
    return np.array(found, dtype=np.float64)
