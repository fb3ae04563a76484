"""The whole loop on synthetic scenes: data, texts, fine-tuning, prediction, scores, pictures.

It starts from the small detector that comes with the package, which knows four classes in summer, and teaches it scenes
of winter with a fifth one. Every step is the one that a run on a user's own data goes through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rbox_formats import datasets, synthetic
from rbox_formats.progress import showing
from rbox_metrics import Report, evaluate_file

from lmm_detector._evaluation._pictures import visualize
from lmm_detector._model_files import SHIPPED
from lmm_detector._prediction._detector import Detector
from lmm_detector._prediction._generation import Generation
from lmm_detector._prediction._predict import predict
from lmm_detector._training._config import TrainConfig
from lmm_detector._training._run_folder import require_same_run
from lmm_detector._training._train import train

LOOK = synthetic.WINTER
FIRST_HELD_OUT = 1_000_000  # seeds of scenes; those that are trained on begin at 0
DRAWN = 16  # held-out scenes


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration made.

    Attributes:
        reports: On the held-out scenes, "before" and "after" fine-tuning.
        files: What each file or folder is, by its path, in the order of the steps.
    """

    reports: Mapping[str, Report]
    files: Mapping[Path, str]


def demo(
    out: str | Path,
    *,
    scenes: int = 512,
    held_out: int = 100,
    steps: int = 400,
    seed: int = 0,
    progress: bool = False,
) -> DemoResult:
    """Draw scenes, fine-tune the small detector on them, predict, score and draw. A stopped run is resumed.

    Args:
        out: The folder for everything.
        scenes: How many to train on.
        held_out: How many others to score on.
        steps: Training steps, each on 16 scenes.
        seed: Of the scenes and their order.
        progress: Shows progress bars on standard error.

    Returns:
        The scores and the files.
    """
    with showing(progress):
        out = Path(out)
        names = LOOK.class_names
        config = TrainConfig(
            workers=0,  # the scenes are small
            model_name_or_path=str(SHIPPED["demo"]),  # not by its name: a folder of that name goes first
            data_path=[str(out / "data")],
            split=["train"],
            class_names=list(names),
            out=str(out / "training"),
            response_format="plain",  # the text format and the order that the detector knows
            object_order="position",
            augmentation={"horizontal_flip": 0.5, "vertical_flip": 0.5, "quarter_turns": 0.75},
            window=LOOK.size,
            gap=0,
            steps=steps,
            batch_size=16,
            device_batch_size=16,
            learning_rate=2e-3,
            warmup=0.05,
            save_every=100,
            seed=seed,
        )
        require_same_run(config)  # before a scene is drawn over those of another run
        seeds = {
            "train": range(seed, seed + scenes),
            "val": range(FIRST_HELD_OUT + seed, FIRST_HELD_OUT + seed + held_out),
        }
        for split, split_seeds in seeds.items():
            synthetic.write_scenes(out / "data", split, split_seeds, LOOK)
        truth = datasets.read("dota", out / "data", "val", names)
        reports = {}
        for name, model in (("before", lambda: SHIPPED["demo"]), ("after", lambda: train(config))):
            detector = Detector.from_pretrained(model())
            path = out / name / "predictions.jsonl"
            predict(detector, [record.file for record in truth], path, generation=Generation(batch_size=32))
            reports[name] = evaluate_file(truth, path)
            reports[name].save(out / name / "report.json")
            visualize(truth, path, out / name / "pictures", limit=DRAWN)
        files = {
            "data": "the scenes, as a dataset in DOTA's format",
            "training/texts.jsonl": "the training texts",
            "training/training.png": "losses by step, where matplotlib is installed",
            "training/model": "the fine-tuned detector",
            "before": "what the detector that it began with finds in held-out scenes: predictions, scores, pictures",
            "after": "what the fine-tuned one finds there",
            "after/pictures/sheet.png": f"{min(DRAWN, held_out)} held-out scenes, right and wrong marked",
        }
        return DemoResult(reports, {out / name: text for name, text in files.items()})
