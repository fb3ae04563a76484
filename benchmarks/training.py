"""A training step of Florence-2-large: time, tokens, memory, and the share of the device's matrix rate that it reaches.

Random weights of the real size on random 1024 px windows with texts of forty boxes, in bfloat16 autocast with float32
weights, as `lmm-detector train --precision bfloat16` does it. Attention and gradient checkpointing take turns, and the
median of the steps is shown. The rate is measured in the same run by multiplying two 8,192 x 8,192 matrices; a step's
operations are those that torch.utils.flop_counter counts.

    python benchmarks/training.py
    python benchmarks/training.py --tiny     # on a CPU: the tiny model of the demo, 96 px
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _florence2_large import family as make_family
from lmm_detector._families import Sample
from lmm_detector.cli._common import set_up_output
from rbox_formats import codecs, synthetic
from torch.utils.flop_counter import FlopCounterMode
from transformers.utils import is_flash_attn_2_available

GIB = 2**30


def batches(family: Any, size: int, objects: int, side: int, count: int) -> list[dict[str, Any]]:
    """Return random windows, and texts with this number of random boxes."""
    rng = np.random.default_rng(0)
    codec, names = codecs.get("florence2"), synthetic.CLASS_NAMES
    made = []
    for _ in range(count):
        samples = []
        for _ in range(size):
            boxes = np.column_stack(
                [
                    rng.uniform(0.2 * side, 0.8 * side, (objects, 2)),
                    rng.uniform(8, 0.2 * side, (objects, 2)),
                    rng.uniform(-1.5, 1.5, objects),
                ]
            )
            text = codec.encode(boxes, rng.integers(0, len(names), objects), names, (side, side))
            samples.append(Sample(rng.integers(0, 256, (side, side, 3), dtype=np.uint8), text, complete=True))
        made.append(family.collate(samples, codec.prompt))
    return made


def step(family: Any, optimizer: Any, batch: dict[str, Any], device: str) -> float:
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        loss = family.loss(family.on_device(batch)) / int((batch["labels"] != -100).sum())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(family.model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.detach())  # which waits for the device


def matrix_rate(device: str, size: int, dtype: torch.dtype) -> float:
    """Return the operations per second of a matrix product."""
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    times = []
    for _ in range(12):
        wait(device)
        start = time.perf_counter()
        left @ right
        wait(device)
        times.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(times[2:])


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def measure(
    arguments: argparse.Namespace, attention: str, checkpointing: bool, size: int, rate: float
) -> dict[str, Any]:
    device = "cpu" if arguments.tiny else "cuda"
    side = 96 if arguments.tiny else arguments.side
    with tempfile.TemporaryDirectory() as folder:
        family = make_family(Path(folder), tiny=arguments.tiny, image_size=side, attention=attention)
    family.model.to(device).train()
    if checkpointing:
        family.checkpoint_gradients()
    optimizer = torch.optim.AdamW(family.model.parameters(), lr=1e-5)
    given = batches(family, size, 4 if arguments.tiny else 40, side, 4)
    with FlopCounterMode(display=False) as counted:
        step(family, optimizer, given[0], device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = []
    for batch in itertools.islice(itertools.cycle(given), arguments.steps + 2):
        start = time.perf_counter()
        step(family, optimizer, batch, device)
        times.append(time.perf_counter() - start)
    took = statistics.median(times[2:])
    tokens = sum(int((batch["labels"] >= 0).sum()) + batch["input_ids"].numel() for batch in given) / len(given)
    return {
        "attention": attention,
        "checkpointing": checkpointing,
        "batch": size,
        "step_s": took,
        "tokens_per_s": tokens / took,
        "peak_gib": torch.cuda.max_memory_allocated() / GIB if device == "cuda" else float("nan"),
        "teraflop": counted.get_total_flops() / 1e12,
        "share_of_rate": counted.get_total_flops() / took / rate,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--batches", type=int, nargs="+", default=[2, 8])
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    set_up_output()
    device = "cpu" if arguments.tiny else "cuda"
    rate = matrix_rate(device, 1024 if arguments.tiny else 8192, torch.float32 if arguments.tiny else torch.bfloat16)
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{name}: {rate / 1e12:.2f} Tflop/s of a matrix product, torch {torch.__version__}")
    attentions = ["sdpa", *(["flash_attention_2"] if is_flash_attn_2_available() and device == "cuda" else [])]
    rows = []
    print(f"{'attention':>18} {'checkpointing':>13} {'batch':>5} {'step':>9} {'tokens/s':>9} {'GiB':>6} {'rate':>6}")
    for size, attention, checkpointing in itertools.product(arguments.batches, attentions, [False, True]):
        row = measure(arguments, attention, checkpointing, size, rate)
        rows.append(row)
        print(
            f"{attention:>18} {checkpointing!s:>13} {size:>5} {row['step_s'] * 1e3:>6.0f} ms "
            f"{row['tokens_per_s']:>9.0f} {row['peak_gib']:>6.1f} {row['share_of_rate']:>6.1%}",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"device": name, "rate": rate, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
