"""What a small RSMamba learns from a small teacher of SAM's shape, on synthetic scenes, and what detectors gain by it.

    OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE python benchmarks/distillation.py [--loss l2] [--teacher random]

The teacher is a SamModel of 2 layers and 16 channels, which sees images of 64 px in patches of 8 px. It first learns
SAM's task: the mask of an object, prompted by its box. With `--teacher random` it has random weights. Then they stay.
The student is an RSMamba of 4 layers.

The first table has the loss, by default the mean absolute difference of maps, on scenes that were held out, without
corruption: at the start; of the mean of the teacher's maps over all other scenes, which is what one learns who does not
look at the image; and at the end. The second has the mask AP of a small Mask R-CNN on the student after equal steps on
few scenes, from distilled weights of the backbone and from random ones.
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
from typing import Any, get_args

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from rbox_baselines import Data, Detector, Distillation, FeatureLoss, distill, predict, train
from rbox_baselines._distillation import _distill
from rbox_baselines._distillation._models import difference, load_teacher
from rbox_formats import ImageRecord, datasets, images, synthetic
from rbox_metrics import evaluate_file
from rbox_testing import tiny_sam
from torch.nn import functional
from transformers import SamModel
from transformers.utils import logging

SIDE, LAYERS, CHANNELS, NECK = 64, 4, 64, 32
LOOK = replace(synthetic.TINY, size=SIDE, masks=True)
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])

STUDENT = {
    "model.backbone": {
        "_delete_": True,
        "type": "RSMamba",
        "arch": {"layers": LAYERS, "inner": 2 * CHANNELS, "channels": CHANNELS},
        "img_size": SIDE,
        "patch_size": 8,
    }
}

#: Mask R-CNN with narrow layers, and strides of 4, 8 and 16 px.
DETECTOR: dict[str, Any] = {
    **STUDENT,
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
    "model.roi_head.bbox_head.fc_out_channels": 128,
    "model.roi_head.bbox_roi_extractor.out_channels": NECK,
    "model.roi_head.bbox_roi_extractor.featmap_strides": [4, 8],
    "model.roi_head.bbox_roi_extractor.finest_scale": 28,
    "model.roi_head.mask_roi_extractor.out_channels": NECK,
    "model.roi_head.mask_roi_extractor.featmap_strides": [4, 8],
    "model.roi_head.mask_roi_extractor.finest_scale": 28,
    "model.roi_head.mask_head.in_channels": NECK,
    "model.roi_head.mask_head.conv_out_channels": NECK,
    "model.roi_head.mask_head.num_convs": 2,
    "model.train_cfg.rpn_proposal": {"nms_pre": 100, "max_per_img": 50},
    "model.train_cfg.rcnn.sampler.num": 32,
    "model.test_cfg.rpn": {"nms_pre": 100, "max_per_img": 50},
    "model.test_cfg.rcnn.max_per_img": 20,
    "optim_wrapper.optimizer.lr": 2e-3,
    "optim_wrapper.optimizer.weight_decay": 0.01,
    "train_dataloader.batch_size": 8,
    **{f"{kind}_dataloader.num_workers": 0 for kind in ("train", "val", "test")},
    **{f"{kind}_dataloader.persistent_workers": False for kind in ("train", "val", "test")},
}


def teach(folder: Path, records: list[ImageRecord], paths: list[Path], steps: int) -> float:
    """Train a SAM on masks, each prompted by the upright box around it; return the last steps' mean IoU with them."""
    torch.manual_seed(0)
    model = SamModel.from_pretrained(folder)
    pixels = torch.stack([torch.from_numpy((images.load(path) - MEAN) / STD).permute(2, 0, 1) for path in paths])
    masks = [torch.stack([torch.from_numpy(mask.to_array(SIDE, SIDE)) for mask in r.masks or ()]) for r in records]
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    generator, found = torch.Generator().manual_seed(0), []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1.0, (step + 1) / 50, (steps - step) / steps * 2)
        chosen = torch.randperm(len(records), generator=generator)[:16]
        # One object of each image, for prompts of one shape.
        picked = [int(torch.randint(len(masks[i]), (), generator=generator)) for i in chosen]
        targets = torch.stack([masks[i][number] for i, number in zip(chosen, picked, strict=True)]).float()
        boxes = torch.stack([_around(each) for each in targets])[:, None]
        logits = model(pixel_values=pixels[chosen].float(), input_boxes=boxes, multimask_output=False).pred_masks
        logits = functional.interpolate(logits[:, 0], (SIDE, SIDE), mode="bilinear")[:, 0]
        shares, both = logits.sigmoid(), targets.sum((1, 2))
        dice = 1 - (2 * (shares * targets).sum((1, 2)) + 1) / (shares.sum((1, 2)) + both + 1)
        loss = functional.binary_cross_entropy_with_logits(logits, targets) + dice.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        inside = (logits > 0) & (targets > 0)
        found.append(float((inside.sum((1, 2)) / ((logits > 0) | (targets > 0)).sum((1, 2))).mean()))
    model.save_pretrained(folder)
    return statistics.fmean(found[-20:])


def _around(mask: torch.Tensor) -> torch.Tensor:
    rows, columns = torch.nonzero(mask, as_tuple=True)
    return torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()


def of_the_mean_map(teacher: Path, paths: list[Path], settings: Distillation) -> float:
    """Return the loss of the mean of the training images' maps on the images held out."""
    model = load_teacher(teacher, "cpu")
    run = object.__new__(_distill._Run)
    run._side, run._device = SIDE, "cpu"
    learnt, held_out = (
        model(*run._stacked([run._open(path) for path in part]), [])[0] for part in _distill._split(paths, settings)
    )
    mean = learnt.mean(0, keepdim=True).expand_as(held_out)
    return float(difference([mean], [held_out], torch.ones(len(held_out), 1, SIDE, SIDE), settings))


def mask_ap(data: Path, out: Path, backbone: str, seed: int, epochs: int) -> float:
    """Return the mask AP, in percent, of a detector that begins with a backbone's weights."""
    truth = datasets.read("coco", data, "val", synthetic.CLASS_NAMES)
    last = train(
        "mask-rcnn-rsmamba-base",
        out,
        data=Data(str(data), "coco"),
        class_names=synthetic.CLASS_NAMES,
        image_size=SIDE,
        backbone=backbone,
        seed=seed,
        options={
            **DETECTOR,
            "train_cfg.max_epochs": epochs,
            "train_cfg.val_interval": epochs + 1,
            "param_scheduler": [
                {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 20},
                {"type": "CosineAnnealingLR", "T_max": epochs, "convert_to_iter_based": True},
            ],
        },
    )
    found = predict(Detector.from_checkpoint(last), [record.file for record in truth], out / "predictions.jsonl")
    return 100 * evaluate_file(truth, found, protocol="coco", geometry="mask").to_dict()["map"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", choices=("taught", "random"), default="taught")
    parser.add_argument("--teacher-steps", type=int, default=400)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--loss", choices=get_args(FeatureLoss), default="l1")
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scenes", type=int, default=2000, help="to distil on, 100 of them held out")
    parser.add_argument("--labelled", type=int, default=64, help="scenes that the detectors learn from")
    parser.add_argument("--epochs", type=int, default=15, help="of the detectors")
    parser.add_argument("--no-masks", action="store_true", help="without the second table")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        records = synthetic.write_scenes(root / "scenes", "train", range(options.scenes), LOOK)
        paths = sorted((root / "scenes").rglob("*.png"))
        tiny_sam.save(root / "sam", patch_size=8, window_size=4, with_decoder=True)
        if options.teacher == "taught":
            print(f"the teacher's masks: mean IoU {teach(root / 'sam', records, paths, options.teacher_steps):.2f}\n")
        print("| seed | at the start | the mean map | at the end | times smaller | images/s |")
        print("|---:|---:|---:|---:|---:|---:|")
        for seed in range(options.seeds):
            settings = Distillation(
                steps=options.steps,
                learning_rate=options.learning_rate,
                weight_decay=0.01,
                loss=options.loss,
                schedule="linear",
                held_out=100,
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
                distill("mask-rcnn-rsmamba-base", root / "sam", paths, out, these, options=STUDENT, device="cpu")
                found.append([json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()])
            start, end = (next(line["held_out_loss"] for line in lines if "held_out_loss" in line) for lines in found)
            speed = statistics.median(line["images_per_second"] for line in found[1] if "loss" in line)
            mean = of_the_mean_map(root / "sam", paths, settings)
            print(f"| {seed} | {start:.4f} | {mean:.4f} | {end:.4f} | {start / end:.1f} | {speed:.0f} |", flush=True)
        if options.no_masks:
            return
        for split, first, count in (("train", 10_000, options.labelled), ("val", 20_000, 100)):
            synthetic.write_scenes(root / "data", split, range(first, first + count), LOOK, format="coco")
        print("\n| seed | mask AP from random | mask AP from distilled |\n|---:|---:|---:|")
        rows = []
        for seed in range(options.seeds):
            begins = {"random": "none", "distilled": str(root / f"run-{seed}" / "backbone.pth")}
            rows.append(
                [
                    mask_ap(root / "data", root / f"{name}-{seed}", backbone, seed, options.epochs)
                    for name, backbone in begins.items()
                ]
            )
            print(f"| {seed} | {rows[-1][0]:.1f} | {rows[-1][1]:.1f} |", flush=True)
        if len(rows) > 1:
            columns = list(zip(*rows, strict=True))
            texts = [f"{statistics.fmean(each):.1f} +- {statistics.stdev(each):.1f}" for each in columns]
            print(f"| mean | {texts[0]} | {texts[1]} |")


if __name__ == "__main__":
    main()
