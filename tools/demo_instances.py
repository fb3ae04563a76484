"""Small instance models of remote sensing, trained on synthetic scenes, beside an oriented detector.

    hatch run demo-instances

It draws scenes with the masks of what is painted. On them it trains, from random weights, a Mask R-CNN on a small
RSMamba, which is the box variant of RS4D. With its weights RSPrompter's anchor variant begins, which is RS4D's prompt
variant, with a small decoder of SAM's. This decoder first learns SAM's task, the mask of a box, and then the prompts
that RSPrompter makes of a box's features. All of them detect on held-out scenes. Beside them stands a small Rotated
RetinaNet, trained on the boxes around the same masks. One table has mask AP and the average precision of rotated boxes:
a box is the rotated rectangle around a mask, in the ground truth as in the predictions, and the mask of an oriented
detector is the inside of its box. A stopped run is resumed when the command is given again.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from demo_baseline import draw_sheet, require_same_run, retinanet, schedule, workers
from rbox_baselines.cli._common import set_up_output
from rbox_formats import Dataset, datasets, synthetic
from rbox_formats.cli import Group
from rbox_metrics import Report, evaluate_file

IMAGE_SIZE = 96
FIRST_TRAIN, FIRST_VAL = 10_000, 20_000  # seeds

LAYERS, CHANNELS, NECK, PATCH = 4, 64, 32, 8

#: RSMamba with 4 layers of 64 channels on patches of 8 px, and heads for few objects of 20 to 45 px.
SMALL: dict[str, Any] = {
    "model.backbone": {
        "_delete_": True,
        "type": "RSMamba",
        "arch": {"layers": LAYERS, "inner": 2 * CHANNELS, "channels": CHANNELS},
        "img_size": IMAGE_SIZE,
        "patch_size": PATCH,
    },
    "model.neck.feature_aggregator.in_channels": [CHANNELS] * LAYERS,
    "model.neck.feature_aggregator.select_layers": list(range(LAYERS)),
    "model.neck.feature_aggregator.out_channels": NECK,
    "model.neck.feature_spliter.backbone_channel": NECK,
    "model.neck.feature_spliter.out_channels": NECK,
    "model.neck.feature_spliter.start_level": 1,
    "model.neck.feature_spliter.num_outs": 3,
    "model.rpn_head.in_channels": NECK,
    "model.rpn_head.feat_channels": NECK,
    "model.rpn_head.anchor_generator.scales": [4],
    "model.rpn_head.anchor_generator.strides": [4, 8, 16],
    "model.roi_head.bbox_head.in_channels": NECK,
    "model.roi_head.bbox_head.fc_out_channels": 256,
    **{
        f"model.roi_head.{kind}_roi_extractor.{name}": value
        for kind in ("bbox", "mask")
        for name, value in (("out_channels", NECK), ("featmap_strides", [4, 8]), ("finest_scale", 28))
    },
    "model.train_cfg.rpn_proposal": {"nms_pre": 200, "max_per_img": 100},
    "model.train_cfg.rcnn.sampler.num": 64,
    "model.test_cfg.rpn": {"nms_pre": 200, "max_per_img": 100},
    "model.test_cfg.rcnn.max_per_img": 30,
    "optim_wrapper.optimizer.lr": 3e-3,
    "optim_wrapper.optimizer.weight_decay": 0.01,
}

#: What makes the masks: convolutions ...
MASK_RCNN: dict[str, Any] = {
    "model.roi_head.mask_head.in_channels": NECK,
    "model.roi_head.mask_head.conv_out_channels": NECK,
    "model.roi_head.mask_head.num_convs": 2,
}
#: ... or SAM's decoder, which SAM has taught nothing.
PROMPTED: dict[str, Any] = {
    "model.roi_head.extra_pe_weight": 3.0,
    "model.roi_head.mask_head.in_channels": NECK,
    "model.roi_head.mask_head.out_channels": CHANNELS,
    "model.roi_head.mask_head.stride": PATCH,
    "model.roi_head.mask_head.with_sincos": True,
    "model.roi_head.mask_head.loss_dice": {"type": "mmdet.DiceLoss", "naive_dice": True, "eps": 1.0},
    "model.roi_head.mask_head.sam": {
        "_delete_": True,
        "type": "SAMDecoder",
        "channels": CHANNELS,
        "heads": 4,
        "mlp": 4 * CHANNELS,
        "chunk": 0,
    },
}


@click.group(cls=Group, invoke_without_command=True)
@click.option("--out", type=Path, default=Path("runs/demo-instances"), show_default=True, help="The folder.")
@click.option("--scenes", type=click.IntRange(min=8), default=640, show_default=True, help="To train on.")
@click.option("--held-out", type=click.IntRange(min=1), default=64, show_default=True, help="To score on.")
@click.option("--epochs", type=click.IntRange(min=1), default=4, show_default=True, help="Over the scenes.")
def main(out: Path, scenes: int, held_out: int, epochs: int) -> None:
    """Train small instance models on synthetic scenes, and score them beside an oriented detector."""
    set_up_output()
    import torch
    from rich.console import Console

    begin = time.perf_counter()
    require_same_run(out, {"scenes": scenes, "held_out": held_out, "epochs": epochs})
    data = out / "data"
    look = replace(synthetic.TINY, size=IMAGE_SIZE, masks=True)
    for split, first, count in (("train", FIRST_TRAIN, scenes), ("val", FIRST_VAL, held_out)):
        synthetic.write_scenes(data, split, range(first, first + count), look, format="coco")
    truth = datasets.read("coco", data, "val", synthetic.CLASS_NAMES)

    def learnt(name: str, config: str, options: dict[str, Any], share: float, load_from: Path | None = None) -> Path:
        return train_on(data, config, out / name / "training", options, max(round(share * epochs), 1), load_from)

    prompted = "rsprompter-anchor-rsmamba-base"
    boxes = {**PROMPTED, "model.roi_head.mask_head.prompts": "boxes", "optim_wrapper.optimizer.lr": 5e-3}
    # Two runs at a time, a core for each: layers as small as these gain little by a second thread.
    torch.set_num_threads(1)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=begin_beside) as pool:
        oriented = pool.submit(retinanet, data, truth, out, epochs, format="coco")
        mask_rcnn = learnt("mask-rcnn", "mask-rcnn-rsmamba-base", MASK_RCNN, 1)
        by_boxes = learnt("prompted-by-boxes", prompted, boxes, 0.75, mask_rcnn)
        rsprompter = learnt("rsprompter", prompted, PROMPTED, 0.5, by_boxes)
        models = {
            "Mask R-CNN on RSMamba": mask_rcnn,
            "SAM's decoder, prompted by boxes": by_boxes,
            "RSPrompter on RSMamba": rsprompter,
        }
        found = {name: detect(checkpoint, truth) for name, checkpoint in models.items()}
        found["Rotated RetinaNet, ResNet-18"] = oriented.result()
    reports = {
        name: {
            "mask": evaluate_file(truth, path, protocol="coco", geometry="mask"),
            "rbox": evaluate_file(truth, path, protocol="voc", full=True),
        }
        for name, path in found.items()
    }
    for name, each in reports.items():
        for geometry, report in each.items():
            report.save(found[name].parent / f"report-{geometry}.json")
    draw_sheet(truth, found, {name: each["rbox"] for name, each in reports.items()}, out / "sheet.png")
    Console().print(table(reports, held_out))
    click.echo(
        f"All learnt from the same {scenes} scenes; {time.perf_counter() - begin:.0f} s in all.\n"
        f"Truth and predictions side by side: {out / 'sheet.png'}"
    )


def begin_beside() -> None:
    """Set up the process of the oriented detector, which ends with this one, also where that is killed."""
    import torch

    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)  # the command that is given again trains in the same folder

    threading.Thread(target=end_with_parent, daemon=True).start()


def train_on(
    data: Path, config: str, folder: Path, options: dict[str, Any], epochs: int, load_from: Path | None
) -> Path:
    """Train a small model, and return its last checkpoint."""
    from rbox_baselines import Data, train

    return train(
        config,
        folder,
        data=Data(str(data), "coco"),
        class_names=synthetic.CLASS_NAMES,
        image_size=IMAGE_SIZE,
        backbone="none",
        load_from=load_from,
        resume=True,
        options={**SMALL, **options, **workers(), **schedule(epochs), "train_dataloader.batch_size": 8},
    )


def detect(checkpoint: Path, truth: Dataset) -> Path:
    """Write what a model detects on the held-out scenes beside the folder of its training."""
    from rbox_baselines import Detector, predict

    paths = [record.file for record in truth]
    return predict(Detector.from_checkpoint(checkpoint), paths, checkpoint.parents[1] / "predictions.jsonl")


def table(reports: dict[str, dict[str, Report]], held_out: int) -> object:
    """Return a row for each model: mask AP, and mAP, mAP_nc and F1 of the rotated boxes."""
    from rich.table import Table

    found = Table(title=f"{held_out} held-out scenes, percent")
    found.add_column("model", no_wrap=True)
    for name in ("mask AP", "mask AP50", "box mAP50", "box F1 at 0.5"):
        found.add_column(name, justify="right")
    for name, each in reports.items():
        mask, box = each["mask"].to_dict(), each["rbox"].to_dict()
        values = (mask["map"], mask["map_50"], box["map_50"], box["sweep"]["best"]["f1_micro"]["value"])
        found.add_row(name, *(f"{100 * value:.1f}" for value in values))
    return found


if __name__ == "__main__":
    main()
