"""What the training loss costs in memory and time: of the output head and the loss, forwards and backwards.

One window of Qwen2.5-VL's sizes: a sequence of image, prompt and answer; the answer is taught. Each way
runs in a process of its own, whose peak counts:

- transformers: logits at all places, its own loss;
- taught: logits where something is taught, PyTorch's cross entropy of all of them at once;
- ours: the same, a few rows at a time (`lmm_detector._families._loss`), which is what `train` does.

    python benchmarks/loss_memory.py
    python benchmarks/loss_memory.py --device cuda --dtype bfloat16 --places 8192 --answer 4096
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from types import SimpleNamespace

import torch
from lmm_detector._families._loss import summed_loss
from lmm_detector._families._types import IGNORED_LABEL
from torch.nn.functional import cross_entropy, pad
from transformers.loss.loss_utils import ForCausalLMLoss

WAYS = ("transformers", "taught", "ours")


def measure(way: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Return the peak memory beyond inputs and head, in MiB, the seconds of a step, and the loss."""
    torch.manual_seed(0)
    device, dtype = arguments.device, getattr(torch, arguments.dtype)
    hidden = torch.randn(1, arguments.places, arguments.width, device=device, dtype=dtype, requires_grad=True)
    head = torch.nn.Linear(arguments.width, arguments.vocabulary, bias=False, device=device, dtype=dtype)
    labels = torch.full((1, arguments.places), IGNORED_LABEL, device=device)
    labels[:, -arguments.answer :] = torch.randint(arguments.vocabulary, (arguments.answer,), device=device)
    targets = pad(labels, (0, 1), value=IGNORED_LABEL)[:, 1:]
    taught = targets != IGNORED_LABEL

    def model(logits_to_keep: torch.Tensor, use_cache: bool) -> SimpleNamespace:
        return SimpleNamespace(logits=head(hidden[logits_to_keep]))

    def loss() -> torch.Tensor:
        if way == "transformers":
            return ForCausalLMLoss(head(hidden), labels, arguments.vocabulary, num_items_in_batch=arguments.answer)
        if way == "taught":
            total = cross_entropy(head(hidden[taught]).float(), targets[taught], reduction="sum")
        else:
            total = summed_loss(model, {}, targets)
        return total / arguments.answer

    head(hidden[:, :8]).sum().backward()  # the gradients, and what libraries set up
    before = peak(device)
    start = time.perf_counter()
    found = loss()
    found.backward()
    value = float(found.detach())
    return {"MiB": peak(device) - before, "s": time.perf_counter() - start, "loss": value}


def peak(device: str) -> float:
    """Return the most memory so far in MiB: of the device, or of this process."""
    if device != "cpu":
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--width", type=int, default=896)
    parser.add_argument("--places", type=int, default=2048)
    parser.add_argument("--answer", type=int, default=1024)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(measure(arguments.way, arguments)))
        return
    print(f"{'way':<14}{'peak MiB':>10}{'seconds':>10}{'loss':>12}")
    for way in WAYS:
        command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"{way:<14}{found['MiB']:>10,.0f}{found['s']:>10.2f}{found['loss']:>12.6f}")


if __name__ == "__main__":
    main()
