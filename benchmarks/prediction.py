"""Prediction of Florence-2 at 1024 x 1024: images per second in batches, beside LMMRotate's loop in the same run.

The loop takes one image at a time with three beams (LMMRotate's `lmmrotate/models/api.py` and its evaluation script,
VisionXLab/mllm-mmrotate at 9475a93: processor, `generate`, decoded text, parsed boxes). Batches take the same path from
the image's pixels to its boxes. Random weights of the real size stop at arbitrary places, so every answer has a forced
number of tokens; that the answers are the same is shown in float32, and throughput is measured in --dtype. Rounds take
turns. The last table is what giving short answers little room at first brings (`Generation.first_tokens`), on answers
of lengths as images of cities and fields have them.

    python benchmarks/prediction.py --device cuda --dtype bfloat16
    python benchmarks/prediction.py --tiny
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _florence2_large import family as make_family
from lmm_detector._families import Answer, Decoding
from lmm_detector._families.florence2 import Florence2
from lmm_detector._prediction._detection import detect
from lmm_detector._prediction._detector import Detector
from lmm_detector._prediction._generation import Generation
from lmm_detector._spec import DetectorSpec
from rbox_formats import codecs
from rbox_formats.datasets import dota

CODEC = codecs.get("florence2")


def load(options: argparse.Namespace) -> Florence2:
    """Return the model with random weights in float32."""
    with tempfile.TemporaryDirectory() as folder:
        family = make_family(Path(folder), tiny=options.tiny, image_size=options.side)
    return replace(family, model=family.model.to(options.device).eval())


def loop(family: Florence2, pictures: Sequence[np.ndarray], tokens: int, beams: int) -> list[str]:
    """Predict one image after the other."""
    texts = []
    for picture in pictures:
        inputs = family.processor(images=[picture], text=[CODEC.prompt], return_tensors="pt")
        moved = {
            name: value.to(family.model.device, family.model.dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }
        with torch.inference_mode():
            ids = family.model.generate(
                **moved,
                num_beams=beams,
                do_sample=False,
                early_stopping=beams > 1,
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                forced_bos_token_id=family.tokenizer.bos_token_id,  # as Florence-2's own settings have it
            )
        (text,) = family.tokenizer.batch_decode(
            ids[:, 1:], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        CODEC.decode(text, dota.V1_0, picture.shape[1::-1], on_invalid="ignore")
        texts.append(text)
    return texts


def batches(
    family: Florence2, pictures: Sequence[np.ndarray], tokens: int, beams: int, size: int, scores: bool = False
) -> list[Answer]:
    decoding = Decoding(max_new_tokens=tokens, min_new_tokens=tokens, num_beams=beams)
    answers: list[Answer] = []
    for start in range(0, len(pictures), size):
        batch = pictures[start : start + size]
        found = family.generate(batch, CODEC.prompt, decoding)
        if scores:
            family.log_probabilities(batch, CODEC.prompt, [answer.tokens for answer in found])
        for answer, picture in zip(found, batch, strict=True):
            CODEC.decode(answer.text, dota.V1_0, picture.shape[1::-1], on_invalid="ignore")
        answers += found
    return answers


def seconds(work: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def same_texts(family: Florence2, pictures: Sequence[np.ndarray], tokens: int, beams: int, size: int) -> int:
    """Return how many texts of a batch are the loop's, ids for ids."""
    alone = loop(family, pictures, tokens, beams)
    together = [
        family.tokenizer.decode(answer.tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        for answer in batches(family, pictures, tokens, beams, size)
    ]
    return sum(one == other for one, other in zip(alone, together, strict=True))


def throughput(family: Florence2, pictures: Sequence[np.ndarray], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return images per second of the loop and of each batch size; medians of the rounds."""
    ways: dict[tuple[str, int, int], tuple[int, Callable[[Sequence[np.ndarray]], object]]] = {
        ("the loop", 1, options.beams): (
            options.loop_images,
            lambda some: loop(family, some, options.tokens, options.beams),
        )
    }
    for beams in sorted({options.beams, 1}, reverse=True):
        for size in options.batches:
            for scores in (False, True):
                name = "batches, with scores" if scores else "batches"
                ways[name, size, beams] = (
                    max(size, options.loop_images),
                    lambda some, size=size, beams=beams, scores=scores: batches(
                        family, some, options.tokens, beams, size, scores
                    ),
                )
    times: dict[tuple[str, int, int], list[float]] = {way: [] for way in ways}
    for turn in range(options.rounds + 1):
        for way, (count, work) in ways.items():
            taken = seconds(lambda work=work, count=count: work(pictures[:count])) / count
            if turn:  # the first warms up
                times[way].append(taken)
    rows = []
    for way, taken in times.items():
        ratios = [theirs / ours for theirs, ours in zip(times["the loop", 1, options.beams], taken, strict=True)]
        name, size, beams = way
        rate = 1 / statistics.median(taken)
        rows.append(
            {"way": name, "batch": size, "beams": beams, "images_per_second": rate, "ratio": statistics.median(ratios)}
        )
    return rows


class Lengths:
    """A family whose answers have the length that a picture's first two bytes say, each step done by the model."""

    def __init__(self, family: Florence2) -> None:
        self._family = family
        self.steps = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._family, name)

    def generate(self, pictures: Sequence[np.ndarray], prompt: str, decoding: Decoding) -> list[Answer]:
        lengths = [int(picture[0, 0, 0]) * 256 + int(picture[0, 0, 1]) for picture in pictures]
        longest = min(max(lengths), decoding.max_new_tokens)
        self.steps += longest
        self._family.generate(pictures, prompt, replace(decoding, max_new_tokens=longest, min_new_tokens=longest))
        return [Answer("", np.zeros(0, dtype=np.int64), length <= decoding.max_new_tokens) for length in lengths]


def by_length(family: Florence2, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Time greedy answers of uneven lengths, at once and by length; log-normal, half below 60 tokens, 4 % above 512."""
    limit = 2048 // options.shorter
    rng = np.random.default_rng(0)
    lengths = np.clip(np.exp(rng.normal(math.log(60), 1.25, options.windows)).astype(int), 4, 2048) // options.shorter
    pictures = [np.zeros((options.side, options.side, 3), dtype=np.uint8) for _ in lengths]
    for picture, length in zip(pictures, lengths.tolist(), strict=True):
        picture[0, 0, :2] = divmod(max(length, 1), 256)
    spec = DetectorSpec(dota.V1_0, CODEC.to_dict(), CODEC.prompt, window=options.side, gap=0)
    rows = []
    for size in options.batches:
        found: dict[int, list[tuple[float, int]]] = {}
        for _ in range(options.rounds):
            for first in (0, 128 // options.shorter):
                counting = Lengths(family)
                detector = Detector(counting, spec, CODEC, fingerprint="")  # type: ignore[arg-type]
                generation = Generation(batch_size=size, scores="none", first_tokens=first, max_new_tokens=limit)
                scenes = [detector.scene(picture, str(number)) for number, picture in enumerate(pictures)]

                def work(detector: Any = detector, scenes: Any = scenes, generation: Any = generation) -> None:
                    list(detect(detector, scenes, generation))

                found.setdefault(first, []).append((seconds(work), counting.steps))
        (plain, plain_steps), (ours, steps) = (
            (statistics.median(taken for taken, _ in each), each[0][1]) for each in found.values()
        )
        rows.append(
            {
                "batch": size,
                "windows": options.windows,
                "plain_steps": plain_steps,
                "steps": steps,
                "plain_seconds": plain,
                "seconds": ours,
                "ratio": plain / ours,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="Two million parameters at 96 px: on a CPU.")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", help="Of the throughput. [default: bfloat16; float32 with --tiny]")
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 8, 32])
    parser.add_argument("--beams", type=int, default=3)
    parser.add_argument("--tokens", type=int, help="Of each answer. [default: 512; 64 with --tiny]")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loop-images", type=int, default=4, help="How many images the loop is timed on.")
    parser.add_argument("--windows", type=int, default=256, help="Of the table by length; 0: no such table.")
    parser.add_argument("--json", type=Path, help="Writes the numbers there.")
    options = parser.parse_args()
    options.dtype = options.dtype or ("float32" if options.tiny else "bfloat16")
    options.tokens = options.tokens or (64 if options.tiny else 512)
    options.side = 96 if options.tiny else 1024
    options.shorter = 16 if options.tiny else 1

    family = load(options)
    rng = np.random.default_rng(0)
    pictures = list(rng.integers(0, 255, (max(options.batches), options.side, options.side, 3), dtype=np.uint8))
    parameters = sum(parameter.numel() for parameter in family.model.parameters())
    size, some = max(options.batches), pictures[: max(8, options.loop_images)]
    same = {beams: same_texts(family, some, min(options.tokens, 128), beams, size) for beams in (1, options.beams)}
    print(f"{parameters:,} random parameters, {options.side} px, {options.device}\n")
    for beams, count in same.items():
        print(f"In float32, of {len(some)} texts with {beams} beams {count} are the loop's.")
    family.model.to(getattr(torch, options.dtype))
    rows = throughput(family, pictures, options)
    print(f"\n{options.dtype}, answers of {options.tokens} tokens, medians of {options.rounds} rounds in turns\n")
    print("| way | batch | beams | images/s | times the loop's speed |\n|---|---:|---:|---:|---:|")
    for row in rows:
        rate, ratio = row["images_per_second"], row["ratio"]
        print(f"| {row['way']} | {row['batch']} | {row['beams']} | {rate:.3g} | {ratio:.2f} |")
    lengths = by_length(family, options) if options.windows else []
    if lengths:
        print(f"\n{options.windows} answers of uneven lengths, greedy: all at once, and short ones first\n")
        print("| batch | steps at once | short first | seconds at once | short first | times as fast |")
        print("|---:|---:|---:|---:|---:|---:|")
    for row in lengths:
        print(
            f"| {row['batch']} | {row['plain_steps']:,} | {row['steps']:,} | {row['plain_seconds']:.3g} "
            f"| {row['seconds']:.3g} | {row['ratio']:.2f} |"
        )
    if options.json:
        settings = {name: str(value) for name, value in vars(options).items()}
        figures = {"settings": settings, "parameters": parameters, "texts": len(some), "same_texts": same}
        options.json.write_text(json.dumps({**figures, "throughput": rows, "by_length": lengths}, indent=2) + "\n")


if __name__ == "__main__":
    main()
