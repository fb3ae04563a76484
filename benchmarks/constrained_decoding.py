"""What constrained decoding costs: per step of generation, and to compile the grammar.

Random weights of the real sizes: Florence-2-large's text decoder (vocabulary 51,289, 1,025 encoder positions) and the
language model of Qwen2-VL-2B (151,936). Each generates a forced number of tokens without and with the processor, in
turns; the grammar is florence2's on DOTA's 15 classes with 1,000 coordinate tokens. The vocabularies hold random words
beside what the grammar needs.

    python benchmarks/constrained_decoding.py --models florence2
    python benchmarks/constrained_decoding.py --device cuda --dtype bfloat16 --batches 1 8 32
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import torch
from lmm_detector._decoding._constrained import GrammarProcessor, compile_grammar
from lmm_detector._decoding._vocabulary import Vocabulary
from rbox_formats import codecs
from rbox_formats.datasets import dota
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)
from transformers.modeling_outputs import BaseModelOutput

VOCABULARIES = {"florence2": 51_289, "qwen": 151_936}
CODEC = codecs.get("florence2")
PROMPT = 512  # of the decoder-only model: an image and a question


def tokenizer(size: int) -> Any:
    """Make a byte-level tokenizer without merges: bytes, parts of class names, numbers, random words, codec tokens."""
    rng = random.Random(0)
    names = [name.replace("-", " ").lower() for name in dota.V1_0]
    words = {
        name[a:b].replace(" ", "Ġ") for name in names for a in range(len(name)) for b in range(a + 1, len(name) + 1)
    }
    words |= {str(number) for number in range(1000)}
    words |= set(pre_tokenizers.ByteLevel.alphabet())
    while len(words) < size - len(CODEC.added_tokens) - 3:
        letters = rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 12))
        words.add(rng.choice(["", "Ġ"]) + "".join(letters))
    ids = {word: number for number, word in enumerate(["<s>", "<pad>", "</s>", *sorted(words)])}
    backend = Tokenizer(models.BPE(ids, []))
    backend.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", pad_token="<pad>", eos_token="</s>")
    fast.add_tokens(list(CODEC.added_tokens), special_tokens=True)
    return fast


def florence2(batch: int, device: str, dtype: torch.dtype) -> tuple[Any, dict[str, Any], int]:
    config = BartConfig(
        vocab_size=VOCABULARIES["florence2"],
        d_model=1024,
        encoder_layers=1,  # its output is given
        decoder_layers=12,
        max_position_embeddings=4096,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=None,
    )
    with torch.device(device):
        model = BartForConditionalGeneration(config).to(dtype).eval()
        states = torch.randn(batch, 1025, 1024, dtype=dtype)
    return model, {"encoder_outputs": BaseModelOutput(last_hidden_state=states)}, 1


def qwen(batch: int, device: str, dtype: torch.dtype) -> tuple[Any, dict[str, Any], int]:
    config = Qwen2Config(
        vocab_size=VOCABULARIES["qwen"],
        hidden_size=1536,
        intermediate_size=8960,
        num_hidden_layers=28,
        num_attention_heads=12,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    with torch.device(device):
        model = Qwen2ForCausalLM(config).to(dtype).eval()
        inputs = torch.full((batch, PROMPT), 5)
    return model, {"input_ids": inputs, "attention_mask": torch.ones_like(inputs)}, PROMPT


MODELS: dict[str, Callable[[int, str, torch.dtype], tuple[Any, dict[str, Any], int]]] = {
    "florence2": florence2,
    "qwen": qwen,
}


def seconds(function: Callable[[Any], object], words: Any) -> float:
    start = time.perf_counter()
    function(words)
    return time.perf_counter() - start


def compiled(words: Any) -> Any:
    return compile_grammar(CODEC, dota.V1_0, words)


def compile_table() -> dict[str, Any]:
    automata = {}
    print("| vocabulary | what | seconds | peak of Python's memory | kept |\n|---|---|---:|---:|---:|")
    for name, size in VOCABULARIES.items():
        words = tokenizer(size)
        taken = min(seconds(compiled, words) for _ in range(3))
        tracemalloc.start()
        automaton = automata[name] = compiled(words)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        arrays = (automaton.offsets, automaton.tokens, automaton.targets, automaton.distances)
        kept = sum(array.nbytes for array in arrays)
        print(f"| {size:,} | `compile_grammar` | {taken:.2f} | {peak / 2**20:.0f} MiB | {kept / 2**10:.0f} KiB |")
        peer = min(seconds(outlines_index, words) for _ in range(3))
        print(f"| {size:,} | outlines-core's index over the same tokens | {peer:.2f} | | |")
    print()
    return automata


def outlines_index(words: Any) -> Any:
    from outlines_core import Index
    from outlines_core import Vocabulary as Theirs

    vocabulary = Vocabulary.of(words, heard=CODEC.added_tokens)
    tokens = {text: ids for text, ids in vocabulary.by_spelling.items() if text != b"\0"}
    tokens[b"\0"] = [len(vocabulary.spellings)]
    return Index(f"(?:{CODEC.grammar(dota.V1_0)})\\x00", Theirs(len(vocabulary.spellings) + 1, tokens))


def processor_table(automata: dict[str, Any], device: str) -> None:
    """Print steps 501 to 520 of texts of quads, each sequence with coordinates of its own."""
    print(f"Processor alone on {device}, a step at 500 tokens, medians of 20\n")
    print("| vocabulary | sequences | time |\n|---|---:|---:|")
    for name, size in VOCABULARIES.items():
        automaton = automata[name]
        for count in (1, 8, 32, 96):
            rows = torch.tensor([walked(automaton, seed, 520) for seed in range(count)], device=device)
            scores = torch.randn(count, size, device=device)
            processor = Timed(automaton, prompt_length=0, max_new_tokens=4096)
            times = []
            for length in range(499, 520):
                before = processor.seconds
                processor(rows[:, :length], scores)
                if device.startswith("cuda"):
                    torch.cuda.synchronize()
                times.append(processor.seconds - before)
            print(f"| {size:,} | {count} | {statistics.median(times[1:]) * 1e3:.2f} ms |")
    print()


def walked(automaton: Any, seed: int, length: int) -> list[int]:
    rng, state, tokens = random.Random(seed), automaton.start, []
    while len(tokens) < length:
        allowed = [token for token in automaton.allowed(state, 4096).tolist() if token != automaton.end]
        tokens.append(rng.choice(allowed))
        state = automaton.advance(state, tokens[-1])
    return tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 8])
    parser.add_argument("--beams", nargs="*", type=int, default=[1, 3])
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    automata = compile_table()
    processor_table(automata, options.device)
    print(f"{options.device}, {options.dtype}, {options.tokens} tokens, medians of {options.rounds} rounds in turns\n")
    print("| model | batch | beams | step | with the processor | cost | processor alone |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in options.models:
        for batch in options.batches:
            made = MODELS[name](batch, options.device, getattr(torch, options.dtype))
            for beams in options.beams:
                measured(made, automata[name], beams, options, f"| {name} | {batch} | {beams} |")


def measured(made: tuple[Any, dict[str, Any], int], automaton: Any, beams: int, options: Any, row: str) -> None:
    model, inputs, prompt = made
    times: dict[str, list[float]] = {"without": [], "with": [], "alone": []}
    for turn in range(options.rounds + 1):
        for which in ("without", "with"):
            processor = Timed(automaton, prompt_length=prompt, max_new_tokens=4096)
            start = time.perf_counter()
            model.generate(
                **inputs,
                do_sample=False,
                num_beams=beams,
                min_new_tokens=options.tokens,
                max_new_tokens=options.tokens,
                logits_processor=[processor] if which == "with" else [],
            )
            if turn:  # the first warms up; generate ends by waiting for its last token
                times[which].append(time.perf_counter() - start)
                if which == "with":
                    times["alone"].append(processor.seconds)
    step, constrained, alone = (statistics.median(taken) / options.tokens * 1e3 for taken in times.values())
    cost = statistics.median(a / b - 1 for a, b in zip(times["with"], times["without"], strict=True))
    print(f"{row} {step:.2f} ms | {constrained:.2f} ms | {cost:+.1%} | {alone:.2f} ms |", flush=True)


class Timed(GrammarProcessor):
    """Adds up the time on the host, which on a GPU holds the wait for the step's tokens."""

    seconds = 0.0

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        start = time.perf_counter()
        found = super().__call__(input_ids, scores)
        self.seconds += time.perf_counter() - start
        return found


if __name__ == "__main__":
    with torch.inference_mode():
        main()
