"""What grouping windows by the lengths of their texts saves: padding, over an epoch, and the time of its steps.

Texts of a dataset's windows, as `train` writes them, are drawn in the order of an epoch: as they come, sorted within
each step (`--length-grouping 1`, the default, which changes nothing but the padding), and sorted over 16 steps. Padding
is the share of the tokens of answers that a device computes without teaching anything. With `--model` the steps of an
epoch are run, forwards and backwards, on black windows.

    python benchmarks/length_grouping.py --data DOTA --split train
    python benchmarks/length_grouping.py --synthetic 512 --model
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from lmm_detector._families import Sample
from lmm_detector._families.florence2 import Florence2
from lmm_detector._training._mixing import EpochSampler
from lmm_detector._training._samples import TextWriter, WindowText, window_texts
from rbox_formats import ClassNames, codecs, datasets, synthetic
from rbox_testing.tiny_families import save_tiny

WAYS: dict[str, int | None] = {"as they come": None, "within a step": 1, "over 16 steps": 16}


def padding(lengths: np.ndarray, order: list[int], at_once: int) -> float:
    """Return the share of padding among the tokens that are computed."""
    rows = lengths[order].reshape(-1, at_once)
    return float(1 - rows.sum() / (rows.max(axis=1) * at_once).sum())


def seconds(
    family: Florence2, items: list[WindowText], order: list[int], at_once: int, side: int, prompt: str
) -> float:
    """Return the seconds of the rounds of an epoch, on empty windows."""
    black = np.zeros((side, side, 3), dtype=np.uint8)
    family.model.train()
    start = time.perf_counter()
    for begin in range(0, len(order), at_once):
        part = [items[number] for number in order[begin : begin + at_once]]
        batch = family.collate([Sample(black, item.text, True) for item in part], prompt)
        family.loss(family.on_device(batch)).backward()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--split")
    parser.add_argument("--synthetic", type=int, default=256, help="The number of drawn scenes, if no data are given.")
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--device-batch-size", type=int, default=4)
    parser.add_argument("--model", action="store_true")
    arguments = parser.parse_args()
    codec = codecs.get("florence2", version=2)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.data is None:
            synthetic.write_scenes(Path(folder) / "data", "train", range(arguments.synthetic), synthetic.TINY)
            data, names, split, window = Path(folder) / "data", ClassNames(synthetic.CLASS_NAMES), "train", 96
        else:
            data, names, split, window = arguments.data, None, arguments.split, arguments.window
        dataset = datasets.read("dota", data, split, names)
        family = Florence2.load(str(save_tiny("florence2", Path(folder) / "start", dataset.class_names, codec)))
        room = 4096 if not arguments.model else family.answer_room("", (window, window))
        writer = TextWriter(dataset.class_names, codec, room, family.count_tokens, input_size=family.input_size)
        items = window_texts(datasets.with_images(dataset), writer, window=window, gap=window // 5)
        lengths = np.array(family.count_tokens([item.text for item in items]))
        print(f"{len(items)} windows, {lengths.min()} to {lengths.max()} tokens, mean {lengths.mean():.0f}")
        for way, steps in WAYS.items():
            sampler = EpochSampler(
                [len(items)], "concat", 0, arguments.batch_size, None if steps is None else lengths.tolist(), steps or 1
            )
            order = [place.number for place in sampler]
            line = f"{way:>15}: padding {padding(lengths, order, arguments.device_batch_size):6.1%}"
            if arguments.model:
                torch.manual_seed(0)
                took = seconds(family, items, order, arguments.device_batch_size, window, codec.question(names or []))
                line += f", an epoch {took:.1f} s"
            print(line)


if __name__ == "__main__":
    main()
