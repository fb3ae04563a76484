"""Makes `run/`: what mmengine's Runner leaves of a training that was stopped and resumed, with an average of weights.

It needs mmengine 0.10.7, and is run outside of a git repository, whose state mmengine notes in checkpoints:

    python /<path>/run.py

The model is one number, fitted to another, so that all is small. The first run is stopped after epoch 3 of 4, one
epoch later than the checkpoint that the second one goes on from. `run.json` has the average of the weights (EMA) and
the weights themselves, as the hook held them when the checkpoint was saved.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import torch  # noqa: E402
from mmengine.evaluator import BaseMetric  # noqa: E402
from mmengine.hooks import EMAHook, Hook  # noqa: E402
from mmengine.model import BaseModel  # noqa: E402
from mmengine.runner import Runner  # noqa: E402
from rbox_baselines._stack._mends import allow_checkpoints  # noqa: E402

HERE = Path(__file__).parent
allow_checkpoints()


class One(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.constant_(self.layer.weight, 1.0)

    def forward(self, inputs: torch.Tensor, mode: str = "tensor") -> object:
        found = self.layer(inputs)
        return {"loss_cls": (found - 3).square().mean(), "loss_bbox": found.abs().mean()} if mode == "loss" else [found]


class Metric(BaseMetric):
    default_prefix = "rbox"

    def process(self, data_batch: object, data_samples: list) -> None:
        self.results.append(float(data_samples[0].mean()))

    def compute_metrics(self, results: list) -> dict[str, float]:
        return {"map": results[0] / 10, "map_50": results[0] / 5}


class Stop(Hook):
    """Ends the first run after its third epoch, before that is saved."""

    priority = "VERY_HIGH"

    def after_train_epoch(self, runner: Runner) -> None:
        if runner.epoch == 2:
            raise KeyboardInterrupt


class Keep(Hook):
    """Keeps both sets of weights as they are at the end."""

    def after_run(self, runner: Runner) -> None:
        (hook,) = (hook for hook in runner.hooks if isinstance(hook, EMAHook))
        weights = {
            "average": hook.ema_model.module.layer.weight.item(),
            "last": hook.src_model.layer.weight.item(),
        }
        (HERE / "run.json").write_text(json.dumps(weights, indent=1) + "\n")


def run(work_dir: Path, *, resume: bool, hooks: list[Hook]) -> None:
    data = {"dataset": [torch.tensor([1.0 + i / 8]) for i in range(6)], "batch_size": 1, "num_workers": 0}
    sampler = {"sampler": {"type": "DefaultSampler", "shuffle": False}}
    runner = Runner(
        One(),
        str(work_dir),
        train_dataloader={**data, **sampler},
        val_dataloader={**data, **sampler},
        train_cfg={"by_epoch": True, "max_epochs": 4},
        val_cfg={},
        val_evaluator=[Metric()],
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.02}},
        param_scheduler={"type": "MultiStepLR", "milestones": [3]},
        default_hooks={
            "logger": {"type": "LoggerHook", "interval": 2},
            "checkpoint": {"type": "CheckpointHook", "interval": 1},
        },
        custom_hooks=[{"type": "EMAHook", "momentum": 0.1}, *hooks],
        visualizer={"type": "Visualizer", "vis_backends": [{"type": "LocalVisBackend"}]},
        resume=resume,
        randomness={"seed": 0},
        experiment_name=f"run-{resume}",
    )
    runner.train()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work_dir = Path(folder)
        with contextlib.suppress(KeyboardInterrupt):
            run(work_dir, resume=False, hooks=[Stop()])
        run(work_dir, resume=True, hooks=[Keep()])
        out = HERE / "run"
        shutil.rmtree(out, ignore_errors=True)
        # Names of our own: those of the Runner are the time of the day.
        for name, source in zip(
            ("20240101_000000", "20240102_000000"), sorted(work_dir.glob("*/vis_data")), strict=True
        ):
            (out / name / "vis_data").mkdir(parents=True)
            shutil.copy(source / "scalars.json", out / name / "vis_data" / "scalars.json")
        shutil.copy(work_dir / "epoch_4.pth", out / "epoch_4.pth")


if __name__ == "__main__":
    main()
