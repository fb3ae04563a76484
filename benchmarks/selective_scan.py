"""The selective scan, forward and backward: ours, the two-level one in PyTorch, and loops over the tokens.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/selective_scan.py [--rounds 5] [--tokens 4096] [--channels 192]

Prints two markdown tables. In the first, all ways on the same inputs: wall-clock and CPU seconds, the best of --rounds
(loops run once), and the most memory beyond the inputs during the run, in units of the inputs (u, delta, B and C). The
loops are transformers' `mamba_selective_scan`, which its MambaMixer calls where no compiled kernels are installed, and
our `backend="reference"`. In the second, ours from 1,024 to 65,536 tokens, in CPU seconds. Each way runs in a process
of its own, one after another, since the peak of memory is a process's.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import psutil
import torch
from rbox_baselines import selective_scan
from torch import Tensor

WAYS = {
    "numba": "`selective_scan`, Numba",
    "torch": "`selective_scan`, two-level in PyTorch",
    "reference": "`selective_scan`, one token after another",
    "transformers": "transformers' `mamba_selective_scan`",
}
LOOPS = ("reference", "transformers")


def function(way: str) -> Callable[..., Tensor]:
    if way != "transformers":
        return lambda *given: selective_scan(*given, backend=way)
    from transformers.models.mamba.modeling_mamba import mamba_selective_scan

    def loop(u: Tensor, delta: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        u, delta, b, c = (each.transpose(1, 2) for each in (u, delta, b, c))
        return mamba_selective_scan(u, delta, a, b, c).transpose(1, 2)

    return loop


def inputs(sequences: int, tokens: int, channels: int, states: int) -> list[Tensor]:
    torch.manual_seed(0)
    delta = torch.nn.functional.softplus(torch.randn(sequences, tokens, channels) - 4)
    rates = -torch.arange(1.0, states + 1).repeat(channels, 1)
    few = (sequences, tokens, states)
    given = [torch.randn(sequences, tokens, channels), delta, rates, torch.randn(few), torch.randn(few)]
    return [each.requires_grad_() for each in given]


def measure(way: str, rounds: int, shape: tuple[int, int, int, int]) -> dict[str, Any]:
    """Return seconds of the best round and memory; the first call, which may compile, is a small one."""
    run = function(way)
    run(*inputs(1, 130, *shape[2:])).sum().backward()
    given = inputs(*shape)
    before = psutil.Process().memory_info().rss
    found = []
    for _ in range(rounds):
        for each in given:
            each.grad = None
        start, cpu = time.perf_counter(), time.process_time()
        y = run(*given)
        middle = time.perf_counter()
        y.sum().backward()
        end = time.perf_counter()
        found.append((end - start, middle - start, end - middle, time.process_time() - cpu))
        del y
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = 4 * sum(given[k].numel() for k in (0, 1, 3, 4))
    both, forward, backward, cpu = min(found, key=lambda times: times[3])
    return {
        "both": both, "forward": forward, "backward": backward, "cpu": cpu, "memory": peak - before, "size": size
    }  # fmt: skip


def in_process(way: str, rounds: int, shape: tuple[int, ...]) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", way, "--rounds", str(rounds), "--shape", *map(str, shape)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--channels", type=int, default=192)
    parser.add_argument("--states", type=int, default=16)
    parser.add_argument("--sequences", type=int, default=2, help="two directions of one image")
    parser.add_argument(
        "--ways", nargs="+", choices=WAYS, default=list(WAYS), help="the last is what others are held to"
    )
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--shape", type=int, nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        warnings.simplefilter("ignore")
        print(json.dumps(measure(options.one, options.rounds, tuple(options.shape))))
        return
    shape = (options.sequences, options.tokens, options.channels, options.states)
    print(f"{shape[0]} sequences of {shape[1]:,} tokens, {shape[2]} channels, {shape[3]} states; float32\n")
    print("| way | forward, s | backward, s | both, CPU s | times the loop, wall | CPU | memory / inputs |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    found = {way: in_process(way, 1 if way in LOOPS else options.rounds, shape) for way in reversed(options.ways)}
    loop = found[options.ways[-1]]
    for way in options.ways:
        one = found[way]
        print(
            f"| {WAYS[way]} | {one['forward']:.3f} | {one['backward']:.3f} | {one['cpu']:.2f} | "
            f"{loop['both'] / one['both']:.1f} | {loop['cpu'] / one['cpu']:.1f} | {one['memory'] / one['size']:.1f} |"
        )
    print("\n| tokens | both, CPU s | CPU us a token | memory / inputs |\n|---:|---:|---:|---:|")
    for tokens in (1024, 4096, 16384, 65536):
        one = in_process("numba", options.rounds, (shape[0], tokens, *shape[2:]))
        each = 1e6 * one["cpu"] / (shape[0] * tokens)
        print(f"| {tokens:,} | {one['cpu']:.3f} | {each:.1f} | {one['memory'] / one['size']:.1f} |")


if __name__ == "__main__":
    main()
