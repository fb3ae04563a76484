"""The whole loop on synthetic scenes: data, texts, fine-tuning, prediction, scores, pictures.

Every step is the one that a run on a user's own data goes through.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rbox_formats import codecs, datasets, synthetic
from rbox_formats.progress import showing
from rbox_metrics import Report, evaluate_file

from lmm_detector._demo._tiny import IMAGE_SIZE, save_tiny_florence2
from lmm_detector._evaluation._pictures import visualize
from lmm_detector._prediction._detector import Detector
from lmm_detector._prediction._generation import Generation
from lmm_detector._prediction._predict import predict
from lmm_detector._training._config import TrainConfig
from lmm_detector._training._run_folder import require_same_run
from lmm_detector._training._train import train


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration made.

    Attributes:
        reports: By split, "train" and "val".
        files: What each file or folder is, by its path, in the order of the steps.
    """

    reports: Mapping[str, Report]
    files: Mapping[Path, str]


def demo(out: str | Path, *, scenes: int = 16, steps: int = 400, seed: int = 0, progress: bool = False) -> DemoResult:
    """Draws scenes, trains a tiny random Florence-2 on them, predicts, scores and draws. A stopped run goes on.

    Args:
        out: The folder for everything.
        scenes: How many to train on; as many others are held out.
        steps: Training steps, each on all scenes.
        seed: Of scenes, weights and order.
        progress: Shows progress bars on standard error.

    Returns:
        The scores and the files.
    """
    with showing(progress):
        out = Path(out)
        names = synthetic.CLASS_NAMES
        codec = codecs.get("florence2", version=2)
        seeds = {"train": range(seed, seed + scenes), "val": range(seed + scenes, seed + 2 * scenes)}
        start = out / "start"
        config = TrainConfig(
            workers=0,  # the scenes are small
            model_name_or_path=str(start),
            data_path=[str(out / "data")],
            split=["train"],
            class_names=list(names),
            out=str(out / "training"),
            window=IMAGE_SIZE,
            gap=0,
            steps=steps,
            batch_size=scenes,
            device_batch_size=scenes,
            learning_rate=1e-3,
            schedule="constant",
            warmup=0.0,
            save_every=100,
            seed=seed,
        )
        require_same_run(config)  # before a scene is drawn over those of another run
        for split, split_seeds in seeds.items():
            synthetic.write_scenes(out / "data", split, split_seeds, replace(synthetic.TINY, size=IMAGE_SIZE))
        if not (start / "processor_config.json").is_file():  # the last file that it writes
            save_tiny_florence2(start, names, codec, seed=seed)

        detector = Detector.from_pretrained(train(config))
        files = {
            out / "data": "the scenes, as a dataset in DOTA's format",
            start: "the random model that training starts from",
            out / "training" / "texts.jsonl": "the training texts",
            out / "training" / "losses.jsonl": "the losses",
            out / "training" / "model": "the trained detector",
        }
        reports = {}
        for split in seeds:
            truth = datasets.read("dota", out / "data", split, names)
            folder = out / split
            paths = [record.file for record in truth]
            predict(
                detector,
                paths,
                folder / "predictions.jsonl",
                generation=Generation(max_new_tokens=128, batch_size=scenes),
            )
            reports[split] = evaluate_file(truth, folder / "predictions.jsonl")
            reports[split].save(folder / "report.json")
            visualize(truth, folder / "predictions.jsonl", folder / "pictures")
            files[folder / "predictions.jsonl"] = f"what it detects on the {split} scenes"
            files[folder / "report.json"] = "its scores"
            files[folder / "pictures"] = "truth beside predictions, a picture for each scene"
            files[folder / "pictures" / "sheet.png"] = "all of them on one sheet"
        return DemoResult(reports, files)
