"""How fast images become a batch for Florence-2 at 1024 x 1024, beside transformers' own processor in the same run.

Medians of rounds in which all take their turn: CPU time of the steps, which depends less on other work of the machine,
and wall time of the whole. The loading processes decode JPEG or PNG, cut the window (here the whole image) and make the
batch, with the answers' labels; the main process only takes it.

    OMP_NUM_THREADS=1 python benchmarks/data_loading.py
    OMP_NUM_THREADS=1 python benchmarks/data_loading.py --scenes 4
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from lmm_detector import _families
from lmm_detector._families import Family, Sample
from lmm_detector._training._mixing import EpochSampler
from lmm_detector._training._samples import TextWriter, WindowText, WindowTexts
from lmm_detector._training._window_cache import window_cache
from PIL import Image
from rbox_formats import ImageRecord, codecs, images, synthetic, tiling
from rbox_testing.tiny_families import save_tiny
from rbox_testing.tiny_florence2 import save_tiny_florence2
from torch.utils.data import DataLoader, Dataset

SIDE = 1024
PROMPT = "Locate the objects tightly with quad boxes and category names in the image."
TEXT = "ship" + "<sep>".join(8 * f"<loc_{place}>" for place in range(40))


def write_images(folder: Path, count: int) -> None:
    """Write scenes with a grain like that of aerial images; without it they would be decoded too fast."""
    config = synthetic.SceneConfig(size=SIDE, max_objects=40)
    for seed in range(count):
        pixels, _ = synthetic.scene(seed, config)
        grain = np.random.default_rng(seed).normal(0, 6, (SIDE, SIDE, 1))
        image = Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8))
        image.save(folder / f"{seed}.png")
        image.save(folder / f"{seed}.jpg", quality=90)


class Windows(Dataset):  # type: ignore[type-arg]
    """The first window of each file, as training reads it."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, number: int) -> Sample:
        path = self.paths[number]
        window = tiling.windows(*images.read_size(path), SIDE, 0)[0]
        return Sample(tiling.crop(images.load(path), window), TEXT, complete=True)


def stock(samples: Sequence[Sample], family: Family) -> dict[str, Any]:
    """Call transformers' processor as its documentation does."""
    texts = [PROMPT if family.name == "florence2" else family.render(PROMPT)] * len(samples)  # type: ignore[attr-defined]
    found = family.processor(images=[sample.image for sample in samples], text=texts, padding=True, return_tensors="pt")
    labels = family.tokenizer([sample.text for sample in samples], padding=True, return_tensors="pt").input_ids
    return {**found, "labels": labels}


def interleaved(
    functions: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float]
) -> dict[str, float]:
    """Return the median seconds of each; all run once before."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(rounds + 1):
        for name, function in functions.items():
            start = clock()
            function()
            if number:
                seconds[name].append(clock() - start)
    return {name: median(values) for name, values in seconds.items()}


def row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=96, help="in each pass of the loader")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument(
        "--scenes", type=int, default=0, help="instead: this number of PNGs of 4,000 px, whole and cut before"
    )
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    from transformers.utils import logging

    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_images(folder, 16)
        codec = codecs.get("florence2")
        names = synthetic.CLASS_NAMES
        florence = _families.load(
            str(save_tiny_florence2(folder / "florence2", names, codec, image_size=SIDE, max_tokens=2048))
        )
        qwen = _families.load(str(save_tiny("qwen2_5_vl", folder / "qwen2_5_vl", names, codec)))
        qwen.set_image_size(SIDE)
        jpegs, pngs = (sorted(folder.glob(f"*{suffix}")) for suffix in (".jpg", ".png"))
        if options.scenes:
            scenes(folder, options)
            return
        batches(florence, qwen, jpegs[: options.batch], pngs[: options.batch], options.rounds)
        end_to_end(florence, jpegs, options)


def batches(florence: Family, qwen: Family, jpegs: Sequence[Path], pngs: Sequence[Path], rounds: int) -> None:
    """Return what the steps take, an image."""
    samples = [Windows(jpegs)[number] for number in range(len(jpegs))]
    smaller = [sample._replace(image=np.ascontiguousarray(sample.image[:800, :800])) for sample in samples]
    found = interleaved(
        {
            "decode PNG": lambda: [images.load(path) for path in pngs],
            "decode JPEG": lambda: [images.load(path) for path in jpegs],
            "Florence-2, stock processor": lambda: stock(samples, florence),
            "Florence-2, `collate`": lambda: florence.collate(samples, PROMPT),
            "Florence-2, stock processor, from 800 x 800": lambda: stock(smaller, florence),
            "Florence-2, `collate`, from 800 x 800": lambda: florence.collate(smaller, PROMPT),
            "Qwen2.5-VL, stock processor": lambda: stock(samples, qwen),
            "Qwen2.5-VL, `collate`": lambda: qwen.collate(samples, PROMPT),
        },
        rounds,
        time.process_time,
    )
    row("step", "CPU ms an image")
    row("---", "---:")
    for name, seconds in found.items():
        row(name, f"{seconds / len(samples) * 1e3:.1f}")
    print()


def scenes(folder: Path, options: argparse.Namespace) -> None:
    """Return what training reads a second: windows of whole scenes, and the same windows as files of their own."""
    writer = TextWriter(synthetic.CLASS_NAMES, codecs.get("florence2"), 4096, lambda texts: [1] * len(texts))
    whole, before = [], []
    for seed in range(options.scenes):
        pixels, _ = synthetic.scene(seed, synthetic.SceneConfig(size=4000, max_objects=200))
        grain = np.random.default_rng(seed).normal(0, 6, (4000, 4000, 1))
        pixels = np.clip(pixels + grain, 0, 255).astype(np.uint8)
        path = folder / f"scene-{seed}.png"
        Image.fromarray(pixels).save(path)
        empty = ImageRecord(f"scene-{seed}", np.zeros((0, 5)), np.zeros(0, np.int64), width=4000, height=4000)
        for number, window in enumerate(tiling.windows(4000, 4000, SIDE, 200)):
            alone = folder / f"scene-{seed}-{number}.png"
            Image.fromarray(tiling.crop(pixels, window)).save(alone)
            part = tiling.clip_to_window(empty, window)
            whole.append(WindowText(empty.image_id, path, window, part, "ship", 0))
            before.append(WindowText(empty.image_id, alone, window._replace(x=0, y=0), part, "ship", 0))
    row("windows", "epoch", "processes", "windows/s", "times those of files cut before")
    row(*["---"] * 5)
    for workers in (0, 2):
        rates = {}
        for way in ("files cut before", "whole scenes, each window decoded", "whole scenes"):
            items = before if way == "files cut before" else whole
            cache = window_cache(((item.path, item.window) for item in items), folder / f"run-{workers}", 32)
            samples = WindowTexts(items, writer, cache=cache if way == "whole scenes" else None)
            for epoch in range(3 if way == "whole scenes" else 1):
                sampler = EpochSampler([len(items)], "concat", 0)
                sampler.set_epoch(epoch)
                loader = DataLoader(samples, batch_size=4, sampler=sampler, num_workers=workers, collate_fn=list)  # type: ignore[arg-type]
                start = time.perf_counter()
                assert sum(len(batch) for batch in loader) == len(items)
                rates[way] = len(items) / (time.perf_counter() - start)
                share = rates[way] / rates["files cut before"]
                row(way, epoch + 1, workers or "none", f"{rates[way]:.1f}", f"{share:.2f}")


def end_to_end(family: Family, paths: Sequence[Path], options: argparse.Namespace) -> None:
    """Return what a loader of JPEGs gives; its processes are there before time is taken."""
    several = [paths[number % len(paths)] for number in range(options.images)]
    loaders = {
        (way, workers): DataLoader(
            Windows(several),
            batch_size=options.batch,
            collate_fn=collate,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        for way, collate in (
            ("stock processor", partial(stock, family=family)),
            ("`collate`", partial(family.collate, prompt=PROMPT)),
        )
        for workers in (0, 2)
    }
    found = interleaved(
        {str(key): partial(_drain, loader) for key, loader in loaders.items()},
        max(1, options.rounds // 2),
        time.perf_counter,
    )
    row("JPEG to batch", "processes", "images/s", "times the stock one's")
    row("---", "---:", "---:", "---:")
    for way, workers in loaders:
        rate = options.images / found[str((way, workers))]
        peer = options.images / found[str(("stock processor", workers))]
        row(way, workers or "none", f"{rate:.0f}", f"{rate / peer:.2f}")
    print(f"\nbatches of {options.batch}; {os.cpu_count()} cores")


def _drain(loader: Any) -> None:
    for _ in loader:
        pass


if __name__ == "__main__":
    main()
