"""RSMamba base beside SAM's ViT-B: parameters, FLOPs, time and memory on one image.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/rsmamba.py [--size 1024] [--backward]

Prints a markdown table. Weights are random. FLOPs are two for each multiply-add: those of convolutions, matrix products
and attention as torch counts them, and for RSMamba six for each token, channel and state of each direction's scan. Each
model runs in a process of its own, once: CPU seconds, and the growth of the process. --backward measures the gradients
as well, for which ViT-B at 1,024 px needs more than 20 GB.
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
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import psutil
import torch

MODELS = {"rsmamba": "RSMamba base, both directions", "sam": "SAM's ViT-B encoder"}


def model_of(name: str, size: int) -> tuple[torch.nn.Module, int]:
    """Return a model, and the FLOPs that torch does not count."""
    if name == "sam":
        from transformers import SamVisionConfig, SamVisionModel

        return SamVisionModel(SamVisionConfig(image_size=size)), 0
    from rbox_baselines._configs import _load

    _load.set_up()
    from rbox_baselines._parts._rsmamba import SIZES, RSMamba

    layers, inner = SIZES["base"]
    return RSMamba("base", size, out_indices=[-1]), 2 * layers * (size // 16) ** 2 * inner * 16 * 6


def measure(name: str, size: int, backward: bool) -> dict[str, Any]:
    from torch.utils.flop_counter import FlopCounterMode

    torch.manual_seed(0)
    model, uncounted = model_of(name, size)
    before = psutil.Process().memory_info().rss
    with torch.no_grad():
        model(torch.zeros(1, 3, 64, 64) if name == "rsmamba" else torch.zeros(1, 3, size, size))  # compiles
        with FlopCounterMode(display=False) as counter:
            model(torch.zeros(1, 3, size, size))
    image = torch.rand(1, 3, size, size)
    start = time.process_time()
    with torch.set_grad_enabled(backward):
        found = model(image)
        last = found[-1] if isinstance(found, tuple) else found.last_hidden_state
        if backward:
            last.sum().backward()
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    parameters = sum(each.numel() for each in model.parameters())
    flops = counter.get_total_flops() + uncounted
    return {"parameters": parameters, "flops": flops, "seconds": seconds, "memory": peak - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--backward", action="store_true")
    parser.add_argument("--one", choices=MODELS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        warnings.simplefilter("ignore")
        print(json.dumps(measure(options.one, options.size, options.backward)))
        return
    what = "forward and backward" if options.backward else "forward"
    print(f"| {options.size} px, {what} | parameters, M | GFLOPs, forward | CPU s | memory, GB |")
    print("|---|---:|---:|---:|---:|")
    for name, title in MODELS.items():
        command = [sys.executable, __file__, "--one", name, "--size", str(options.size)]
        command += ["--backward"] * options.backward
        one = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        print(
            f"| {title} | {one['parameters'] / 1e6:.2f} | {one['flops'] / 1e9:.0f} | {one['seconds']:.1f} | "
            f"{one['memory'] / 1e9:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
