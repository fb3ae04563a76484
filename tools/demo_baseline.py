"""A small Rotated RetinaNet, trained on synthetic scenes, beside a multimodal model: the paper's comparison in small.

    hatch run demo-baseline

It draws scenes, trains a Rotated RetinaNet with a ResNet-18 on them from random weights, and scores it on held-out
scenes. Beside it stands the multimodal model of `hatch run demo`, where that has been run: it detects on the same
held-out scenes, and is scored by the same report. A stopped run goes on when the command is given again.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
from rbox_baselines._cli._common import set_up_output
from rbox_formats import Dataset, datasets, draw, images, predictions, synthetic
from rbox_formats.cli import Group, track
from rbox_metrics import Report, evaluate_file

IMAGE_SIZE = 96  # that of `lmm-detector demo`, which the multimodal model was trained on
SEEN_SIZE = 128  # what RetinaNet sees: its smallest anchors are 24 px
FIRST_TRAIN, FIRST_VAL = 10_000, 20_000  # seeds that `lmm-detector demo` does not draw
SHOWN = 6  # scenes on the sheet

# MMRotate's Rotated RetinaNet, made small; from random weights no stage is frozen and batch statistics are learnt.
MODEL = {
    "model.backbone.depth": 18,
    "model.backbone.frozen_stages": -1,
    "model.backbone.norm_eval": False,
    "model.neck.in_channels": [64, 128, 256, 512],
    "model.neck.out_channels": 128,
    "model.bbox_head.in_channels": 128,
    "model.bbox_head.feat_channels": 128,
    "model.bbox_head.stacked_convs": 2,
    "model.bbox_head.anchor_generator.octave_base_scale": 3,
}


@click.group(cls=Group, invoke_without_command=True)
@click.option("--out", type=Path, default=Path("runs/demo-baseline"), show_default=True, help="The folder.")
@click.option("--multimodal", type=Path, default=Path("runs/demo"), show_default=True, help="That of `hatch run demo`.")
@click.option("--scenes", type=click.IntRange(min=8), default=256, show_default=True, help="To train on.")
@click.option("--held-out", type=click.IntRange(min=1), default=64, show_default=True, help="To score on.")
@click.option("--epochs", type=click.IntRange(min=1), default=14, show_default=True, help="Over the scenes.")
def main(out: Path, multimodal: Path, scenes: int, held_out: int, epochs: int) -> None:
    """Train a small Rotated RetinaNet on synthetic scenes, and score it beside a multimodal model."""
    set_up_output()
    from rich.console import Console

    begin = time.perf_counter()
    data = out / "data"
    write_scenes(data, "train", range(FIRST_TRAIN, FIRST_TRAIN + scenes))
    write_scenes(data, "val", range(FIRST_VAL, FIRST_VAL + held_out))
    truth = datasets.read("dota", data, "val", synthetic.CLASS_NAMES)

    files = {"Rotated RetinaNet, ResNet-18": retinanet(data, truth, out, epochs)}
    taken = time.perf_counter() - begin
    if (multimodal / "training" / "model").is_dir():
        files["Florence-2, tiny"] = florence2(multimodal / "training" / "model", truth, out)
    reports = {name: evaluate_file(truth, path, full=True) for name, path in files.items()}
    for name, report in reports.items():
        report.save(out / files[name].parent.name / "report.json")
    draw_sheet(truth, files, reports, out / "sheet.png")

    console = Console()
    console.print(table(reports, held_out))
    click.echo(
        f"Scenes, training and detection of RetinaNet took {taken:.0f} s. Truth and detections: {out / 'sheet.png'}"
    )
    if len(files) == 1:
        click.echo("`hatch run demo` trains the multimodal model; given again, this command puts it beside.")


def write_scenes(root: Path, split: str, seeds: range) -> None:
    """A split of scenes in DOTA's format."""
    config = synthetic.SceneConfig(size=IMAGE_SIZE, max_objects=3, min_scale=0.21, max_scale=0.47)
    records = []
    for seed in track(seeds, f"drawing {split} scenes"):
        image, record = synthetic.scene(seed, config)
        path = root / split / "images" / f"{record.image_id}.png"
        if not path.is_file():
            from PIL import Image

            draw.save(Image.fromarray(image), path)
        records.append(record)
    datasets.write("dota", records, root, split, synthetic.CLASS_NAMES)


def retinanet(data: Path, truth: Dataset, out: Path, epochs: int) -> Path:
    """Trains it, and writes what it detects on the held-out scenes."""
    from rbox_baselines import Data, Detector, predict, train

    last = train(
        "rotated-retinanet-rbox-le90_r50_fpn_1x_dota",
        out / "training",
        data=Data(str(data)),
        class_names=synthetic.CLASS_NAMES,
        image_size=SEEN_SIZE,
        backbone="none",
        resume=True,
        options={
            **MODEL,
            "train_dataloader.batch_size": 8,
            "train_dataloader.num_workers": 0,
            "train_dataloader.persistent_workers": False,
            "val_dataloader.num_workers": 0,
            "val_dataloader.persistent_workers": False,
            "train_cfg.max_epochs": epochs,
            "train_cfg.val_interval": epochs,
            "default_hooks.logger.interval": 10,
            "optim_wrapper.optimizer": {"_delete_": True, "type": "AdamW", "lr": 1e-3, "weight_decay": 1e-4},
            "param_scheduler": [
                {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 50},
                {
                    "type": "CosineAnnealingLR",
                    "eta_min": 1e-5,
                    "by_epoch": True,
                    "T_max": epochs,
                    "convert_to_iter_based": True,
                },
            ],
        },
    )
    paths = [record.file for record in truth]
    return predict(Detector.from_checkpoint(last), paths, out / "retinanet" / "predictions.jsonl", batch_size=8)


def florence2(model: Path, truth: Dataset, out: Path) -> Path:
    """Writes what the multimodal model of `lmm-detector demo` detects on the held-out scenes."""
    from lmm_detector import Detector, Generation, predict

    paths = [record.file for record in truth]
    generation = Generation(max_new_tokens=128, batch_size=16)
    return predict(
        Detector.from_pretrained(str(model)), paths, out / "florence2" / "predictions.jsonl", generation=generation
    )


def best_threshold(report: Report) -> float:
    """The score from which detections have the best F1."""
    return float(report.to_dict()["sweep"]["best"]["f1_micro"]["threshold"])


def table(reports: dict[str, Report], held_out: int) -> object:
    """A row for each model: mAP by its scores, then mAP_nc and F1 of all that scores at least what suits them best."""
    from rich.table import Table

    found = Table(title=f"{held_out} held-out scenes, IoU 0.5, percent")
    found.add_column("model", no_wrap=True)
    for name in ("mAP", "mAP_nc", "from score", "F1", "from score"):
        found.add_column(name, justify="right")
    for name, report in reports.items():
        figures = report.to_dict()
        best = [figures["sweep"]["best"][key] for key in ("map_nc", "f1_micro")]
        parts = [part for each in best for part in (f"{100 * each['value']:.1f}", f"{each['threshold']:.2f}")]
        found.add_row(name, f"{100 * figures['map_50']:.1f}", *parts)
    return found


def draw_sheet(truth: Dataset, files: dict[str, Path], reports: dict[str, Report], path: Path) -> None:
    """Truth, and beside it each model's detections from its best score on, scene by scene."""
    found = {
        name: {
            record.image_id: record.select(record.scores >= best_threshold(reports[name]))
            for record in predictions.read(file)
            if record.scores is not None
        }
        for name, file in files.items()
    }
    pages = [
        draw.panels(
            images.load(record.file),
            {"truth": record, **{name: by_id[record.image_id] for name, by_id in found.items()}},
            truth.class_names,
            min_side=288,
        )
        for record in list(truth)[:SHOWN]
    ]
    draw.save(draw.contact_sheet(pages, max_cell=None), path)


if __name__ == "__main__":
    main()
