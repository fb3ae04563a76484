"""Every command that writes, with arguments that it does its work with, on small inputs that are made on the spot.

Commands run in a folder in which `in` holds the inputs; what they write is in the folder itself.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rbox_formats import synthetic

NAMES = synthetic.CLASS_NAMES
_TRUTH = ("--data", "in/scenes", "--split", "val", "--predictions", "in/predictions.jsonl")
_VAL = ("--data", "in/scenes", "--split", "val")


@dataclass(frozen=True)
class Writing:
    """A command that writes.

    Attributes:
        words: It, and its arguments.
        outputs: What it writes, in the folder where it runs.
        needs: Which inputs, of `make_inputs`; None: more than is made here.
    """

    words: tuple[str, ...]
    outputs: tuple[str, ...]
    needs: str | None = "data"

    @property
    def module(self) -> str:
        """The package of the command."""
        return self.words[0].replace("-", "_")


def _writing(line: str, *outputs: str, needs: str | None = "data") -> Writing:
    words = line.replace("TRUTH", " ".join(_TRUTH)).replace("VAL", " ".join(_VAL)).split()
    return Writing(tuple(words), outputs, needs)


_SMALL = (
    "--image-size 64 --backbone none --cfg-options train_cfg.max_epochs=2 --cfg-options model.backbone.depth=18 "
    "--cfg-options model.backbone.frozen_stages=-1 --cfg-options model.backbone.base_channels=8 "
    "--cfg-options model.neck.in_channels=[8,16,32,64] --cfg-options model.neck.out_channels=16 "
    "--cfg-options model.bbox_head.in_channels=16 --cfg-options model.bbox_head.feat_channels=16 "
    "--cfg-options model.bbox_head.stacked_convs=1"
)
_RETINANET = "rotated-retinanet-rbox-le90_r50_fpn_1x_dota"
_CLASSES = f"--class-names {','.join(NAMES)}"
_ONE_WORKER = "".join(
    f" --cfg-options {part}_dataloader.num_workers=1 --cfg-options {part}_dataloader.persistent_workers=true"
    for part in ("train", "val")
)
_STUDENT = (
    '--cfg-options model.backbone={"_delete_":true,"type":"RSMamba","arch":{"layers":1,"inner":16,"channels":16},'
    '"img_size":64}'
)
_LMM_TRAIN = (
    f"lmm-detector train --model in/florence2 --data in/scenes --split train {_CLASSES} --window 96 --gap 0 --steps 6 "
    "--batch-size 3 --device-batch-size 3 --learning-rate 1e-3 --save-every 2 --log-every 1 --cpu --workers 1"
)

WRITING = {
    "formats convert": _writing("rbox-formats convert VAL --to yolo-obb --images copy --out out", "out"),
    "formats split": _writing("rbox-formats split VAL --window 40 --workers 2 --out out", "out"),
    "formats shards": _writing("rbox-formats shards VAL --window 64 --shard-windows 2 --out out.jsonl", "out.jsonl"),
    "formats inspect": _writing("rbox-formats inspect VAL --out out", "out"),
    "formats encode": _writing("rbox-formats encode VAL --out out.jsonl", "out.jsonl"),
    "formats decode": _writing(f"rbox-formats decode in/texts.jsonl {_CLASSES} --out out.jsonl", "out.jsonl"),
    "metrics evaluate": _writing(
        "rbox-metrics evaluate TRUTH --out out.json --out out.md --plots plots --dota-submission dota.zip "
        "--fair1m-submission fair1m.zip",
        *("out.json", "out.md", "plots", "dota.zip", "fair1m.zip"),
    ),
    "metrics compare": _writing(
        "rbox-metrics compare TRUTH --other in/predictions.jsonl --resamples 9 --out out.csv", "out.csv"
    ),
    "metrics confusion": _writing("rbox-metrics confusion TRUTH --out out.json", "out.json"),
    "metrics sweep": _writing("rbox-metrics sweep TRUTH --out out.json --out out.md", "out.json", "out.md"),
    "metrics merge": _writing("rbox-metrics merge --predictions in/windows.jsonl --out out.jsonl", "out.jsonl"),
    "metrics rank-images": _writing(
        "rbox-metrics rank-images --predictions in/predictions.jsonl --algorithm margin --out out.csv", "out.csv"
    ),
    "metrics plot": _writing("rbox-metrics plot in/report.json --out plots", "plots"),
    "lmm visualize": _writing("lmm-detector visualize VAL --predictions in/predictions.jsonl --out out", "out"),
    "lmm train": _writing(f"{_LMM_TRAIN} --out out", "out", needs="lmm"),
    "lmm predict": _writing(
        "lmm-detector predict --model in/detector VAL --device cpu --batch-size 2 --max-new-tokens 30 --out out.jsonl "
        "--geojson map.geojson --pictures pictures",
        *("out.jsonl", "map.geojson", "pictures"),
        needs="lmm",
    ),
    "lmm evaluate": _writing(
        "lmm-detector evaluate --model in/detector VAL --device cpu --max-new-tokens 20 --out out --plots plots "
        "--pictures pictures",
        *("out", "plots", "pictures"),
        needs="lmm",
    ),
    "lmm demo": _writing("lmm-detector demo --scenes 2 --steps 2 --out out", "out", needs="lmm"),
    "lmm convert": _writing("lmm-detector convert in/microsoft out", "out", needs=None),
    "lmm merge": _writing("lmm-detector merge in/adapters out", "out", needs=None),
    "baselines train": _writing(
        f"rbox-baselines train {_RETINANET} --data in/scenes {_CLASSES} {_SMALL}{_ONE_WORKER} --out out",
        *("out",),
        needs="baselines",
    ),
    "baselines distill": _writing(
        "rbox-baselines distill oriented-rcnn-rsmamba-base VAL --teacher in/epoch_0.pth --image-size 64 --device cpu "
        f"--corrupt image --steps 6 --batch-size 2 --held-out 1 --save-every 2 {_STUDENT} --out out",
        *("out",),
        needs="baselines",
    ),
    "baselines predict": _writing(
        "rbox-baselines predict --model in/epoch_0.pth VAL --window 64 --gap 16 --score-threshold 0 "
        "--out out.jsonl --geojson map.geojson --pictures pictures",
        *("out.jsonl", "map.geojson", "pictures"),
        needs="baselines",
    ),
    "baselines evaluate": _writing(
        "rbox-baselines evaluate --model in/epoch_0.pth VAL --predictions out.jsonl --out out.json --plots plots",
        *("out.jsonl", "out.json", "plots"),
        needs="baselines",
    ),
    "baselines results": _writing(
        f"rbox-baselines results in/results.pkl VAL {_CLASSES} --out out.jsonl --out out.md --plots plots",
        *("out.jsonl", "out.md", "plots"),
    ),
    "baselines info": _writing(
        f"rbox-baselines info {_RETINANET} --input-size 64x64 --rounds 1 --out out.json", "out.json", needs="baselines"
    ),
    "baselines publish": _writing(
        "rbox-baselines publish in/epoch_0.pth --out out", "out/epoch_0.pth", needs="baselines"
    ),
    "baselines convert": _writing(
        "rbox-baselines convert in/rs4d.pth mask-rcnn-rsmamba-base --out out.pth", "out.pth", needs=None
    ),
    "baselines export": _writing("rbox-baselines export in/epoch_0.pth --out out.onnx", "out.onnx", needs="baselines"),
    "baselines curves": _writing("rbox-baselines curves in/run --out out.png --out out.csv", "out.png", "out.csv"),
    "baselines browse": _writing(
        f"rbox-baselines browse {_RETINANET} VAL {_CLASSES} --limit 2 --out out", "out", needs="baselines"
    ),
}
"""By the package and the name of the command."""


def make_inputs(folder: Path, kinds: Sequence[str] = ("data",), *, scenes: int = 3) -> Path:
    """Write the inputs of commands.

    Args:
        folder: The folder to write to, which the commands know as `in`.
        kinds: What they need: "data", with "lmm" a tiny model and a detector, with "baselines" a small checkpoint.
        scenes: How many in the validation split; twice as many in the other.

    Returns:
        The folder.
    """
    from rbox_formats import codecs, datasets, predictions
    from rbox_metrics import evaluate_file

    folder.mkdir(parents=True, exist_ok=True)
    config = replace(synthetic.TINY, size=96)
    synthetic.write_scenes(folder / "scenes", "train", range(2 * scenes), config)
    synthetic.write_scenes(folder / "scenes", "val", range(100, 100 + scenes), config)
    truth = datasets.read("dota", folder / "scenes", "val", NAMES)
    header = predictions.Header(truth.class_names, "sha256:0")
    codec = codecs.get("florence2")
    with (
        predictions.Writer(folder / "predictions.jsonl", header) as whole,
        predictions.Writer(folder / "windows.jsonl", header) as windows,
        (folder / "texts.jsonl").open("w") as texts,
    ):
        for record in truth:
            found = replace(record, boxes=_shifted(record.boxes), quads=None, metadata={})
            whole.write(found)
            windows.write(replace(found, image_id=f"{record.image_id}__96__0___0"))
            text = codec.encode(record.boxes, record.labels, truth.class_names, record.size)
            line = {"image_id": record.image_id, "width": 96, "height": 96, "text": text}
            texts.write(f"{json.dumps(line)}\n")
    evaluate_file(truth, folder / "predictions.jsonl", full=True).save(folder / "report.json")
    _save_results(truth, folder / "results.pkl")
    lines = [{"loss": 1 / step, "time": 0.5, "iter": step, "step": step, "epoch": 1} for step in range(1, 9)]
    (folder / "run" / "20240101_000000" / "vis_data").mkdir(parents=True)
    scalars = folder / "run" / "20240101_000000" / "vis_data" / "scalars.json"
    scalars.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    if "lmm" in kinds:
        from lmm_detector._spec import DetectorSpec

        from rbox_testing.tiny_florence2 import save_tiny_florence2

        save_tiny_florence2(folder / "florence2", NAMES, codec)
        shutil.copytree(folder / "florence2", folder / "detector")
        DetectorSpec(NAMES, codec.to_dict(), codec.prompt, window=48, gap=16).save(folder / "detector")
    if "baselines" in kinds:
        from rbox_testing import small_retinanet

        small_retinanet.save(folder / "epoch_0.pth", folder / "scenes", NAMES)
    return folder


def _save_results(truth: Any, path: Path) -> None:
    """Write detections as MMRotate 1.x's tools/test.py --out writes them, in plain arrays."""
    import numpy as np

    found = []
    for record in truth:
        instances = {"bboxes": _shifted(record.boxes), "labels": record.labels, "scores": np.ones(len(record))}
        found.append({"img_id": record.image_id, "ori_shape": (96, 96), "pred_instances": instances})
    path.write_bytes(pickle.dumps(found, protocol=2))


def _shifted(boxes: Any) -> Any:
    """Return boxes beside their objects, the first ones of an image too far away."""
    shifted = boxes.copy()
    shifted[:, 0] += 2
    shifted[:1, 0] += 30
    return shifted
