"""Two small instance models of remote sensing, trained on synthetic scenes, beside an oriented detector.

    hatch run demo-instances

It draws scenes with the masks of what is painted. On them it trains, from random weights, a Mask R-CNN on a small
RSMamba, which is the box variant of RS4D, and RSPrompter's anchor variant, which is its prompt variant, with a small
decoder of SAM's. Both detect on held-out scenes. Beside them stands a small Rotated RetinaNet, trained on the boxes
around the same masks. One table has mask AP and the average precision of rotated boxes: a box is the rotated rectangle
around a mask, in the ground truth as in the predictions, and the mask of an oriented detector is the inside of its box.
A stopped run is resumed when the command is given again.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from demo_baseline import draw_sheet, require_same_run, retinanet, schedule, workers
from rbox_baselines.cli._common import set_up_output
from rbox_formats import Dataset, datasets, synthetic
from rbox_formats.cli import Group
from rbox_metrics import Report, evaluate_file

IMAGE_SIZE, SEEN_SIZE = 96, 128
FIRST_TRAIN, FIRST_VAL = 10_000, 20_000  # seeds

LAYERS, CHANNELS, NECK = 4, 64, 64

#: RSMamba with 4 layers of 64 channels, and heads for few objects of 27 to 60 px.
SMALL: dict[str, Any] = {
    "model.backbone": {
        "_delete_": True,
        "type": "RSMamba",
        "arch": {"layers": LAYERS, "inner": 2 * CHANNELS, "channels": CHANNELS},
        "img_size": SEEN_SIZE,
    },
    "model.neck.feature_aggregator.in_channels": [CHANNELS] * LAYERS,
    "model.neck.feature_aggregator.select_layers": list(range(LAYERS)),
    "model.neck.feature_aggregator.out_channels": NECK,
    "model.neck.feature_spliter.backbone_channel": NECK,
    "model.neck.feature_spliter.out_channels": NECK,
    "model.rpn_head.in_channels": NECK,
    "model.rpn_head.feat_channels": NECK,
    "model.rpn_head.anchor_generator.scales": [4],
    "model.roi_head.bbox_head.in_channels": NECK,
    "model.roi_head.bbox_head.fc_out_channels": 256,
    "model.roi_head.bbox_roi_extractor.out_channels": NECK,
    "model.roi_head.mask_roi_extractor.out_channels": NECK,
    "model.train_cfg.rpn_proposal": {"nms_pre": 200, "max_per_img": 100},
    "model.train_cfg.rcnn.sampler.num": 64,
    "model.test_cfg.rpn": {"nms_pre": 200, "max_per_img": 100},
    "model.test_cfg.rcnn.max_per_img": 30,
    "optim_wrapper.optimizer.lr": 3e-3,
    "optim_wrapper.optimizer.weight_decay": 0.01,
}

#: The heads' masks: convolutions, or prompts for SAM's decoder.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "Mask R-CNN on RSMamba": (
        "mask-rcnn-rsmamba-base",
        {
            "model.roi_head.mask_head.in_channels": NECK,
            "model.roi_head.mask_head.conv_out_channels": NECK,
            "model.roi_head.mask_head.num_convs": 2,
        },
    ),
    "RSPrompter on RSMamba": (
        "rsprompter-anchor-rsmamba-base",
        {
            "model.roi_head.mask_head.in_channels": NECK,
            "model.roi_head.mask_head.out_channels": CHANNELS,
            "model.roi_head.mask_head.sam": {
                "_delete_": True,
                "type": "SAMDecoder",
                "channels": CHANNELS,
                "heads": 4,
                "mlp": 4 * CHANNELS,
                "chunk": 0,
            },
            # SAM has taught this decoder nothing.
            "model.roi_head.mask_head.loss_dice": {"type": "mmdet.DiceLoss", "naive_dice": True, "eps": 1.0},
        },
    ),
}


@click.group(cls=Group, invoke_without_command=True)
@click.option("--out", type=Path, default=Path("runs/demo-instances"), show_default=True, help="The folder.")
@click.option("--scenes", type=click.IntRange(min=8), default=512, show_default=True, help="To train on.")
@click.option("--held-out", type=click.IntRange(min=1), default=64, show_default=True, help="To score on.")
@click.option("--epochs", type=click.IntRange(min=1), default=10, show_default=True, help="Over the scenes.")
def main(out: Path, scenes: int, held_out: int, epochs: int) -> None:
    """Train two small instance models on synthetic scenes, and score them beside an oriented detector."""
    set_up_output()
    from rich.console import Console

    begin = time.perf_counter()
    require_same_run(out, {"scenes": scenes, "held_out": held_out, "epochs": epochs})
    data = out / "data"
    look = replace(synthetic.TINY, size=IMAGE_SIZE, masks=True)
    for split, first, count in (("train", FIRST_TRAIN, scenes), ("val", FIRST_VAL, held_out)):
        synthetic.write_scenes(data, split, range(first, first + count), look, format="coco")
    truth = datasets.read("coco", data, "val", synthetic.CLASS_NAMES)

    found = {name: instances(name, data, truth, out, epochs) for name in MODELS}
    found["Rotated RetinaNet, ResNet-18"] = retinanet(data, truth, out, max(epochs // 2, 1), format="coco")
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


def instances(name: str, data: Path, truth: Dataset, out: Path, epochs: int) -> Path:
    """Train one of `MODELS`, and write what it detects on the held-out scenes."""
    from rbox_baselines import Data, Detector, predict, train

    config, options = MODELS[name]
    folder = out / config.partition("-rsmamba")[0]
    last = train(
        config,
        folder / "training",
        data=Data(str(data), "coco"),
        class_names=synthetic.CLASS_NAMES,
        image_size=SEEN_SIZE,
        backbone="none",
        resume=True,
        options={**SMALL, **options, **workers(), **schedule(epochs), "train_dataloader.batch_size": 8},
    )
    return predict(Detector.from_checkpoint(last), [record.file for record in truth], folder / "predictions.jsonl")


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
