"""How large a model is, what it computes, how fast it is and how much memory it takes."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbox_baselines._prediction._device import check_device
from rbox_baselines.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config

#: What `Info.multiply_adds` leaves out.
NOT_COUNTED = (
    "normalisation, activations, pooling, interpolation, additions, decoding of boxes, suppression, sampling of "
    "regions, and, where mmcv is compiled, its operators"
)
_SIDE = 1024  # where the config does not say
_WARM_UP = 2
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Info:
    """Measurements of a model, for one image.

    Attributes:
        parameters: Number of the model's weights.
        trainable: Number of weights that change in training; stages of the backbone may be frozen.
        size: (width, height) of the image in pixels.
        multiply_adds: Number of multiply-adds in convolutions, matrix products and attention. mmdet's `get_flops.py`
            calls them "FLOPs".
        seconds: How long each round took, from the image in memory to boxes, suppression included; rising.
        peak_memory: The most memory used in the first round, in bytes.
        memory_kind: What `peak_memory` was measured of: tensors on the GPU, or the growth of the process.
        device: The device that the model ran on.
        trained: Whether the model had a checkpoint's weights. With random ones hardly a box is left to suppress.
    """

    parameters: int
    trainable: int
    size: tuple[int, int]
    multiply_adds: int
    seconds: tuple[float, ...]
    peak_memory: int | None
    memory_kind: str
    device: str
    trained: bool
    not_counted: str = field(default=NOT_COUNTED)

    @property
    def flops(self) -> int:
        """Multiplications and additions, each counted as one."""
        return 2 * self.multiply_adds

    def to_dict(self) -> dict[str, Any]:
        """Return the values for JSON."""
        return {
            "parameters": self.parameters,
            "trainable_parameters": self.trainable,
            "image_size": list(self.size),
            "flops": self.flops,
            "multiply_adds": self.multiply_adds,
            "not_counted": self.not_counted,
            "images_per_second": {
                "median": 1 / statistics.median(self.seconds),
                "slowest": 1 / self.seconds[-1],
                "fastest": 1 / self.seconds[0],
                "rounds": len(self.seconds),
            },
            "peak_memory_bytes": self.peak_memory,
            "peak_memory_of": self.memory_kind,
            "device": self.device,
            "trained": self.trained,
        }

    def rows(self) -> list[list[str]]:
        """Return names and values for a table."""
        speed = self.to_dict()["images_per_second"]
        return [
            ["parameters", f"{self.parameters / 1e6:.2f} M"],
            ["of them trainable", f"{self.trainable / 1e6:.2f} M"],
            ["image", f"{self.size[0]}x{self.size[1]} px"],
            ["FLOPs", f"{self.flops / 1e9:.2f} G"],
            ["multiply-adds", f"{self.multiply_adds / 1e9:.2f} G"],
            [
                f"images per second, median of {speed['rounds']}",
                f"{speed['median']:.2f} ({speed['slowest']:.2f} to {speed['fastest']:.2f})",
            ],
            [
                f"peak memory, {self.memory_kind}",
                "-" if self.peak_memory is None else f"{self.peak_memory / 2**20:.0f} MiB",
            ],
            ["device", self.device],
            ["weights", "of the checkpoint" if self.trained else "random"],
        ]


def measure(
    config: str,
    *,
    checkpoint: str | Path | None = None,
    size: tuple[int, int] | None = None,
    device: str | None = None,
    rounds: int = 10,
) -> Info:
    """Build a model and run it on an image of noise.

    Args:
        config: A preset, a config of MMRotate's zoo, or a config file.
        checkpoint: A file with the model's weights. None: random ones; nothing is fetched.
        size: (width, height) of the image in pixels. None: that to which the config resizes.
        device: The device to run on, such as "cpu" or "cuda:0". None: the GPU, where there is one.
        rounds: How often the model is timed, after two rounds to warm up.

    Raises:
        ConfigError: If the config cannot be read, or the model does not run.
        CheckpointError: If the checkpoint is of another model.
    """
    import torch

    device = check_device(device)
    model, loaded = _load(config, checkpoint, device)
    size = size or image_size(loaded)

    def run() -> None:
        with torch.no_grad():
            model.test_step(_batch(size))
        if device.startswith("cuda"):
            torch.cuda.synchronize()

    try:
        peak, kind = peak_memory(run, device)
    except Exception as error:  # of whatever kind: the model is what is tried
        found = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise ConfigError(f"expected a model that runs on {size[0]}x{size[1]} px on {device}, got {found}") from error
    counted = multiply_adds(run)
    for _ in range(_WARM_UP - 1):
        run()
    return Info(
        parameters=sum(each.numel() for each in model.parameters()),
        trainable=sum(each.numel() for each in model.parameters() if each.requires_grad),
        size=size,
        multiply_adds=counted,
        seconds=tuple(sorted(_seconds(run) for _ in range(rounds))),
        peak_memory=peak,
        memory_kind=kind,
        device=torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
        trained=checkpoint is not None,
    )


def multiply_adds(run: Callable[[], object]) -> int:
    """Count the multiply-adds of convolutions, matrix products and attention while a function runs.

    torch's counter sees the operators that are run, with their shapes, whatever the model's code is; mmengine's
    `get_model_complexity_info` traces the model, which fails where steps depend on the boxes that are found.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops()) // 2  # it counts two for each


def peak_memory(run: Callable[[], object], device: str) -> tuple[int | None, str]:
    """Measure the most memory used while a function runs: return the bytes, and what they were measured of.

    On a GPU what tensors took, those from before included. On a CPU the growth of the process: by the system's own
    peak, which Linux resets when asked; elsewhere an earlier, higher peak hides it, and there may be none to ask for.
    """
    import torch

    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        run()
        return int(torch.cuda.max_memory_allocated(device)), "tensors on the GPU"
    kind = "growth of the process"
    try:
        _RESET.write_text("5")
        before = _status("VmRSS")
        run()
        return max(0, _status("VmHWM") - before), kind
    except OSError:
        pass
    if sys.platform == "win32":
        run()
        return None, kind
    before = _highest()
    run()
    return _highest() - before, kind


def image_size(config: Config) -> tuple[int, int]:
    """Return (width, height) to which a config resizes images; 1024 px where it does not say."""
    from rbox_baselines._configs._pipelines import pipelines

    for pipeline in pipelines(config):
        for step in pipeline:
            scale = step.get("scale")
            fixed = isinstance(scale, list | tuple) and all(isinstance(side, int) for side in scale)
            if step["type"].endswith("Resize") and fixed and len(scale) == 2:
                return scale[0], scale[1]
    return _SIDE, _SIDE


def _load(name: str, checkpoint: str | Path | None, device: str) -> tuple[Any, Config]:
    """Return a model on a device, and its config. A preset has its dataset's classes; the dataset is not needed."""
    from rbox_baselines._configs import _check, _load, _quiet, _weights

    config = _load.load_model(name)
    if checkpoint is not None:
        from rbox_baselines._prediction._detector import Detector

        return Detector.from_checkpoint(checkpoint, name, device=device).model, config
    from mmdet.registry import MODELS

    config = _weights.without_pretrained(config)
    _check.check_types(config)
    with _quiet.quiet():
        model = MODELS.build(config.model)
        model.init_weights()
        return model.to(device).eval(), config


def _batch(size: tuple[int, int]) -> dict[str, list[Any]]:
    """Return an image of noise, always the same."""
    import torch
    from mmdet.structures import DetDataSample

    width, height = size
    image = torch.randint(256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    shape = {"img_shape": (height, width), "ori_shape": (height, width), "scale_factor": (1.0, 1.0)}
    return {"inputs": [image], "data_samples": [DetDataSample(metainfo={"img_id": "noise", **shape})]}


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _status(name: str) -> int:
    """Return one of the sizes in this process's status file, in bytes."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def _highest() -> int:
    """Return the most memory that this process has ever had, in bytes."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
