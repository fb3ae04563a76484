"""Constrained decoding: only texts that the codec reads in full, closed before the tokens run out.

It changes which tokens may be chosen, not how likely the model finds them: probabilities for scores are taken from the
model's own, unconstrained ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from rbox_formats.codecs import Codec
from rbox_formats.errors import quoted
from transformers import LogitsProcessor

from lmm_detector._decoding._token_automaton import DONE, OUTSIDE, TokenAutomaton, compile_expression
from lmm_detector._decoding._vocabulary import Vocabulary
from lmm_detector.errors import ModelError


def compile_grammar(
    codec: Codec,
    class_names: Iterable[str],
    tokenizer: Any,
    *,
    end: int | None = None,
    at_least_one: bool = False,
) -> TokenAutomaton:
    """Return the automaton of a codec's texts in a tokenizer's tokens; made once, for all batches.

    Args:
        codec: The codec. Where the tokenizer has all of its added tokens, no other tokens write their texts.
        class_names: The names that may be written.
        tokenizer: A fast tokenizer.
        end: The token that ends an answer. None: the tokenizer's own end-of-text.
        at_least_one: Leave out the answer for an image without objects.

    Raises:
        CodecError: If a name cannot be written by the codec.
        ModelError: If the tokenizer cannot write the codec's texts.
    """
    expression = codec.grammar(class_names, at_least_one=at_least_one)
    vocabulary = Vocabulary.of(tokenizer, end=end, heard=codec.added_tokens)
    automaton = compile_expression(expression, vocabulary, codec.added_tokens)
    # The tokens' texts were worked out here; the tokenizer has the last word, on one text.
    example = automaton.shortest()
    text = tokenizer.decode(example, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    if not re.fullmatch(expression, text):
        raise ModelError(
            f"expected a tokenizer that decodes {example} to a text of codec {quoted(codec.name)}, got {quoted(text)}",
            remedy="Generate without constraints on the text.",
        )
    return automaton


class GrammarProcessor(LogitsProcessor):
    """Lets a model write only texts of a codec, whatever its weights, and lets none be cut by the length limit.

    For greedy decoding, sampling and beams, of encoder-decoders and decoders alike. The state of a sequence depends on
    its tokens alone: beams may change places, and the same processor may serve one batch after the other. Sequences
    that have come to their end, and beams that the search keeps with no probability at all, are offered end-of-text.

    Args:
        automaton: Of `compile_grammar`.
        prompt_length: How many tokens `generate` puts before the first one that the model writes: of a decoder, the
            prompt's with padding (0 where embeddings are given in their place); of an encoder-decoder, the decoder's
            start, one unless `decoder_input_ids` say more.
        max_new_tokens: How many the model may write, end-of-text and `begin` included.
        begin: Tokens that the model writes before the text: `<s>` in Florence-2, whose decoder starts with `</s>`.

    Raises:
        ModelError: If the shortest text is longer than that.
    """

    def __init__(
        self, automaton: TokenAutomaton, *, prompt_length: int, max_new_tokens: int, begin: Sequence[int] = ()
    ) -> None:
        automaton = automaton.behind(begin)
        shortest = int(automaton.distances[automaton.start])
        if max_new_tokens < shortest:
            raise ModelError(
                f"expected room for the shortest answer, {shortest} tokens with its end, got {max_new_tokens}",
                remedy="Allow more new tokens, or generate without constraints on the text.",
            )
        self._automaton = automaton
        self._prompt_length = prompt_length
        self._max_new_tokens = max_new_tokens
        self._states: dict[bytes, int] = {}
        self._columns: dict[tuple[int, torch.device], torch.Tensor] = {}

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Set the scores of what may not follow to minus infinity.

        Args:
            input_ids: (B, prompt and what is written so far).
            scores: (B, V) logits or log-probabilities.

        Returns:
            (B, V), those of allowed tokens as they were; NaN and minus infinity among these become the least finite
            number, so that one of them is chosen all the same.
        """
        written = input_ids[:, self._prompt_length :].to("cpu", torch.int32).numpy()
        remaining = self._max_new_tokens - written.shape[1]
        columns = [self._allowed(state, remaining, scores.device) for state in self._advance(written)]
        lengths = torch.tensor([len(column) for column in columns], device=scores.device)
        rows = torch.repeat_interleave(torch.arange(len(columns), device=scores.device), lengths)
        picked = (rows, torch.cat(columns))
        least = torch.finfo(scores.dtype).min
        constrained = torch.full_like(scores, -torch.inf)
        constrained[picked] = torch.nan_to_num(scores[picked], nan=least, neginf=least)
        return constrained  # type: ignore[return-value]  # a FloatTensor, as scores are

    def _advance(self, written: np.ndarray) -> list[int]:
        """Return the state of each sequence (B, T): one token after the state of its beginning, from the last step.

        Sequences are known by their tokens; one that is not is read from its beginning.
        """
        states: dict[bytes, int] = {}
        found = []
        for row in np.ascontiguousarray(written):
            state = self._states.get(row[:-1].tobytes()) if len(row) else None
            state = self._read(row) if state is None else self._automaton.advance(state, int(row[-1]))
            states[row.tobytes()] = state
            found.append(state)
        self._states = states
        return found

    def _read(self, row: np.ndarray) -> int:
        state = self._automaton.start
        for token in row.tolist():
            state = self._automaton.advance(state, token)
        return state

    def _allowed(self, state: int, remaining: int, device: torch.device) -> torch.Tensor:
        """Return the tokens that may follow (K,); those of far from the limit are kept on the device."""
        automaton = self._automaton
        if state in (DONE, OUTSIDE):
            tokens = np.array([automaton.end])
        elif remaining < automaton.reserves[state]:
            return torch.from_numpy(automaton.allowed(state, remaining)).to(device, torch.int64)
        else:
            tokens = automaton.allowed(state, remaining)
        key = (state, device)
        if key not in self._columns:
            self._columns[key] = torch.from_numpy(tokens).to(device, torch.int64)
        return self._columns[key]
