"""Answers that run in a circle: generation that writes the same boxes again and again, up to the length limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rbox_formats.typing import LabelsN

if TYPE_CHECKING:
    import torch

EVERY = 16  # tokens between two looks, so that devices are not waited for at each
_MATCHED = 4  # of the last tokens, by which periods that come into question are found


@dataclass(frozen=True)
class Circle:
    """When an answer counts as running in a circle, which no list of different boxes does.

    The same box text several times in a row, or the same sequence of boxes. Looked for in tokens: the end of the answer
    has a period, of any length, and is as long as `repeats` periods and as `repeats` boxes.

    Attributes:
        repeats: How many times in a row, 2 or more.
        box_tokens: The tokens of the longest box.
    """

    repeats: int
    box_tokens: int

    def runs(self, tokens: LabelsN) -> bool:
        """Return whether an answer (T,) runs in a circle at its end."""
        return any(self._has(tokens, period) for period in _periods(tokens, len(tokens) // self.repeats))

    def _has(self, tokens: LabelsN, period: int) -> bool:
        length = self.repeats * max(period, self.box_tokens)
        if length > len(tokens):
            return False
        tail = tokens[-length:]
        return bool((tail[period:] == tail[:-period]).all())

    def stops_at(self, tokens: LabelsN) -> int | None:
        """Return how many tokens of an answer (T,) are written when generation stops for it; None: it does not."""
        return next((size for size in range(EVERY, len(tokens) + 1, EVERY) if self.runs(tokens[:size])), None)

    def criterion(self, prompt_length: int) -> Callable[..., torch.Tensor]:
        """Return what stops transformers' generation of the sequences that run in a circle.

        Args:
            prompt_length: How many tokens stand before an answer in what `generate` hands over.
        """
        import torch

        def stop(input_ids: torch.Tensor, _scores: object, **_: object) -> torch.Tensor:
            size = input_ids.shape[1] - prompt_length
            if size % EVERY or size < self.repeats * self.box_tokens:
                return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
            found = [self.runs(row) for row in input_ids[:, prompt_length:].cpu().numpy()]
            return torch.tensor(found, device=input_ids.device)

        return stop


def _periods(tokens: LabelsN, longest: int) -> list[int]:
    """Return the periods, shortest first, after which the last tokens were written before."""
    size = len(tokens)
    same = np.ones(longest, dtype=bool)
    for back in range(1, min(_MATCHED, size - longest) + 1):
        end = size - back
        same &= tokens[end - longest : end] == tokens[end]
    return [longest - int(place) for place in np.flatnonzero(same)[::-1]]
