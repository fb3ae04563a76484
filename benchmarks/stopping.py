"""What it costs to look for boxes that repeat themselves while answers are written (`--max-repeats`).

The stopping criterion is called after each token of a batch of answers, as `generate` does: answers of different boxes,
which never end early, and of boxes that come again three times, which it looks at longest. Beside it stands the time
that a token takes: `prediction.py` measures it for a model; here `--step` says it, in milliseconds.

    python benchmarks/stopping.py
    python benchmarks/stopping.py --tokens 4096 --batch-size 24 --step 20 --device cuda
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from lmm_detector._decoding._circles import Circle

BOX = 9  # tokens of a box: its class, and eight coordinates
REPEATS = 4


def answers(kind: str, count: int, tokens: int, device: str) -> torch.Tensor:
    """Return (count, tokens) ids."""
    torch.manual_seed(0)
    boxes = torch.randint(1000, (count, -(-tokens // BOX), BOX))
    if kind == "three times each":
        boxes = boxes.repeat_interleave(REPEATS - 1, dim=1)
    return boxes.flatten(1)[:, :tokens].to(device)


def milliseconds(ids: torch.Tensor) -> float:
    """Return the milliseconds of the criterion for a token of the batch, the mean over the answers."""
    stop = Circle(REPEATS, BOX).criterion(0)
    start = time.perf_counter()
    for size in range(1, ids.shape[1] + 1):
        assert not stop(ids[:, :size], None).any()
    return 1e3 * (time.perf_counter() - start) / ids.shape[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--step", type=float, default=20.0)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    for kind in ("different boxes", "three times each"):
        ids = answers(kind, arguments.batch_size, arguments.tokens, arguments.device)
        found = statistics.median(milliseconds(ids) for _ in range(arguments.repeats))
        print(
            f"{kind}: {found:.4f} ms for each token of {arguments.batch_size} answers of {arguments.tokens}, "
            f"{found / arguments.step:.2%} of a step of {arguments.step:g} ms"
        )


if __name__ == "__main__":
    main()
