"""A training step of an MMRotate detector with the supplied operators, beside the same with mmcv's compiled ones.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/baseline_training.py [--config NAME] [--size 512] [--batch 1] [--rounds 9]

Prints a markdown table: the median time of a step (forward, backward, SGD) on scenes of `rbox_formats.synthetic`. It
needs an environment whose mmcv is compiled (`MMCV_WITH_OPS=1 FORCE_CUDA=0 pip wheel --no-build-isolation mmcv==2.1.0`);
the two take turns within a round in one process, on one model and the same images. Without a compiled mmcv the supplied
operators are timed alone.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import rbox_baselines
import torch
from rbox_baselines._ops import OPERATORS
from rbox_baselines._stack import _mends
from rbox_formats import synthetic


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="rotated-retinanet-rbox-le90_r50_fpn_1x_dota")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    _mends.silence()
    step = training_step(arguments.config, arguments.size, arguments.batch, arguments.device)
    import mmcv._ext
    from rbox_baselines._stack._mmcv import is_compiled

    kinds = {"rbox-baselines": dict(OPERATORS)}
    if is_compiled():
        kinds["mmcv, compiled"] = {name: getattr(mmcv._ext, name) for name in OPERATORS if hasattr(mmcv._ext, name)}
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(arguments.rounds + 1):
        for name, operators in kinds.items():
            for operator, function in operators.items():
                setattr(mmcv._ext, operator, function)
            begin = time.perf_counter()
            step()
            if number:  # the first warms up
                times[name].append(time.perf_counter() - begin)

    print(f"{arguments.config}, {arguments.size} x {arguments.size} px, {arguments.batch} images, {arguments.device}; ")
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.processor() or platform.machine()}\n"
    )
    print("| operators | s a step | spread |\n|---|---|---|")
    for name, values in times.items():
        print(f"| {name} | {statistics.median(values):.3f} | {min(values):.3f} to {max(values):.3f} |")
    if len(times) == 2:
        ours, theirs = times.values()
        ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
        print(f"\nTime of ours over mmcv's, median over the rounds: {statistics.median(ratios):.3f}")


def training_step(name: str, size: int, batch: int, device: str) -> Callable[[], None]:
    """Return a step of a model with random weights on the same images again and again."""
    from rbox_baselines._configs._weights import without_pretrained

    config = without_pretrained(rbox_baselines.load_config(name))
    from mmdet.registry import MODELS
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData
    from mmrotate.structures import RotatedBoxes

    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    model.to(device).train()
    inputs, samples = [], []
    for seed in range(batch):
        pixels, record = synthetic.scene(seed, synthetic.SceneConfig(size=size))
        inputs.append(torch.from_numpy(np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1))))
        instances = InstanceData(
            bboxes=RotatedBoxes(torch.tensor(record.boxes, dtype=torch.float32)), labels=torch.tensor(record.labels)
        )
        meta: dict[str, Any] = {"img_shape": (size, size), "ori_shape": (size, size), "pad_shape": (size, size)}
        sample = DetDataSample(gt_instances=instances, metainfo={**meta, "scale_factor": (1.0, 1.0)})
        sample.ignored_instances = InstanceData(bboxes=RotatedBoxes(torch.zeros(0, 5)), labels=torch.zeros(0))
        samples.append(sample)
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.0025, momentum=0.9)

    def step() -> None:
        data = model.data_preprocessor({"inputs": inputs, "data_samples": samples}, training=True)
        losses = model(**data, mode="loss")
        total, _ = model.parse_losses(losses)
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 35)
        optimizer.step()
        if device != "cpu":
            torch.cuda.synchronize()

    return step


if __name__ == "__main__":
    main()
