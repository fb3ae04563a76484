"""From `Decoding` to what transformers' `generate` is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rbox_formats.typing import LabelsN

from lmm_detector._families._types import Decoding

if TYPE_CHECKING:
    import torch


def options_of(decoding: Decoding, *, prompt_length: int, begin: Sequence[int]) -> dict[str, Any]:
    """Return the options of `generate`.

    Args:
        decoding: How answers are generated.
        prompt_length: How many tokens stand before an answer in what `generate` gives back.
        begin: The tokens that every answer begins with; they are written whatever the model would.
    """
    options: dict[str, Any] = {
        "max_new_tokens": decoding.max_new_tokens,
        "num_beams": decoding.num_beams,
        "early_stopping": decoding.num_beams > 1,
        "do_sample": decoding.temperature is not None,
    }
    if decoding.min_new_tokens:
        options["min_new_tokens"] = decoding.min_new_tokens
    if decoding.temperature is not None:
        # Of all tokens: top_p alone says which are left out.
        options |= {"temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": 0}
    if decoding.listener is not None:
        options["streamer"] = _Streamer(decoding.listener)
    if decoding.circle is not None:
        options["stopping_criteria"] = [decoding.circle.criterion(prompt_length)]
    if decoding.automaton is not None:
        from lmm_detector._decoding._constrained import GrammarProcessor

        options["logits_processor"] = [
            GrammarProcessor(
                decoding.automaton, prompt_length=prompt_length, max_new_tokens=decoding.max_new_tokens, begin=begin
            )
        ]
    elif begin:
        options["logits_processor"] = [beginning(begin, prompt_length)]
    return options


class _Streamer:
    """What transformers' `generate` tells of each step; its first call holds what stands before the answers."""

    def __init__(self, listener: Callable[[LabelsN], None]) -> None:
        self._listener, self._has_begun = listener, False

    def put(self, tokens: torch.Tensor) -> None:
        """Hand on the tokens (B,) of a step."""
        if self._has_begun:
            self._listener(tokens.cpu().numpy())
        self._has_begun = True

    def end(self) -> None:
        """Do nothing: `generate` returns all of the answers."""


def beginning(tokens: Sequence[int], prompt_length: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return a logits processor by which generation writes these tokens first."""
    import torch

    def process(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        place = input_ids.shape[1] - prompt_length
        if place >= len(tokens):
            return scores
        only = torch.full_like(scores, -torch.inf)
        only[:, tokens[place]] = 0.0
        return only

    return process
