"""A small Rotated RetinaNet, trained on synthetic scenes, beside a multimodal model: the paper's comparison in small.

    hatch run demo-baseline

It draws scenes, trains a Rotated RetinaNet with a ResNet-18 on them from random weights, and scores it on held-out
scenes. Beside it stands the small Florence-2 that comes with lmm-detector, trained on other scenes: it detects on the
same held-out ones, and is scored by the same report. A stopped run is resumed when the command is given again.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import click
from rbox_baselines.cli._common import set_up_output
from rbox_formats import Dataset, datasets, draw, files, images, predictions, synthetic
from rbox_formats.cli import Group
from rbox_metrics import Report, evaluate_file

IMAGE_SIZE = 96  # which the multimodal model was trained on
SEEN_SIZE = 128  # what RetinaNet sees: its smallest anchors are 24 px
FIRST_TRAIN, FIRST_VAL = 10_000, 20_000  # seeds
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
@click.option(
    "--multimodal", default="demo", show_default=True, help="A detector of lmm-detector's: its folder or name."
)
@click.option("--scenes", type=click.IntRange(min=8), default=512, show_default=True, help="To train on.")
@click.option("--held-out", type=click.IntRange(min=1), default=64, show_default=True, help="To score on.")
@click.option("--epochs", type=click.IntRange(min=1), default=8, show_default=True, help="Over the scenes.")
def main(out: Path, multimodal: str, scenes: int, held_out: int, epochs: int) -> None:
    """Train a small Rotated RetinaNet on synthetic scenes, and score it beside a multimodal model."""
    set_up_output()
    from rich.console import Console

    begin = time.perf_counter()
    require_same_run(out, {"scenes": scenes, "held_out": held_out, "epochs": epochs})
    data = out / "data"
    look = replace(synthetic.TINY, size=IMAGE_SIZE)
    synthetic.write_scenes(data, "train", range(FIRST_TRAIN, FIRST_TRAIN + scenes), look)
    synthetic.write_scenes(data, "val", range(FIRST_VAL, FIRST_VAL + held_out), look)
    truth = datasets.read("dota", data, "val", synthetic.CLASS_NAMES)

    found = {"Rotated RetinaNet, ResNet-18": retinanet(data, truth, out, epochs)}
    taken = time.perf_counter() - begin
    found["Florence-2, small"] = florence2(multimodal, truth, out)
    reports = {name: evaluate_file(truth, path, full=True) for name, path in found.items()}
    for name, report in reports.items():
        report.save(out / found[name].parent.name / "report.json")
    draw_sheet(truth, found, reports, out / "sheet.png")

    console = Console()
    console.print(table(reports, held_out))
    click.echo(
        f"RetinaNet learnt from {scenes} scenes, in {taken:.0f} s with drawing and detecting; the small Florence-2 "
        f"from 40,000 of more variety, in hours.\nTruth and detections side by side: {out / 'sheet.png'}"
    )


def require_same_run(out: Path, settings: dict[str, int]) -> None:
    """Return a folder belongs to one run: what it holds is gone on with."""
    path = out / "settings.json"
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != settings:
        raise click.BadParameter(f"expected a folder of the same settings, got {path.read_text()}", param_hint="--out")
    files.write_text(path, json.dumps(settings))


def retinanet(data: Path, truth: Dataset, out: Path, epochs: int, *, format: str = "dota") -> Path:
    """Train the model, and write what it detects on the held-out scenes."""
    from rbox_baselines import Data, Detector, predict, train

    last = train(
        "rotated-retinanet-rbox-le90_r50_fpn_1x_dota",
        out / "training" if format == "dota" else out / "retinanet" / "training",
        data=Data(str(data), format),
        class_names=synthetic.CLASS_NAMES,
        image_size=SEEN_SIZE,
        backbone="none",
        resume=True,
        options={
            **MODEL,
            **workers(),
            **schedule(epochs),
            "train_dataloader.batch_size": 8,
            "optim_wrapper.optimizer": {"_delete_": True, "type": "AdamW", "lr": 1e-3, "weight_decay": 1e-4},
        },
    )
    paths = [record.file for record in truth]
    return predict(Detector.from_checkpoint(last), paths, out / "retinanet" / "predictions.jsonl")


def workers() -> dict[str, object]:
    """Return settings that read the few small images in the process that learns."""
    kinds = ("train", "val", "test")
    return {
        **{f"{kind}_dataloader.num_workers": 0 for kind in kinds},
        **{f"{kind}_dataloader.persistent_workers": False for kind in kinds},
    }


def schedule(epochs: int) -> dict[str, object]:
    """Return the settings of a run that is scored once, at its end, and whose learning rate falls to almost 0."""
    return {
        "train_cfg.max_epochs": epochs,
        "train_cfg.val_interval": epochs,
        "default_hooks.logger.interval": 10,
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
    }


def florence2(model: str, truth: Dataset, out: Path) -> Path:
    """Write what the multimodal model detects on the held-out scenes."""
    from lmm_detector import Detector, Generation, predict

    detector = Detector.from_pretrained(model)
    path = out / "florence2" / "predictions.jsonl"
    return predict(detector, [record.file for record in truth], path, generation=Generation(batch_size=16))


def best_threshold(report: Report) -> float:
    """Return the score from which detections have the best F1."""
    return float(report.to_dict()["sweep"]["best"]["f1_micro"]["threshold"])


def table(reports: dict[str, Report], held_out: int) -> object:
    """Return a row for each model: mAP by its scores, then mAP_nc and F1 at the score threshold that suits it best."""
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
    """Draw the ground truth, and beside it each model's detections from its best score on, scene by scene."""
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
