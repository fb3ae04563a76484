"""What it costs to share one prediction among processes: one, two of torchrun, two actors of Ray, on the same windows.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/sharding.py [--windows 2000] [--window 256] [--device cpu]

Large drawn scenes are divided into shards, and a small Rotated RetinaNet that has learnt nothing detects in them, by
the command that a user types. Each process has one thread. "In a second" counts the windows of the last three quarters
of the part files, when all processes have started; "whole" is the time of the command, with the start of Python,
PyTorch, Ray and the models, and the joining. All three must write the same bytes.

Prints a markdown table.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from rbox_formats import files, synthetic
from rbox_formats.sharding import make_manifest, write_manifest
from rbox_testing import small_retinanet

SIDE = 16  # windows along a side of a scene
WAYS = {
    "one process": ((), ()),
    "torchrun, 2 processes": (("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"), ()),
    "Ray, 2 actors": ((), ("--engine", "ray", "--actors", "2")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=2000)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--shard-windows", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        count = prepare(folder, options.windows, options.window, options.shard_windows)
        print(f"{count} windows of {options.window} px, shards of {options.shard_windows}\n")
        print("| way | in a second | times one process | whole |")
        print("|---|---:|---:|---:|")
        first, bytes_ = 0.0, b""
        for way, (before, after) in WAYS.items():
            share, seconds, whole, found = run(folder, before, after, options.device)
            rate = share * count / seconds
            first, bytes_ = first or rate, bytes_ or found
            assert found == bytes_, f"{way} writes other bytes"
            print(f"| {way} | {rate:.1f} | {rate / first:.2f} | {whole:.1f} s |", flush=True)


def prepare(folder: Path, windows: int, side: int, shard_windows: int) -> int:
    """Draw scenes, and write a checkpoint and a manifest; return how many windows there are."""
    synthetic.write_scenes(folder / "data", "train", range(2), synthetic.TINY)
    synthetic.write_scenes(folder / "data", "val", range(1), synthetic.TINY)
    checkpoint = small_retinanet.save(folder / "model.pth", folder / "data", synthetic.CLASS_NAMES)
    saved = torch.load(checkpoint, weights_only=True)
    # One that has learnt nothing is sure of nothing: a few of what it finds are kept.
    saved["meta"]["cfg"] = re.sub(r"score_thr=[\d.]+", "score_thr=0.01", saved["meta"]["cfg"])
    torch.save(saved, checkpoint)
    tile, _ = synthetic.scene(0, replace(synthetic.VARIED, size=side))
    scene = Image.fromarray(np.tile(tile[:side, :side], (SIDE, SIDE, 1)))
    count = -(-windows // SIDE**2)
    paths = []
    for number in range(count):
        paths.append(folder / f"scene-{number}.png")
        scene.save(paths[-1])
    manifest = make_manifest(paths, window=side, gap=0, shard_windows=shard_windows)
    write_manifest(folder / "archive.jsonl", manifest)
    return sum(shard.windows for shard in manifest.plan())


def run(
    folder: Path, before: tuple[str, ...], after: tuple[str, ...], device: str
) -> tuple[float, float, float, bytes]:
    """Return which share of the windows was timed, in what time, that of the whole command, and what it wrote."""
    out, errors = folder / "found.jsonl", folder / "errors.txt"
    out.unlink(missing_ok=True)
    words = ("predict", "--model", "model.pth", "--device", device, "--shards", "archive.jsonl", "--out", out.name)
    begin = time.monotonic()
    with errors.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", *before, "rbox_baselines", *words, *after],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=file,
            stderr=file,
        )
        seen: list[tuple[float, int]] = []  # when there were how many parts
        while process.poll() is None:
            count = len(files.visible(folder / "found.jsonl.parts"))
            if count > (seen[-1][1] if seen else 0):
                seen.append((time.monotonic(), count))
            time.sleep(0.01)
    whole = time.monotonic() - begin
    if process.returncode:
        sys.exit(errors.read_text())
    end, all_ = seen[-1]
    start, few = next(each for each in seen if each[1] >= all_ / 4)
    return (all_ - few) / all_, end - start, whole, out.read_bytes()


if __name__ == "__main__":
    main()
