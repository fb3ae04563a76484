"""Texts of models with random weights: each is one of the codec's, closed before the tokens run out."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import regex
import torch
from lmm_detector._decoding._constrained import GrammarProcessor, compile_grammar
from lmm_detector._decoding._token_automaton import TokenAutomaton
from lmm_detector.errors import ModelError
from rbox_formats import ClassNames, codecs
from rbox_formats.codecs import Codec
from rbox_testing.samples import sampled
from rbox_testing.tiny_florence2 import save_tiny_florence2
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Florence2ForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

NAMES = ClassNames(["ship", "small-vehicle", "a+b (c).d|e*", "Kühe"])
SIZE = (1000, 1000)
PROMPT = 7

CODECS = {
    "-".join(map(str, codec.to_dict().values())): codec
    for codec in (
        *(codecs.get(name) for name in codecs.CODECS),
        codecs.get("florence2", version=1),
        codecs.get("florence2", version=3),
        codecs.get("allseeing", empty=True),
        codecs.get("rscovlm", shape="obb", style="plain"),
        codecs.get("vrsbench", version="hbb"),
        codecs.get("plain", decimals=1),
    )
}


def names_of(codec: Codec) -> ClassNames:
    return ClassNames(["small-vehicle"]) if codec.one_class else NAMES


def tokenizer_of(codec: Codec) -> Any:
    """Byte-level BPE, trained on one of the codec's texts, with its added tokens and a word for padding."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=["<s>", "<pad>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    boxes = np.array([[300.0, 200, 80, 40, 0.2], [600, 700, 120, 40, 1.0]])
    names = names_of(codec)
    tokenizer.train_from_iterator([codec.encode(boxes, [0, len(names) - 1], names, SIZE)], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", pad_token="<pad>", eos_token="</s>")
    fast.add_tokens(list(codec.added_tokens), special_tokens=True)
    return fast


class Case:
    """A codec with its tokenizer, automaton, and a decoder of random weights."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.names = names_of(codec)
        self.tokenizer = tokenizer_of(codec)
        self.automaton = compile_grammar(codec, self.names, self.tokenizer)
        self.grammar = re.compile(codec.grammar(self.names))
        self.shortest = int(self.automaton.distances[self.automaton.start])
        torch.manual_seed(0)
        # More rows than the tokenizer has tokens, as Qwen's models have; sharp probabilities: greedy texts vary.
        config = GPT2Config(
            vocab_size=len(self.tokenizer) + 5, n_positions=512, n_embd=16, n_layer=1, n_head=2, initializer_range=2.0
        )
        self.model = GPT2LMHeadModel(config).eval()

    def generate(self, budget: int, **options: Any) -> list[str]:
        """The texts of three prompts, padded on the left, without end-of-text; each has one."""
        inputs = torch.tensor([[1] * (PROMPT - n) + [5] * n for n in (3, 5, 7)])
        processor = GrammarProcessor(self.automaton, prompt_length=PROMPT, max_new_tokens=budget)
        tokens = self.model.generate(
            inputs,
            attention_mask=(inputs != 1).long(),
            logits_processor=[processor],
            max_new_tokens=budget,
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self.tokenizer.pad_token_id,
            **options,
        )
        return finished(self.tokenizer, tokens[:, PROMPT:])

    def check(self, text: str) -> None:
        assert self.grammar.fullmatch(text), text
        decoded = self.codec.decode(text, self.names, SIZE, on_invalid="raise")
        assert decoded.status == ("empty" if text in ("", self.codec.empty_answer) else "boxes")


def finished(tokenizer: Any, tokens: torch.Tensor) -> list[str]:
    texts = []
    for row in tokens.tolist():
        end = row.index(tokenizer.eos_token_id)
        assert set(row[end + 1 :]) <= {tokenizer.pad_token_id}
        texts.append(tokenizer.decode(row[:end], skip_special_tokens=False, clean_up_tokenization_spaces=False))
    return texts


@pytest.fixture(scope="module", params=CODECS)
def case(request: pytest.FixtureRequest) -> Case:
    return Case(CODECS[request.param])


@pytest.fixture(scope="module", params=["florence2-2", "plain-0", "paligemma"])
def quick_case(request: pytest.FixtureRequest) -> Case:
    return Case(CODECS[request.param])


CHOICES = {
    "greedy": {"do_sample": False},
    "sampling": {"do_sample": True, "top_k": 5},
    "beams": {"num_beams": 3, "early_stopping": True},
    "beams to the end": {"num_beams": 3, "early_stopping": False},
}


@pytest.mark.parametrize("more", [0, 1, 14])
@pytest.mark.parametrize("choice", CHOICES)
def test_a_decoder_of_random_weights_writes_what_is_read(quick_case: Case, choice: str, more: int) -> None:
    """With just enough tokens for the shortest text, with one more, and with some for boxes."""
    for text in quick_case.generate(quick_case.shortest + more, **CHOICES[choice]):
        quick_case.check(text)


@pytest.mark.slow
@pytest.mark.parametrize("more", sampled([0, 1, 2, 7, 45, 200], [1, 45]))
@pytest.mark.parametrize("choice", CHOICES)
def test_with_every_codec(case: Case, choice: str, more: int) -> None:
    for text in case.generate(case.shortest + more, **CHOICES[choice]):
        case.check(text)


def test_whatever_is_chosen_it_is_read(case: Case) -> None:
    """Tokens drawn from what is allowed, evenly; end-of-text is put off as long as possible."""
    rng = np.random.default_rng(0)
    automaton = compile_grammar(case.codec, case.names, case.tokenizer, at_least_one=True)
    budget = len(automaton.shortest()) * 2 + 20
    longest = 0
    for _ in range(5):
        state, tokens = automaton.start, list[int]()
        while not tokens or tokens[-1] != automaton.end:
            allowed = automaton.allowed(state, budget - len(tokens))
            others = allowed[allowed != automaton.end]
            tokens.append(int(rng.choice(others if len(others) else allowed)))
            state = automaton.advance(state, tokens[-1])
        assert len(tokens) <= budget
        longest = max(longest, len(tokens))
        text = case.tokenizer.decode(tokens[:-1], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        case.check(text)
        assert text not in ("", case.codec.empty_answer)
    assert longest > budget / 2


def test_what_it_allows_begins_a_text_and_what_is_written_is_allowed(case: Case) -> None:
    """The first against `regex`'s partial matches, the second by walking what the codec writes."""
    boxes = np.array([[300.0, 200, 80, 40, 0.2], [600, 700, 120, 40, 1.0], [480, 510, 90, 60, -0.7]])
    text = case.codec.encode(boxes, np.arange(3) % len(case.names), case.names, SIZE)
    tokens = case.tokenizer(text, add_special_tokens=False).input_ids
    state, expression = case.automaton.start, regex.compile(case.grammar.pattern)
    for at, token in enumerate([*tokens, case.automaton.end]):
        remaining = len(tokens) + 1 - at
        allowed = case.automaton.allowed(state, remaining)
        assert token in allowed, (text, at)
        so_far = case.tokenizer.decode(tokens[:at], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        assert (case.automaton.end in allowed) == bool(expression.fullmatch(so_far))
        for other in allowed[:: max(1, len(allowed) // 4)].tolist():
            if other != case.automaton.end and "\ufffd" not in (piece := case.tokenizer.decode([other])):
                assert expression.fullmatch(so_far + piece, partial=True), (so_far, piece)
        state = case.automaton.advance(state, token)


@pytest.mark.parametrize("strips_space", [False, True])
def test_with_a_tokenizer_of_pieces(strips_space: bool) -> None:
    """As Gemma's, with bytes for letters that it does not have, and as Llama 2's, which drops a first space."""
    codec, rng = codecs.get("plain"), np.random.default_rng(0)
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first" if strips_space else "never")
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, *([decoders.Strip(" ", 1, 0)] if strips_space else [])])
    special = ["<s>", "</s>", "<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(["ship[0123456789,-] small-vehicle;", "▁ship ▁small ▁Khe"], trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    names = ClassNames(["ship", "small vehicle", "Kühe"])
    automaton = compile_grammar(codec, names, fast, at_least_one=True)
    begun = set()
    for _ in range(60):
        state, tokens = automaton.start, list[int]()
        while not tokens or tokens[-1] != automaton.end:
            tokens.append(int(rng.choice(automaton.allowed(state, 40 - len(tokens)))))
            state = automaton.advance(state, tokens[-1])
        text = fast.decode(tokens[:-1], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        assert re.fullmatch(codec.grammar(names, at_least_one=True), text)
        begun.add((fast.convert_ids_to_tokens(tokens[0])[0] == "▁", text[0]))
    assert any(text == "K" for _, text in begun)  # with two bytes for its second letter
    assert any(space for space, _ in begun) == strips_space


@pytest.fixture(scope="module")
def florence(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """A tiny Florence-2 of random weights and its tokenizer."""
    codec, folder = codecs.get("florence2"), tmp_path_factory.mktemp("florence2")
    save_tiny_florence2(folder, NAMES, codec)
    return Florence2ForConditionalGeneration.from_pretrained(folder).eval(), PreTrainedTokenizerFast.from_pretrained(
        folder
    )


@pytest.mark.parametrize("more, at_least_one", sampled([(0, True), (1, False), (24, True)], [(1, False)]))
@pytest.mark.parametrize("choice", CHOICES)
def test_florence2_of_random_weights_writes_what_is_read(
    florence: tuple[Any, Any], choice: str, more: int, at_least_one: bool
) -> None:
    """Its decoder begins with `</s>`, which is given, and `<s>`, which it writes."""
    model, tokenizer = florence
    codec = codecs.get("florence2")
    automaton = compile_grammar(codec, NAMES, tokenizer, at_least_one=at_least_one)
    budget = int(automaton.distances[automaton.start]) + 1 + more
    processor = GrammarProcessor(automaton, prompt_length=1, max_new_tokens=budget, begin=[tokenizer.bos_token_id])
    pixels = torch.rand(2, 3, 96, 96)
    prompt = tokenizer(["<image>" * 10 + "find"] * 2, return_tensors="pt")
    torch.manual_seed(1)
    tokens = model.generate(
        input_ids=prompt.input_ids,
        attention_mask=prompt.attention_mask,
        pixel_values=pixels,
        logits_processor=[processor],
        max_new_tokens=budget,
        **CHOICES[choice],
    )
    assert tokens[:, :2].tolist() == [[tokenizer.eos_token_id, tokenizer.bos_token_id]] * 2
    for text in finished(tokenizer, tokens[:, 2:]):
        decoded = codec.decode(text, NAMES, SIZE, on_invalid="raise")
        assert re.fullmatch(codec.grammar(NAMES, at_least_one=at_least_one), text)
        assert len(decoded.labels) or not at_least_one


# The processor itself.


@pytest.fixture(scope="module")
def ships() -> tuple[Any, TokenAutomaton]:
    codec = codecs.get("florence2")
    tokenizer = tokenizer_of(codec)
    return tokenizer, compile_grammar(codec, NAMES, tokenizer)


def test_beams_may_change_places(ships: tuple[Any, TokenAutomaton]) -> None:
    """Rows are shuffled, dropped and doubled between steps: what is allowed is what a new processor says."""
    tokenizer, automaton = ships
    rng = np.random.default_rng(0)
    rows = torch.full((6, 2), 5)
    budget = 40
    processor = GrammarProcessor(automaton, prompt_length=2, max_new_tokens=budget)
    seen = set()
    for _ in range(budget):
        scores = torch.randn(6, len(tokenizer))
        found = processor(rows, scores)
        fresh = GrammarProcessor(automaton, prompt_length=2, max_new_tokens=budget)(rows, scores)
        torch.testing.assert_close(found, fresh, rtol=0, atol=0)
        allowed = found > -torch.inf
        torch.testing.assert_close(found[allowed], scores[allowed], rtol=0, atol=0)
        assert allowed.any(dim=1).all()
        seen.add(tuple(allowed.sum(dim=1).tolist()))
        choices = torch.multinomial(allowed.float(), 1)
        rows = torch.cat([rows, choices], dim=1)[torch.from_numpy(rng.integers(0, 6, 6))]
    assert any(len(set(counts)) > 1 for counts in seen)


def test_one_processor_serves_the_next_batch(ships: tuple[Any, TokenAutomaton]) -> None:
    tokenizer, automaton = ships
    processor = GrammarProcessor(automaton, prompt_length=1, max_new_tokens=30)
    ship = tokenizer("ship<loc_1>", add_special_tokens=False).input_ids
    first = processor(torch.tensor([[9, *ship]]), torch.zeros(1, len(tokenizer)))
    processor(torch.tensor([[8]]), torch.zeros(1, len(tokenizer)))
    again = processor(torch.tensor([[7, *ship]]), torch.zeros(1, len(tokenizer)))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert (first > -torch.inf).sum() == 1000


@pytest.mark.parametrize("bad", [torch.nan, -torch.inf])
def test_allowed_tokens_without_a_score_are_chosen_all_the_same(ships: tuple[Any, TokenAutomaton], bad: float) -> None:
    tokenizer, automaton = ships
    processor = GrammarProcessor(automaton, prompt_length=1, max_new_tokens=30)
    found = processor(torch.tensor([[9]]), torch.full((1, len(tokenizer)), bad))
    assert not found.isnan().any()
    assert int(found.argmax()) in automaton.allowed(automaton.start, 30)


def test_sequences_outside_the_grammar_are_offered_their_end(ships: tuple[Any, TokenAutomaton]) -> None:
    """Beams of no probability, and sequences that have ended and are padded."""
    tokenizer, automaton = ships
    processor = GrammarProcessor(automaton, prompt_length=0, max_new_tokens=30)
    bad = tokenizer("<loc_1><loc_2>", add_special_tokens=False).input_ids
    rows = torch.tensor([bad, [tokenizer.eos_token_id, tokenizer.pad_token_id]])
    found = processor(rows, torch.zeros(2, len(tokenizer))) > -torch.inf
    assert found.nonzero().tolist() == [[0, tokenizer.eos_token_id], [1, tokenizer.eos_token_id]]


def test_there_must_be_room_for_the_shortest_text(ships: tuple[Any, TokenAutomaton]) -> None:
    tokenizer, _ = ships
    automaton = compile_grammar(codecs.get("florence2"), NAMES, tokenizer, at_least_one=True)
    shortest = int(automaton.distances[automaton.start])
    assert shortest == 1 + 8 + 1  # a name of one token, eight coordinates, the end
    GrammarProcessor(automaton, prompt_length=0, max_new_tokens=shortest)
    with pytest.raises(ModelError, match=f"room for the shortest answer, {shortest} tokens with its end, got 9"):
        GrammarProcessor(automaton, prompt_length=0, max_new_tokens=9)
    with pytest.raises(ModelError, match=f"room for the shortest answer, {shortest + 2} tokens"):
        GrammarProcessor(automaton, prompt_length=0, max_new_tokens=shortest, begin=[0, 0])


def test_the_tokenizer_has_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = codecs.get("florence2")
    tokenizer = tokenizer_of(codec)
    monkeypatch.setattr(tokenizer, "decode", lambda *args, **options: "shop")
    with pytest.raises(ModelError, match=r"expected a tokenizer that decodes .* of codec 'florence2', got 'shop'"):
        compile_grammar(codec, NAMES, tokenizer)


def test_dota_with_all_coordinate_tokens_is_small() -> None:
    from rbox_formats.datasets import dota

    codec = codecs.get("florence2")
    automaton = compile_grammar(codec, dota.V1_0, tokenizer_of(codec))
    # Eight times a thousand coordinates of the first quad, as many of the others, and names.
    assert 16_000 < len(automaton.tokens) < 20_000
    assert len(automaton.distances) < 400
