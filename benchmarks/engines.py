"""Prediction by vLLM beside our own loop, in the same run: windows a second, and how far their answers differ.

A detector with a chat template looks at images that are given, or at coarse noise. Our loop takes batches of several
sizes, vLLM all windows at once. Each engine runs once to warm up, then --rounds times. Answers are compared window by
window: whether text and status are the same, and by how much scores of the same boxes differ.

It needs vLLM and what vLLM runs on; where vLLM is missing it says so and ends with an error.

    python benchmarks/engines.py --model runs/dota/model --dtype bfloat16
    python benchmarks/engines.py --model runs/dota/model --dtype bfloat16 --constrained scenes/*.png
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lmm_detector import Detector, Generation, find_images
from lmm_detector.errors import ModelError
from rbox_formats.detection import Prediction


def pictures(options: argparse.Namespace, side: int) -> list[Any]:
    """Return the images, or scenes of one window each."""
    if options.images:
        return find_images(options.images)
    rng = np.random.default_rng(0)
    # Their content does not matter for the time; with a trained detector give images of its kind.
    coarse = rng.integers(0, 255, (options.windows, 16, 16, 3), dtype=np.uint8)
    scale = -(-side // 16)
    return [each.repeat(scale, axis=0).repeat(scale, axis=1)[:side, :side] for each in coarse]


def timed(
    detector: Detector, images: Sequence[Any], generation: Generation, rounds: int
) -> tuple[list[Prediction], float]:
    """Return the predictions, and the median of the seconds."""
    taken = []
    for turn in range(rounds + 1):
        start = time.perf_counter()
        found = list(detector.predict(images, generation))
        if turn:  # the first warms up
            taken.append(time.perf_counter() - start)
    return found, statistics.median(taken)


def compared(ours: Sequence[Prediction], theirs: Sequence[Prediction]) -> str:
    """Return in words how far two engines differ."""
    pairs = [
        (a, b)
        for one, other in zip(ours, theirs, strict=True)
        for a, b in zip(one.metadata["windows"], other.metadata["windows"], strict=True)
    ]
    texts = sum(a["text"] == b["text"] for a, b in pairs)
    statuses = sum(a["status"] == b["status"] for a, b in pairs)
    differences = [
        float(np.abs(one.scores - other.scores).max())
        for one, other in zip(ours, theirs, strict=True)
        if one.scores is not None and other.scores is not None and len(one.scores)
        if np.array_equal(one.boxes, other.boxes)
    ]
    scores = f"up to {max(differences):.1e} on {len(differences)} images with the same boxes" if differences else "none"
    return f"of {len(pairs)} windows, texts the same: {texts}, statuses: {statuses}; scores differ: {scores}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="*")
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--windows", type=int, default=256)
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--max-new-tokens", type=int)
    parser.add_argument("--constrained", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    settings = {"max_new_tokens": options.max_new_tokens, "constrained": options.constrained}
    try:
        vllm = Detector.from_pretrained(options.model, dtype=options.dtype, engine="vllm")
    except ModelError as error:
        sys.exit(f"nothing was measured: {error}")
    images = pictures(options, vllm.spec.window)
    # Our loop first: vLLM keeps nearly all of a GPU's memory.
    local = Detector.from_pretrained(options.model, dtype=options.dtype)
    print(f"{local}, {options.dtype}, torch {torch.__version__}")
    for size in options.batches:
        ours, seconds = timed(local, images, Generation(batch_size=size, **settings), options.rounds)
        count = sum(len(found.metadata["windows"]) for found in ours)
        print(f"our loop, batches of {size}: {count / seconds:.2f} windows/s")
    del local
    gc.collect()
    torch.cuda.empty_cache()
    theirs, seconds = timed(vllm, images, Generation(batch_size=count, **settings), options.rounds)
    print(f"{vllm}: {count / seconds:.2f} windows/s")
    print(compared(ours, theirs))


if __name__ == "__main__":
    main()
