"""Training: a config, made ready, through mmengine's runner."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.error import URLError

from rbox_formats import files, images
from rbox_formats.progress import is_first_process, showing

from rbox_baselines._configs import _check, _load, _weights
from rbox_baselines._configs._load import Data
from rbox_baselines._configs._metrics import best_by, check_monitored
from rbox_baselines.errors import CheckpointError, ConfigError, StackError

if TYPE_CHECKING:
    from mmengine.config import Config

    from rbox_baselines._parts._following import Follower
else:
    Follower = Any  # its module imports mmengine
    Config = Any  # mmengine is imported where a config is read

logger = logging.getLogger("rbox_baselines")

# For which processes wait for each other: the first looks at all images while the others wait.
_PATIENCE = timedelta(hours=2)

_OTHER_WEIGHTS = (
    "--backbone takes a file with the backbone's weights, or 'none' for random ones; "
    "--sam takes a folder of transformers' SAM."
)

Launcher = Literal["none", "pytorch", "slurm"]

# mmengine of its own older names, and of classes that MMRotate takes from it; `_check` has looked them all up. And of
# each weight that does not learn, which SAM has hundreds of.
_NOT_SHOWN = ("deprecated in future", "Failed to search registry", "is skipped since its requires_grad=False")


def train(
    config: str | Path,
    work_dir: str | Path,
    *,
    data: Data | None = None,
    class_names: Sequence[str] | None = None,
    image_size: int | None = None,
    options: Mapping[str, Any] | None = None,
    backbone: str | Path | None = None,
    sam: str | Path | None = None,
    load_from: str | Path | None = None,
    resume: bool = False,
    amp: bool = False,
    auto_scale_lr: bool = False,
    tensorboard: bool | str | Path = False,
    launcher: Launcher = "none",
    seed: int | None = None,
    follower: Follower | None = None,
    progress: bool = False,
) -> Path:
    """Train a model of MMRotate, and score it on the validation split after each epoch.

    Config, classes, checkpoint and all images are checked before the first step.

    Args:
        config: A preset, a config of MMRotate's zoo, or a config file.
        work_dir: The folder for checkpoints, logs and the whole config.
        data: The dataset. None: the config's own.
        class_names: The classes that the labels are indices of. None: those of the dataset's format, or, where it
            names none, those of the annotations.
        image_size: The longer side to which images are resized, in pixels. None: the config's own.
        options: Settings that replace the config's, by dotted names. What the config or an option says of checkpoints,
            `resume`, `load_from` and `randomness` is used, unless an argument of this function overrides it.
        backbone: A file with the backbone's weights, or "none" for random ones. None: the weights that the config
            names, which most configs fetch from torchvision's site.
        sam: A folder or hub name of transformers' SAM, with whose weights the model's parts of SAM begin. None: that
            of the config. `backbone` overrides it.
        load_from: A checkpoint to begin with; its classes must be the dataset's.
        resume: Resume from the last checkpoint of `work_dir`; where there is none, begin from the start.
        amp: Computes in half precision where that is safe, on a GPU.
        auto_scale_lr: Scales the learning rate with the number of images in a step, in all processes together.
        tensorboard: Writes TensorBoard's files as well; into this folder, where it is one.
        launcher: What started the processes of a run: "pytorch" is torchrun.
        seed: Seed of first weights, order of images and augmentation. None: the config's, or 0.
        follower: Takes how far the training is, by its method stepped(done, total, loss), and each checkpoint with its
            scores, by saved(epoch, checkpoint, metrics).
        progress: Shows progress bars on standard error.

    Returns:
        The last checkpoint.

    Raises:
        BaselinesError: If config, data, checkpoint or machine do not fit together.
        ImageError: If images are broken.
    """
    import torch

    if launcher == "slurm" and not torch.cuda.is_available():
        raise StackError("expected a GPU for the launcher slurm, found none", remedy="--launcher pytorch needs none.")
    work_dir = Path(work_dir)
    files.require_writable(work_dir)
    found = _load.load(config, data=data, class_names=class_names, image_size=image_size, options=options)
    if found.get("train_dataloader") is None:
        raise ConfigError(f"expected a config with training data, got {config} without")
    _refuse_ours(options or {})
    goes_on_by_config = bool(found.get("resume")) and not resume
    resume = resume or goes_on_by_config
    load_from = load_from or found.get("load_from")
    last = _last(work_dir) if resume else None
    begins_with = last or load_from
    if sam is not None:
        _weights.with_sam(found, str(sam))
    if backbone is not None:
        found = _with_backbone(found, backbone)
    if begins_with is not None:
        found = _weights.without_pretrained(found)  # all weights come from the checkpoint
    found.work_dir = str(work_dir)
    found.launcher = launcher
    found.randomness = {"seed": 0, **(found.get("randomness") or {})}
    if seed is not None:
        found.randomness.seed = seed
    # As mmengine has it: a config that says both resumes from the checkpoint that it names.
    found.resume = last is not None or (goes_on_by_config and begins_with is not None)
    if found.resume:
        logger.info("resuming from %s", begins_with)
    if begins_with is not None:
        # mmengine would resume from the file that `last_checkpoint` names, which may be older, or half written.
        found.load_from = str(begins_with)
    _set_precision(found, amp)
    _set_loaders(found)
    _set_up_logging(found, tensorboard)
    if auto_scale_lr:
        found.auto_scale_lr.enable = True
    _check.check_types(found)
    check_monitored(found)
    _check_weights(found.model)
    _check_checkpoint(found, begins_with)
    with showing(progress):
        return _run(found, follower)


def _refuse_ours(options: Mapping[str, Any]) -> None:
    """Refuse options that an argument decides on.

    Raises:
        ConfigError: If there are any.
    """
    for name, argument in (("work_dir", "--out"), ("launcher", "--launcher")):
        if name in options:
            raise ConfigError(
                f"expected options of the config other than {name!r}, got {options[name]!r}",
                remedy=f"Give it by {argument}: locks and checkpoints of a run are found by it.",
            )


def _run(config: Config, follower: Follower | None = None) -> Path:
    import torch
    from mmengine.runner import Runner

    if is_first_process():
        _check_data(config)
    # The others wait for the first here.
    config.env_cfg.dist_cfg.setdefault("timeout", int(_PATIENCE.total_seconds()))
    if config.launcher == "pytorch" and not torch.cuda.is_available():
        # mmengine chooses a GPU for each process, here and in the wrapper.
        torch.distributed.init_process_group("gloo", timeout=_PATIENCE)
        config.model_wrapper_cfg = {
            "type": "MMDistributedDataParallel",
            "device_ids": None,
            "broadcast_buffers": False,
            "find_unused_parameters": config.get("find_unused_parameters", False),
        }

    logs: list[logging.Logger] = []

    class OurRunner(Runner):
        """The log's file keeps everything; the terminal has the progress bar."""

        def build_logger(self, *arguments: Any, **settings: Any) -> Any:
            logger = super().build_logger(*arguments, **settings)
            logs.append(logger)
            for handler in logger.handlers:
                if type(handler) is logging.StreamHandler:
                    handler.setLevel(logging.WARNING)
                    handler.addFilter(lambda record: not any(text in record.getMessage() for text in _NOT_SHOWN))
            return logger

        def build_model(self, model: Any) -> Any:
            with _check.buildable(config, "Look for a misspelt name in the config and in the options (--cfg-options)."):
                return super().build_model(model)

        def load_checkpoint(self, filename: str, *arguments: Any, **settings: Any) -> Any:
            """Load a checkpoint without its config, whose text `resume` would run, to compare devices."""
            found = super().load_checkpoint(filename, *arguments, **settings)
            found.get("meta", {}).pop("config", None)
            return found

    try:
        runner = OurRunner.from_cfg(config)
        if follower is not None:
            from rbox_baselines._parts._following import FollowHook

            runner.register_hook(FollowHook(follower))
        runner.train()
    except URLError as error:
        raise StackError(
            f"expected to fetch the weights that the config begins with, got {error.reason}", remedy=_OTHER_WEIGHTS
        ) from error
    finally:
        for logger in logs:
            _close_log(logger)
    last = _last(Path(config.work_dir))
    if last is None:
        raise ConfigError("expected a config that saves checkpoints, got none in the end", path=config.work_dir)
    return last


def _close_log(logger: logging.Logger) -> None:
    """Take a run's file from its log: mmengine would write to it for later models, also where others have closed it."""
    for handler in [each for each in logger.handlers if isinstance(each, logging.FileHandler)]:
        handler.close()
        logger.removeHandler(handler)


def _check_data(config: Config) -> None:
    """Open the datasets, and look at each image."""
    from rbox_baselines._parts._dataset import opened

    seen: dict[Path, None] = {}
    for kind in ("train", "val"):
        loader = config.get(f"{kind}_dataloader")
        if loader is None:
            continue
        dataset = opened(loader.dataset)
        while not hasattr(dataset, "get_data_info"):  # mosaics of several images
            dataset = dataset.dataset
        seen |= dict.fromkeys(Path(dataset.get_data_info(number)["img_path"]) for number in range(len(dataset)))
    images.refuse(list(images.find_broken(list(seen)).values()))


def _check_checkpoint(config: Config, path: str | Path | None) -> None:
    """Check that the checkpoint that a run begins with has the dataset's classes."""
    if path is None:
        return
    from rbox_baselines._checkpoints import check_classes, read_checkpoint

    names = _load.class_names_of(config)
    if names is not None:
        check_classes(read_checkpoint(path), names, path=path)


def _last(work_dir: Path) -> Path | None:
    """Return the newest checkpoint of a run. Each is whole (`_mends.write_whole_files`)."""
    found = [path for path in work_dir.glob("*.pth") if re.fullmatch(r"(epoch|iter)_\d+\.pth|last\.pth", path.name)]
    return max(found, key=lambda path: (path.stat().st_mtime_ns, path.name), default=None)


def _with_backbone(config: Config, backbone: str | Path) -> Config:
    """Return the config with other weights to begin with in its backbone.

    Raises:
        RboxError: If there is no such file, or its weights are of another backbone.
    """
    from mmdet.registry import MODELS

    from rbox_baselines._checkpoints import read_checkpoint

    if str(backbone) == "none":
        return _weights.without_pretrained(config)
    config = _weights.without_backbone(config)
    if not Path(backbone).is_file():
        raise ConfigError("expected a file with the backbone's weights, found none", path=backbone)
    own = set(MODELS.build(config.model.backbone).state_dict())
    found = set(read_checkpoint(backbone)["state_dict"])
    prefix = next((each for each in ("", "backbone.") if 2 * len(own & _without(found, each)) > len(own)), None)
    if prefix is None:
        raise CheckpointError(
            f"expected the weights of this backbone, such as {min(own)}, got a file that has "
            f"{len(own & found)} of its {len(own)}",
            path=backbone,
        )
    init = {"type": "Pretrained", "checkpoint": str(backbone)}
    config.model.backbone.init_cfg = {**init, "prefix": prefix} if prefix else init
    return config


def _without(names: set[str], prefix: str) -> set[str]:
    return {name.removeprefix(prefix) for name in names if name.startswith(prefix)}


def _check_weights(model: Any) -> None:
    """Check that the files of weights that a model begins with exist; weights that are fetched are not looked for."""
    if isinstance(model, list | tuple):
        for value in model:
            _check_weights(value)
    elif isinstance(model, dict):
        from rbox_baselines._parts._sam import is_hub_name

        path = model.get("checkpoint") if model.get("type") == "Pretrained" else None
        # SAM's weights may be in a folder, or on the hub.
        if path is not None and "://" not in path and not Path(path).exists() and not is_hub_name(path):
            raise ConfigError(
                "expected a file of weights, which the config begins with, found none", path=path, remedy=_OTHER_WEIGHTS
            )
        for value in model.values():
            _check_weights(value)


def _set_precision(config: Config, amp: bool) -> None:
    """Set half precision if it was asked for; if only the config asks for it, a CPU trains in float32."""
    import torch

    on_gpu = torch.cuda.is_available()
    if amp and not on_gpu:
        raise StackError("expected a GPU for half precision, found none", remedy="Leave --amp out.")
    wrapper = config.optim_wrapper
    wrapper.setdefault("type", "OptimWrapper")
    if amp and wrapper.type not in ("OptimWrapper", "AmpOptimWrapper"):
        raise ConfigError(f"expected the config's OptimWrapper for half precision, got {wrapper.type}")
    if amp and wrapper.type == "OptimWrapper":
        wrapper.type = "AmpOptimWrapper"
        wrapper.setdefault("loss_scale", "dynamic")
    elif wrapper.type == "AmpOptimWrapper" and not on_gpu:
        logger.warning("the config trains in half precision, which needs a GPU; here it is whole precision")
        wrapper.type = "OptimWrapper"
        for name in ("loss_scale", "dtype"):
            wrapper.pop(name, None)


def _set_loaders(config: Config) -> None:
    """Leave the pinning of memory out where there is no GPU that it is for: PyTorch would warn of it."""
    import torch

    for kind in ("train", "val", "test"):
        if config.get(f"{kind}_dataloader") and not torch.cuda.is_available():
            config[f"{kind}_dataloader"].pop("pin_memory", None)


def _set_up_logging(config: Config, tensorboard: bool | str | Path) -> None:
    """Set up the progress bar, the best checkpoint, and TensorBoard where it was asked for."""
    hooks = config.default_hooks
    if not (hooks.get("visualization") or {}).get("draw"):
        hooks.pop("visualization", None)
    if config.get("val_evaluator") is not None:
        hooks.checkpoint.setdefault("save_best", best_by(config))
    ours = [{"type": "ProgressHook"}, {"type": "RepeatableHook"}, {"type": "RollingCheckpointHook"}]
    config.custom_hooks = [*(config.get("custom_hooks") or []), *ours]
    if tensorboard:
        from importlib.util import find_spec

        if find_spec("tensorboard") is None:
            remedy = "pip install 'rbox-baselines[tensorboard]'"
            raise StackError("expected TensorBoard to be installed, found none", remedy=remedy)
        backend = {"type": "TensorboardVisBackend"}
        if not isinstance(tensorboard, bool):
            backend["save_dir"] = str(tensorboard)
        config.visualizer.vis_backends = [*config.visualizer.vis_backends, backend]
    # mmengine finds logs and drawings of a process by a run's name: without one of its own, a second run in the same
    # process would write into the folder of the first.
    name = config.get("experiment_name") or "run"
    config.experiment_name = config.visualizer.name = f"{name}-{uuid.uuid4().hex[:8]}"
