"""The texts of a batch while they are written."""

from __future__ import annotations

from collections.abc import Callable

from rbox_formats.typing import LabelsN

from lmm_detector._families import Family

_NO_CHARACTER = "\N{REPLACEMENT CHARACTER}"


class Hearing:
    """What makes characters of the tokens that a model writes, step by step.

    Args:
        family: The model.
        count: How many texts there are, B.
        listener: Called with the number of a text and the characters that were added to it.
    """

    def __init__(self, family: Family, count: int, listener: Callable[[int, str], None]) -> None:
        self._family, self._listener = family, listener
        self._tokens: list[list[int]] = [[] for _ in range(count)]
        self._told = [0] * count  # how many of the tokens
        self._has_ended = [False] * count
        self._pad = family.tokenizer.pad_token_id

    def __call__(self, tokens: LabelsN) -> None:
        """Take the tokens (B,) of a step."""
        for number, token in enumerate(tokens.tolist()):
            if not self._has_ended[number]:
                is_end = token in self._family.end_tokens
                self._has_ended[number] = is_end or token == self._pad  # padding follows a text that was stopped
                if is_end or token != self._pad:
                    self._tokens[number].append(token)
                    self._tell(number)

    def _tell(self, number: int) -> None:
        # With the token before, since some tokenizers drop a space at the beginning.
        tokens, told = self._tokens[number], self._told[number]
        first = max(told - 1, 0)
        text, spans = self._family.read(tokens[first:])
        piece = text[spans[told - first, 0] :]
        # A character of several tokens is handed over when its last one is there.
        if piece and (not piece.endswith(_NO_CHARACTER) or self._has_ended[number]):
            self._told[number] = len(tokens)
            self._listener(number, piece)
