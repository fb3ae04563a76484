"""A stand-in for vLLM where it is not installed: its names, and answers written token by token by the model itself.

What vLLM 0.32 does with the settings that we give was read in its sources: `SamplingParams`,
`v1/core/sched/utils.py` (where an answer ends), `v1/worker/gpu_model_runner.py` (probabilities after the mask).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lmm_detector import _families
from lmm_detector._decoding._token_automaton import DONE, compile_expression
from lmm_detector._decoding._vocabulary import Vocabulary

__version__ = "0.0"


@dataclass
class StructuredOutputsParams:
    """What may be written."""

    regex: str


@dataclass
class RepetitionDetectionParams:
    """When an answer is stopped because its end repeats itself."""

    min_pattern_size: int
    max_pattern_size: int
    min_count: int

    def stops(self, tokens: Sequence[int]) -> bool:
        """Tell whether the tokens end in one of the patterns, that often."""
        for size in range(self.min_pattern_size, self.max_pattern_size + 1):
            tail = list(tokens[-size * self.min_count :])
            if len(tail) == size * self.min_count and tail == tail[-size:] * self.min_count:
                return True
        return False


@dataclass(kw_only=True)
class SamplingParams:
    """What is set for one answer; names that vLLM does not know are refused."""

    max_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    min_tokens: int = 0
    stop_token_ids: Sequence[int] = ()
    bad_words: Sequence[str] = ()
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    structured_outputs: StructuredOutputsParams | None = None
    repetition_detection: RepetitionDetectionParams | None = None
    detokenize: bool = True


class LLM:
    """The model of a folder, one prompt after the other."""

    made: list[LLM]

    def __init__(self, *, model: str, dtype: str, **arguments: Any) -> None:
        self.arguments = arguments
        self.settings: list[SamplingParams] = []
        self._family = _families.load(model, dtype=dtype)
        self._family.model.eval()
        LLM.made.append(self)

    def generate(self, prompts: Sequence[Any], settings: Sequence[SamplingParams], use_tqdm: bool) -> list[Any]:
        """Answer prompts."""
        assert not use_tqdm
        self.settings += settings
        return [self._one(prompt, each) for prompt, each in zip(prompts, settings, strict=True)]

    def _one(self, prompt: Any, settings: SamplingParams) -> Any:
        image = np.asarray(prompt["multi_modal_data"]["image"])
        inputs = self._inputs(prompt["prompt_token_ids"], image)
        ids = inputs["input_ids"][0].tolist()
        whole = None
        if settings.prompt_logprobs is not None:
            rows = self._rows(inputs, [])
            whole = [None, *({token: _log(row, token)} for token, row in zip(ids[1:], rows[:-1], strict=True))]
        written, logs = self._write(inputs, settings)
        output = SimpleNamespace(token_ids=written, logprobs=None if settings.logprobs is None else logs)
        return SimpleNamespace(prompt_token_ids=ids, prompt_logprobs=whole, outputs=[output])

    def _inputs(self, ids: Sequence[int], image: np.ndarray) -> dict[str, torch.Tensor]:
        """Return what the model reads: the one token of the image becomes as many as the image takes."""
        processor = self._family.processor
        inputs = self._family._processed([image], [processor.image_token])
        count = int((inputs["input_ids"] == processor.image_token_id).sum())
        spread = [each for token in ids for each in [token] * (count if token == processor.image_token_id else 1)]
        whole = torch.tensor([spread])
        types = (whole == processor.image_token_id).to(whole)
        return {**inputs, "input_ids": whole, "attention_mask": torch.ones_like(whole), "mm_token_type_ids": types}

    def _rows(self, inputs: dict[str, torch.Tensor], written: Sequence[int]) -> torch.Tensor:
        """Return the logits of each place of prompt and answer."""
        more = torch.tensor([list(written)], dtype=torch.int64)
        values = {"input_ids": more, "attention_mask": torch.ones_like(more), "mm_token_type_ids": 0 * more}
        batch = {
            name: torch.cat([value, values[name].to(value)], dim=1) if name in values else value
            for name, value in inputs.items()
        }
        with torch.inference_mode():
            return self._family.model(**self._family.on_device(batch)).logits[0].float()

    def _write(self, inputs: dict[str, torch.Tensor], settings: SamplingParams) -> tuple[list[int], list[Any]]:
        family, written, logs = self._family, list[int](), list[Any]()
        never = family.tokenizer.convert_tokens_to_ids(list(settings.bad_words))
        generator = torch.Generator().manual_seed(settings.seed or 0)
        automaton, state = None, DONE
        if settings.structured_outputs is not None:
            end = family.end_tokens[0]
            automaton = compile_expression(settings.structured_outputs.regex, Vocabulary.of(family.tokenizer, end=end))
            state = automaton.start
        while len(written) < settings.max_tokens:
            row = self._rows(inputs, written)[-1]
            if automaton is not None:
                allowed = torch.from_numpy(automaton.allowed(state, sys.maxsize)).long()
                row = torch.full_like(row, -torch.inf).index_copy(0, allowed, row[allowed])
            chosen = row.clone()
            chosen[never] = -torch.inf
            if settings.temperature:
                odds = torch.softmax(chosen / settings.temperature, dim=0)
                token = int(torch.multinomial(odds, 1, generator=generator))
            else:
                token = int(chosen.argmax())
            written.append(token)
            logs.append({token: _log(row, token)})
            if automaton is not None:
                state = automaton.advance(state, token)
            repeats = settings.repetition_detection
            if token in settings.stop_token_ids or (repeats is not None and repeats.stops(written)):
                break
        return written, logs


def _log(row: torch.Tensor, token: int) -> Any:
    return SimpleNamespace(logprob=float(torch.log_softmax(row, dim=0)[token]))


def install(monkeypatch: pytest.MonkeyPatch) -> type[LLM]:
    """Put it in vLLM's place; returns the class, whose `made` lists what was loaded."""
    LLM.made = []
    here = sys.modules[__name__]
    for name in ("vllm", "vllm.sampling_params"):
        module = ModuleType(name)
        module.__dict__.update({key: value for key, value in vars(here).items() if not key.startswith("__")})
        module.__spec__ = here.__spec__
        module.__dict__["__version__"] = __version__
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("VLLM_NO_USAGE_STATS", "HF_HUB_OFFLINE", "VLLM_LOGGING_LEVEL"):
        monkeypatch.setenv(name, "1")  # what the adapter sets stays set in a process
    return LLM
