"""What a small RSMamba learns from a small teacher of SAM's shape, on synthetic scenes.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/distillation.py [--steps 600] [--seeds 3] [--scenes 200]

The teacher is a SamModel with random weights, which stay: 2 layers, 16 channels, 64 px in patches of 8 px. The student
is an RSMamba of 4 layers. Prints a markdown table: the mean absolute difference on 20 scenes that were held out, at the
start, of the mean of the teacher's maps over all other scenes (what one learns who does not look at the image), and
at the end; and images a second.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from rbox_baselines import Distillation, distill
from rbox_baselines._distillation import _distill
from rbox_baselines._distillation._models import load_teacher
from rbox_formats import synthetic
from rbox_testing import tiny_sam
from transformers.utils import logging

HELD_OUT = 20
STUDENT = {
    "model.backbone": {
        "_delete_": True,
        "type": "RSMamba",
        "arch": {"layers": 4, "inner": 64, "channels": 32},
        "img_size": 64,
        "patch_size": 8,
    }
}


def of_the_mean_map(teacher: Path, paths: list[Path], settings: Distillation) -> float:
    """Return the difference of the mean of the training images' maps from those of the images held out."""
    model = load_teacher(teacher, "cpu")
    run = object.__new__(_distill._Run)
    run._side, run._device = 64, "cpu"
    learnt, held_out = (
        model(*run._stacked([run._open(path) for path in part]), [])[0] for part in _distill._split(paths, settings)
    )
    return float((held_out - learnt.mean(0)).abs().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scenes", type=int, default=200)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    print("| seed | at the start | the mean map | at the end | times smaller | images/s |")
    print("|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        synthetic.write_scenes(root / "scenes", "train", range(options.scenes), replace(synthetic.TINY, size=64))
        paths = sorted((root / "scenes").rglob("*.png"))
        tiny_sam.save(root / "sam", patch_size=8, window_size=4)
        for seed in range(options.seeds):
            settings = Distillation(
                steps=options.steps,
                learning_rate=3e-3,
                schedule="linear",
                held_out=HELD_OUT,
                evaluate_every=1,
                save_every=options.steps,
                seed=seed,
            )
            found = []
            # One step of almost no length first, for the difference at the start.
            for name, these in (
                ("start", replace(settings, steps=1, learning_rate=1e-12)),
                ("run", replace(settings, evaluate_every=options.steps)),
            ):
                out = root / f"{name}-{seed}"
                distill("oriented-rcnn-rsmamba-base", root / "sam", paths, out, these, options=STUDENT, device="cpu")
                found.append([json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()])
            start, end = (next(line["held_out_loss"] for line in lines if "held_out_loss" in line) for lines in found)
            speed = statistics.median(line["images_per_second"] for line in found[1] if "loss" in line)
            mean = of_the_mean_map(root / "sam", paths, settings)
            print(f"| {seed} | {start:.4f} | {mean:.4f} | {end:.4f} | {start / end:.0f} | {speed:.0f} |")


if __name__ == "__main__":
    main()
