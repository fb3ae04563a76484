"""What tokens write, against what their tokenizers decode."""

from __future__ import annotations

from typing import Any

import pytest
from lmm_detector._decoding._vocabulary import Vocabulary
from lmm_detector.errors import ModelError
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEXTS = ["ship<loc_5><loc_60>", "café 12,34", "船[1, 2]", "a  b\n\t{<1>|<2>}", "😀 tank", "naïve é"]
SPECIAL = {"eos_token": "</s>", "bos_token": "<s>", "pad_token": "<pad>", "unk_token": "<unk>"}


def byte_level() -> Any:
    """As GPT-2's, BART's and Qwen's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _trained(tokenizer, pre_tokenizers.ByteLevel.alphabet())


def pieces(*more: Any) -> Any:
    """As Gemma's, with a token for each byte; `more` steps make it Llama 2's."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first" if more else "never")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *more])
    return _trained(tokenizer, ["▁", *"abcdefghijklmnopqrstuvwxyz0123456789,[]{}|<>_\n\t"])


def _trained(tokenizer: Any, alphabet: list[str]) -> Any:
    special = [*SPECIAL.values(), *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=700, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["ship tank cafe plane 12 34 60", "tank tank", "12,34"], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **SPECIAL)
    fast.add_tokens(["<loc_5>", "<loc_60>"], special_tokens=True)
    return fast


KINDS = {
    "byte level": byte_level,
    "pieces": pieces,
    "pieces, first space stripped": lambda: pieces(decoders.Strip(" ", 1, 0)),
}


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request: pytest.FixtureRequest) -> Any:
    return KINDS[request.param]()


@pytest.mark.parametrize("text", TEXTS)
def test_it_reads_as_the_tokenizer_decodes(tokenizer: Any, text: str) -> None:
    tokens = tokenizer(text, add_special_tokens=False).input_ids
    vocabulary = Vocabulary.of(tokenizer)
    for count in range(len(tokens) + 1):
        read, spans = vocabulary.read(tokens[:count])
        decoded = tokenizer.decode(tokens[:count], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        # Of bytes that make no character yet tokenizers differ in how many U+FFFD they write.
        assert read.rstrip("\ufffd") == decoded.rstrip("\ufffd")
        assert spans.shape == (count, 2)
        if not read.endswith("\ufffd"):
            assert read == decoded
            # Each token adds what decoding one more adds.
            assert "".join(read[a:b] for a, b in spans) == read
    assert (spans[1:, 0] == spans[:-1, 1]).all()


def test_a_character_of_several_tokens_is_given_to_the_last() -> None:
    tokenizer = byte_level()
    tokens = tokenizer("a😀b", add_special_tokens=False).input_ids
    assert Vocabulary.of(tokenizer).read(tokens)[1].tolist() == [[0, 1], [1, 1], [1, 1], [1, 1], [1, 2], [2, 3]]


def test_the_offsets_are_the_tokenizers_own() -> None:
    tokenizer = byte_level()
    text = "ship<loc_5><loc_60> tank [12, 34]"
    encoding = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    read, spans = Vocabulary.of(tokenizer).read(encoding.input_ids)
    assert read == text
    # The tokenizer trims the spaces off its own.
    assert [text[a:b].strip() for a, b in spans] == [text[a:b].strip() for a, b in encoding.offset_mapping]


def test_no_tokens_are_the_empty_text() -> None:
    text, spans = Vocabulary.of(byte_level()).read([])
    assert (text, spans.shape) == ("", (0, 2))


def test_special_tokens_count_where_they_are_named() -> None:
    tokenizer = byte_level()
    ids = tokenizer.get_vocab()
    silent = Vocabulary.of(tokenizer, heard=["<loc_5>"]).silent
    assert {ids[token] for token in SPECIAL.values()} <= silent
    assert ids["<loc_5>"] not in silent
    assert b"</s>" not in Vocabulary.of(tokenizer).by_spelling


def test_it_needs_an_end() -> None:
    tokenizer = byte_level()
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="expected a tokenizer with a token that ends a text"):
        Vocabulary.of(tokenizer)
    assert Vocabulary.of(tokenizer, end=7).end == 7


@pytest.mark.parametrize("decoder, named", [(decoders.WordPiece(), "WordPiece"), (None, "with a decoder")])
def test_it_says_which_decoders_it_does_not_know(decoder: Any, named: str) -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "</s>": 1}, unk_token="a"))
    if decoder is not None:
        tokenizer.decoder = decoder
    with pytest.raises(ModelError, match=f"expected a .*tokenizer .*{named}"):
        Vocabulary.of(PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>"))
