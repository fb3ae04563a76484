"""Whether a detector learns more from images that it chose than from images drawn by chance.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/mining.py --out runs/mining [--seeds 3] [--steps 1500] [--device cuda:0]

From 40 labelled scenes a small Rotated RetinaNet is trained from random weights, scored on unseen scenes, and ranks 400
others; the first 20 get their labels, and the model learns on, on all that are labelled: five rounds. Every way to rank
starts from the same 40 scenes and the same model, and every round has the same number of steps, so that only the images
differ. `--out` keeps what was measured, a line per model; the same command resumes.

Prints markdown tables: AP at IoU 0.5 by round, the mean over the seeds and their spread, the paired difference from
`random`, and how many objects the chosen scenes have.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rbox_metrics
from rbox_baselines import Data, Detector, Views, train
from rbox_baselines._stack import _mends
from rbox_formats import Dataset, ImageRecord, datasets, synthetic
from rbox_metrics.mining import ALGORITHMS, mine, order_of
from rbox_testing import small_retinanet

ALL = ("random", "entropy", "margin", "cald", "diversity")
FIRST_TEST, SEEDS_APART = 5_000_000, 10_000  # numbers of scenes
NAMES = synthetic.VARIED.class_names


@dataclass(frozen=True)
class Setting:
    """What is measured."""

    start: int
    pool: int
    chosen: int
    rounds: int
    steps: int
    round_steps: int
    batch: int
    test: int
    size: int
    device: str | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--algorithms", nargs="+", default=list(ALL), choices=list(ALGORITHMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--device", default=None)
    for name, value in (
        *(("start", 40), ("pool", 400), ("chosen", 20), ("rounds", 5)),
        *(("steps", 1500), ("round_steps", 400), ("batch", 8), ("test", 200), ("size", 96)),
    ):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    arguments = vars(parser.parse_args())
    out, algorithms, seeds = (arguments.pop(name) for name in ("out", "algorithms", "seeds"))
    _mends.silence()
    setting = Setting(**arguments)
    out.mkdir(parents=True, exist_ok=True)
    test = scenes(out / "scenes", "test", range(FIRST_TEST, FIRST_TEST + setting.test), setting.size)
    objects: dict[int, dict[str, int]] = {}
    for seed in range(seeds):
        first = seed * SEEDS_APART
        known = scenes(out / "scenes", f"seed-{seed}", range(first, first + setting.start + setting.pool), setting.size)
        objects[seed] = {record.image_id: len(record) for record in known}
        for algorithm in algorithms:
            run(algorithm, seed, known, test, setting, out)
    lines = read(out / "measured.jsonl")
    print("\n".join([*tables(lines, algorithms, setting), *chosen(lines, algorithms, setting, objects)]))


def scenes(root: Path, split: str, seeds: range, size: int) -> list[ImageRecord]:
    """Return drawn scenes, which are written once."""
    if not (root / split / "images").is_dir() or len(list((root / split / "images").iterdir())) < len(seeds):
        synthetic.write_scenes(root, split, seeds, replace(synthetic.VARIED, size=size))
    return list(datasets.read("dota", root, split, NAMES))


def run(
    algorithm: str, seed: int, known: Sequence[ImageRecord], test: Sequence[ImageRecord], setting: Setting, out: Path
) -> None:
    """Measure all rounds of one way to rank, from one start; what is measured already is not measured again."""
    measured = out / "measured.jsonl"

    def folder_of(number: int) -> Path:
        return out / "models" / f"{seed}-{algorithm if number else 'start'}-{number}"

    labelled = [record.image_id for record in known[: setting.start]]
    for number in range(setting.rounds + 1):
        key = {"seed": seed, "algorithm": algorithm if number else "start", "round": number}
        done = [line for line in read(measured) if {name: line[name] for name in key} == key]
        work = folder_of(number)
        if not done:
            chosen = [record for record in known if record.image_id in set(labelled)]
            earlier = folder_of(number - 1) / "model.pth" if number else None
            checkpoint = trained(chosen, work, seed + 100 * number, setting, earlier)
            line = {**key, "labelled": labelled, "ap": scored(checkpoint, test, setting)}
            with measured.open("a") as file:
                file.write(json.dumps(line) + "\n")
            print(f"seed {seed}, {key['algorithm']}, round {number}: AP {100 * line['ap']:.1f} %", flush=True)
        if number == setting.rounds:
            return
        following = {"seed": seed, "algorithm": algorithm, "round": number + 1}
        later = [line for line in read(measured) if {name: line[name] for name in following} == following]
        if later:
            labelled = later[0]["labelled"]
            continue
        detector = Detector.from_checkpoint(work / "model.pth", device=setting.device)
        pool = [record for record in known if record.image_id not in set(labelled)]
        before = [record.file for record in known if record.image_id in set(labelled)]
        scores = mine(
            detector,
            [record.file for record in pool],
            algorithm,
            labelled=before,
            seed=100 * seed + number,
            batch_size=16,
        )
        labelled = [*labelled, *(pool[place].image_id for place in order_of(scores)[: setting.chosen])]


def trained(records: Sequence[ImageRecord], work: Path, seed: int, setting: Setting, earlier: Path | None) -> Path:
    """Train a model on some scenes, from random weights or from those of an earlier one; return its checkpoint."""
    shutil.rmtree(work, ignore_errors=True)
    folder = work / "data" / "train"
    for record in records:
        for path in (record.file, record.file.parents[1] / "labelTxt" / f"{record.image_id}.txt"):
            (folder / path.parent.name).mkdir(parents=True, exist_ok=True)
            os.link(path, folder / path.parent.name / path.name)
    steps, rate = (setting.steps, 1e-3) if earlier is None else (setting.round_steps, 5e-4)
    epochs = math.ceil(steps / math.ceil(len(records) / setting.batch))
    options: dict[str, Any] = {
        **{name: value for name, value in small_retinanet.SMALL.items() if not name.startswith("val_")},
        "model.backbone.base_channels": 16,
        "model.neck.in_channels": [16, 32, 64, 128],
        "model.neck.out_channels": 32,
        "model.bbox_head.in_channels": 32,
        "model.bbox_head.feat_channels": 32,
        "model.backbone.norm_eval": False,  # nothing is learnt before, so that there are no averages to keep
        "train_dataloader.batch_size": setting.batch,
        "train_cfg.max_epochs": epochs,
        "optim_wrapper.optimizer": {"type": "AdamW", "lr": rate, "weight_decay": 0.05, "_delete_": True},
        "param_scheduler": [
            {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 50},
            {"type": "CosineAnnealingLR", "T_max": epochs, "by_epoch": True, "convert_to_iter_based": True},
        ],
        "default_hooks.checkpoint.interval": epochs,
        "default_hooks.checkpoint.save_best": None,
    }
    last = train(
        small_retinanet.ZOO_NAME,
        work / "run",
        data=Data(str(work / "data"), "dota", "train", None),
        class_names=NAMES,
        image_size=setting.size,
        options=options,
        backbone="none",
        load_from=earlier,
        seed=seed,
    )
    last.replace(work / "model.pth")
    for part in ("run", "data"):
        shutil.rmtree(work / part)
    return work / "model.pth"


def scored(checkpoint: Path, test: Sequence[ImageRecord], setting: Setting) -> float:
    """Return the mean AP at IoU 0.5, by all points."""
    detector = Detector.from_checkpoint(checkpoint, device=setting.device)
    found = list(detector.predict([record.file for record in test], Views(score_threshold=0.02), batch_size=16))
    truth = Dataset(NAMES, list(test))
    return float(rbox_metrics.evaluate(truth, found, NAMES, protocol="voc", iou_thresholds=(0.5,)).to_dict()["map"])


def read(path: Path) -> list[dict[str, Any]]:
    """Return what was measured; a line that a killed run has not finished is passed over."""
    found = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def tables(lines: Sequence[dict[str, Any]], algorithms: Sequence[str], setting: Setting) -> Iterator[str]:
    """Yield the two tables, in percent."""
    values = {(line["algorithm"], line["seed"], line["round"]): 100 * line["ap"] for line in lines}
    seeds = sorted({seed for name, seed, number in values if name == "start"})
    rounds = range(1, setting.rounds + 1)
    counts = [setting.start + number * setting.chosen for number in range(setting.rounds + 1)]
    begin = [values["start", seed, 0] for seed in seeds]
    yield f"AP at IoU 0.5 on {setting.test} scenes, percent: mean of {len(seeds)} seeds (least to greatest)\n"
    yield "| ranked by | " + " | ".join(f"{count} scenes" for count in counts) + " |"
    yield "|---|" + "---:|" * len(counts)
    for name in algorithms:
        rows = [[values[name, seed, number] for seed in seeds] for number in rounds]
        yield f"| {name} | " + " | ".join(spread(row) for row in (begin, *rows)) + " |"
    others = [name for name in algorithms if name != "random"]
    if "random" not in algorithms or not others:
        return
    yield "\nDifference from random with the same start, percentage points; last, the mean over the rounds\n"
    yield "| ranked by | " + " | ".join(f"{count} scenes" for count in counts[1:]) + " | mean |"
    yield "|---|" + "---:|" * (len(counts))
    for name in others:
        rows = [[values[name, seed, n] - values["random", seed, n] for seed in seeds] for n in rounds]
        yield f"| {name} | " + " | ".join(spread(row) for row in (*rows, np.mean(rows, axis=0).tolist())) + " |"


def chosen(
    lines: Sequence[dict[str, Any]], algorithms: Sequence[str], setting: Setting, objects: dict[int, dict[str, int]]
) -> Iterator[str]:
    """Yield a table of how many objects the scenes have that were chosen in all rounds."""
    yield f"\nObjects in a scene, of the {setting.rounds * setting.chosen} that were chosen\n"
    yield "| ranked by | objects |"
    yield "|---|---:|"
    for name in algorithms:
        last = [line for line in lines if (line["algorithm"], line["round"]) == (name, setting.rounds)]
        counts = [[objects[line["seed"]][each] for each in line["labelled"][setting.start :]] for line in last]
        yield f"| {name} | {spread([statistics.mean(each) for each in counts])} |"


def spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
