"""What each token of a tokenizer writes, in bytes."""

from __future__ import annotations

import codecs as text_codecs
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from rbox_formats.errors import quoted
from rbox_formats.typing import SpansN

from lmm_detector.errors import ModelError


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The tokens that an answer is made of.

    Attributes:
        spellings: What each token writes, by its id; empty for ids that no token has.
        silent: Ids of tokens that write nothing of an answer: start, padding, unknown and the like.
        end: The id of the token that ends an answer.
        strips_space: Whether a space at the very beginning of an answer is lost when it is decoded, as with Llama's
            tokenizers.
    """

    spellings: tuple[bytes, ...]
    silent: frozenset[int]
    end: int
    strips_space: bool = False

    @classmethod
    def of(cls, tokenizer: Any, *, end: int | None = None, heard: Iterable[str] = ()) -> Vocabulary:
        """Return the vocabulary of a transformers tokenizer, read out of its decoder, not guessed from its name.

        Args:
            tokenizer: A fast tokenizer: its decoder is of bytes (GPT-2, BART, Qwen, Llama 3) or of pieces with "▁" for
                a space (Gemma, Llama 2).
            end: The token that ends an answer. None: the tokenizer's own end-of-text.
            heard: Texts of tokens that count although the tokenizer calls them special, such as a codec's added tokens.

        Raises:
            ModelError: If the tokenizer has no end-of-text, or decodes in a way that is not known here.
        """
        end = tokenizer.eos_token_id if end is None else end
        if end is None:
            raise ModelError(
                f"expected a tokenizer with a token that ends a text, got {quoted(tokenizer.name_or_path)}"
            )
        ids = tokenizer.get_vocab()
        spell, strips_space = _decoding(tokenizer)
        spellings = [b""] * (max(ids.values()) + 1)
        for token, number in ids.items():
            spellings[number] = spell(token)
        heard = set(heard)
        silent = {ids[token] for token in tokenizer.all_special_tokens if token not in heard}
        return cls(tuple(spellings), frozenset(silent | {end}), end, strips_space)

    def read(self, tokens: Sequence[int]) -> tuple[str, SpansN]:
        """Return the text of tokens and the place of each in it, as decoding one token more at a time would give them.

        A character of several tokens is given to the last of them; those before stand, empty, where it begins. Bytes
        that make no character become U+FFFD, as tokenizers decode them. Special tokens are spelled out.

        Args:
            tokens: T ids.

        Returns:
            The text, and (T, 2) int64, first character and one past the last of each token.
        """
        decoder = text_codecs.getincrementaldecoder("utf-8")("replace")
        pieces = [decoder.decode(self.spellings[token]) for token in tokens]
        rest = decoder.decode(b"", final=True)
        if self.strips_space and (first := next((i for i, piece in enumerate(pieces) if piece), None)) is not None:
            pieces[first] = pieces[first].removeprefix(" ")
        if rest:
            pieces[-1] += rest
        ends = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
        return "".join(pieces), np.stack([ends[:-1], ends[1:]], axis=1)

    @cached_property
    def by_spelling(self) -> dict[bytes, list[int]]:
        """The ids of the tokens that count, by what they write."""
        found: dict[bytes, list[int]] = {}
        for number, spelling in enumerate(self.spellings):
            if spelling and number not in self.silent:
                found.setdefault(spelling, []).append(number)
        return found


_Spell = Callable[[str], bytes]


def _decoding(tokenizer: Any) -> tuple[_Spell, bool]:
    """Return how a tokenizer spells a token, and whether it drops a space at the beginning."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    decoder = getattr(backend, "decoder", None)
    if decoder is None:
        raise ModelError(
            f"expected a fast tokenizer with a decoder, got {type(tokenizer).__name__}",
            remedy="Load it by transformers' AutoTokenizer from a folder that holds a tokenizer.json.",
        )
    settings = json.loads(decoder.__getstate__())
    steps = settings["decoders"] if settings["type"] == "Sequence" else [settings]
    if [step["type"] for step in steps] == ["ByteLevel"]:
        return _from_byte_level, False
    spaces, has_bytes, strips = [], False, False
    for step in steps:
        match step:
            case {"type": "Replace", "pattern": {"String": pattern}, "content": content}:
                spaces.append((pattern, content))
            case {"type": "Metaspace", "replacement": pattern}:
                spaces.append((pattern, " "))
                strips |= step.get("prepend_scheme") != "never"
            case {"type": "Strip", "content": " ", "start": 0 | 1 as start, "stop": 0}:
                strips |= start == 1
            case {"type": "ByteFallback"}:
                has_bytes = True
            case {"type": "Fuse"}:
                pass
            case _:
                raise ModelError(
                    f"expected a tokenizer whose decoder is of bytes or of pieces, got one with {step['type']}",
                    remedy="Generate without constraints on the text.",
                )

    def spell(token: str) -> bytes:
        if has_bytes and len(token) == len("<0x00>") and token.startswith("<0x") and token.endswith(">"):
            return bytes.fromhex(token[3:5])
        for pattern, content in spaces:
            token = token.replace(pattern, content)
        return token.encode()

    return spell, strips


def _byte_characters() -> dict[str, int]:
    """The characters that stand for bytes in GPT-2's vocabulary: printable ones for themselves, the rest from 256 on.

    Source: openai/gpt-2, src/encoder.py, `bytes_to_unicode`.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = (byte for byte in range(256) if byte not in printable)
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}


_BYTES = _byte_characters()


def _from_byte_level(token: str) -> bytes:
    """Return a token of a byte-level vocabulary; one with other characters, an added one, stands for itself."""
    try:
        return bytes(_BYTES[character] for character in token)
    except KeyError:
        return token.encode()
