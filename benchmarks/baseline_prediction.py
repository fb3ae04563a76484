"""Windows a second of `rbox-baselines predict`, beside MMRotate's own loop (mmengine's test loop) on the same windows.

    OMP_WAIT_POLICY=PASSIVE python benchmarks/baseline_prediction.py [--size 512] [--scenes 2] [--batches 1 2 4]

Large scenes of `rbox_formats.synthetic` are written once as scenes, whose windows we read, and once as windows, which
MMRotate's loop reads as files. Same model with random weights, same windows, no scores; the two take turns in one
process, and the best of each batch size's rounds is printed as a markdown table.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import rbox_baselines
import torch
from rbox_baselines._stack import _mends
from rbox_formats import datasets, splitting, synthetic


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="rotated-retinanet-rbox-le90_r50_fpn_1x_dota")
    parser.add_argument("--size", type=int, default=512, help="Side of the windows, px.")
    parser.add_argument("--scenes", type=int, default=2, help="Scenes of three times three windows.")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    _mends.silence()
    with tempfile.TemporaryDirectory() as folder:
        times = measure(Path(folder), arguments)
    windows = 9 * arguments.scenes
    print(
        f"{arguments.config}, {windows} windows of {arguments.size} px, {arguments.device}; torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, {platform.processor() or platform.machine()}\n"
    )
    print("| windows a second | " + " | ".join(f"batch {batch}" for batch in arguments.batches) + " |")
    print("|---|" + "---:|" * len(arguments.batches))
    for name, by_batch in times.items():
        rates = " | ".join(f"{windows / min(by_batch[batch]):.2f}" for batch in arguments.batches)
        print(f"| {name} | {rates} |")


def measure(folder: Path, arguments: argparse.Namespace) -> dict[str, dict[int, list[float]]]:
    """Seconds of each round, by program and batch size."""
    names = synthetic.CLASS_NAMES
    config = synthetic.SceneConfig(size=3 * arguments.size, max_objects=60)
    synthetic.write_scenes(folder / "scenes", "val", range(arguments.scenes), config)
    data = datasets.read("dota", folder / "scenes", "val", names)
    settings = splitting.SplitSettings(size=arguments.size, gap=0)
    splitting.split(data, folder / "windows", settings, part="val")
    checkpoint = save(folder, arguments)
    detector = rbox_baselines.Detector.from_checkpoint(checkpoint, device=arguments.device)
    scenes = sorted((folder / "scenes" / "val" / "images").iterdir())
    times: dict[str, dict[int, list[float]]] = {}
    for number in range(arguments.rounds):
        for batch in arguments.batches:
            options = {"window": arguments.size, "gap": 0, "batch_size": batch}
            for name, run in (
                ("rbox-baselines", partial(predict_all, detector, scenes, **options)),
                ("mmengine's test loop", tester(folder, arguments, detector.model, batch, number)),
            ):
                begin = time.perf_counter()
                run()
                times.setdefault(name, {}).setdefault(batch, []).append(time.perf_counter() - begin)
    return times


def predict_all(detector: Any, scenes: list[Path], **options: int) -> list[Any]:
    """What is on all scenes."""
    return list(detector.predict(scenes, **options))


def read_config(folder: Path, arguments: argparse.Namespace) -> Any:
    """The config, for the windows as its dataset."""
    return rbox_baselines.load_config(
        arguments.config,
        data=rbox_baselines.Data(str(folder / "windows"), train_split="val", val_split="val"),
        class_names=synthetic.CLASS_NAMES,
        image_size=arguments.size,
    )


def save(folder: Path, arguments: argparse.Namespace) -> Path:
    """A checkpoint with random weights that carries its config."""
    from mmdet.registry import MODELS
    from rbox_baselines._configs._weights import without_pretrained

    config = read_config(folder, arguments)
    torch.manual_seed(0)
    model = MODELS.build(without_pretrained(config).model)
    meta = {"cfg": config.pretty_text, "dataset_meta": {"classes": tuple(synthetic.CLASS_NAMES)}}
    torch.save({"meta": meta, "state_dict": model.state_dict()}, folder / "model.pth")
    return folder / "model.pth"


def tester(folder: Path, arguments: argparse.Namespace, model: Any, batch: int, number: int) -> Any:
    """mmengine's test loop, ready to run, on the same module."""
    from mmengine.runner import Runner

    config = read_config(folder, arguments)
    loader = {**config.test_dataloader, "batch_size": batch}
    name = f"run-{batch}-{number}"
    return Runner(
        model,
        str(folder / name),
        test_dataloader=loader,
        test_cfg={"type": "TestLoop"},
        test_evaluator={"type": "DumpResults", "out_file_path": str(folder / "found.pkl")},
        default_scope="mmrotate",
        visualizer={"type": "Visualizer", "vis_backends": [], "name": name},
        experiment_name=name,
        log_level="ERROR",
    ).test


if __name__ == "__main__":
    main()
