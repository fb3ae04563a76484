"""A model tried in small: it is built, learns from one synthetic image, and predicts on it.

What this shows is that every part of the model runs and that nothing overflows. It does not show that values are right:
the operators' own tests do, which hold values and gradients against other implementations.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rbox_baselines._configs._pipelines import learns_masks
from rbox_baselines._configs._quiet import quiet
from rbox_baselines._configs._weights import without_pretrained

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config
    from numpy.typing import NDArray
    from torch import Tensor

#: In this order; each needs those before it.
STEPS = ("build", "loss", "gradients", "predict")


@dataclass(frozen=True)
class Outcome:
    """The result of a trial.

    Attributes:
        passed: The steps that were passed.
        reason: Why the next one was not; None where all were.
        parameters: The model's, those that do not learn among them; 0 where it was not built.
        losses: Each of its losses; what it learns from is their sum.
        gradient: The largest magnitude of a gradient.
        boxes: How many it predicted.
        seconds: What the whole took.
    """

    passed: tuple[str, ...] = ()
    reason: str | None = None
    parameters: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    gradient: float = 0.0
    boxes: int = 0
    seconds: float = 0.0


def trial(config: Config, *, size: int = 256, device: str = "cpu", seed: int = 0) -> Outcome:
    """Build a config's model with random weights, train it on one image and predict on that image.

    Scores of 0 count in prediction, so that suppression has something to do, and at most 40 boxes of a level and 100 of
    the image come to it.

    Args:
        config: A config from `load_zoo`, or another that mmengine has read.
        size: Side of the square image in pixels, a multiple of 32.
        device: The device to run on, as torch names it.
        seed: Seed of the random weights and of the image.

    Returns:
        What came of it. No exception of the model's is raised: it is the reason.
    """
    *_, outcome = outcomes(config, size=size, device=device, seed=seed)
    return outcome


def outcomes(config: Config, *, size: int = 256, device: str = "cpu", seed: int = 0) -> Iterator[Outcome]:
    """Yield the outcome of a `trial` so far: after each step that was passed, and with the reason where one was not."""
    from mmengine.registry import DefaultScope

    start = time.perf_counter()
    so_far = Outcome()
    try:
        with DefaultScope.overwrite_default_scope(config.get("default_scope") or "mmrotate"), quiet():
            for step, values in _steps(small(config, size), size, device, seed):
                seconds = time.perf_counter() - start
                so_far = replace(so_far, passed=(*so_far.passed, step), seconds=seconds, **values)
                yield so_far
    except Exception as error:  # of whatever kind: the model is what is tried
        yield replace(so_far, reason=reason_of(error), seconds=time.perf_counter() - start)


def reason_of(error: BaseException) -> str:
    """Return an error's kind and what it says, in one line; where it is raised, if it says nothing.

    Of an import that failed within another, the inner one's.
    """
    while isinstance(error, ImportError) and (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    said = " ".join(str(error).split())
    if not said and (frames := traceback.extract_tb(error.__traceback__)):
        said = f"line {frames[-1].lineno} of {Path(frames[-1].filename).name}, {frames[-1].line}"
    return f"{type(error).__name__}: {said}"


def _steps(config: Config, size: int, device: str, seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each step once it has passed: its name, and what the step found."""
    import torch
    from mmengine.logging import MessageHub
    from mmrotate.registry import MODELS

    for name in ("epoch", "iter"):  # where a run is, which some models ask
        MessageHub.get_current_instance().update_info(name, 0)
    torch.manual_seed(seed)
    model = MODELS.build(config.model)
    model.init_weights()
    model.to(device)
    yield "build", {"parameters": sum(parameter.numel() for parameter in model.parameters())}

    model.train()
    data = model.data_preprocessor(batch(config, *drawn_scene(size, seed)), True)
    total, values = model.parse_losses(model(**data, mode="loss"))
    for name, value in values.items():
        _check_finite(name, value)
    yield (
        "loss",
        {"losses": {name: value.item() for name, value in values.items() if name != "loss" and "loss" in name}},
    )

    total.backward()
    gradients = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
    for name, gradient in gradients.items():
        _check_finite(f"the gradient of {name}", gradient)
    largest = max((gradient.abs().max().item() for gradient in gradients.values()), default=0.0)
    if largest == 0:
        raise _TrialError("expected a gradient, got none or zeros alone")
    yield "gradients", {"gradient": largest}

    model.eval()
    with torch.no_grad():
        [sample] = model(**model.data_preprocessor(batch(config, *drawn_scene(size, seed)), False), mode="predict")
    predicted = sample.pred_instances
    boxes = getattr(predicted.bboxes, "tensor", predicted.bboxes)
    _check_finite("the predicted boxes", boxes)
    _check_finite("their scores", predicted.scores)
    if not len(boxes):
        raise _TrialError("expected boxes where each score counts, got none")
    if learns_masks(config) and tuple(predicted.masks.shape) != (len(boxes), size, size):
        raise _TrialError(f"expected {len(boxes)} masks of {size} x {size} px, got {tuple(predicted.masks.shape)}")
    yield "predict", {"boxes": len(boxes)}


class _TrialError(Exception):
    """A model ran, and its result was wrong."""


def _check_finite(name: str, values: Tensor) -> None:
    import torch

    count = int((~torch.isfinite(values)).sum())
    if count:
        raise _TrialError(f"expected {name} to be finite, got {count} of {values.numel()} values that are not")


def small(config: Config, size: int) -> Config:
    """Return a config for one image of that size, without weights from elsewhere, in which scores of 0 count."""
    changed = without_pretrained(config)
    _set_everywhere(changed.model.get("test_cfg"), {"score_thr": 0.0, "nms_pre": 40, "max_per_img": 100})
    # Of SOLO, for which no random mask is one.
    _set_everywhere(changed.model.get("test_cfg"), {"filter_thr": 0.0, "mask_thr": 0.0})
    # H2RBox learns from a window in the middle of the image, larger than this one.
    _set_everywhere(changed.model, {"crop_size": (size * 3 // 4, size * 3 // 4)})
    return changed


def _set_everywhere(config: Any, values: Mapping[str, Any]) -> None:
    """Give settings new values wherever they are in a config."""
    if isinstance(config, dict):
        for name, value in config.items():
            if name in values:
                config[name] = values[name]
            else:
                _set_everywhere(value, values)
    elif isinstance(config, list | tuple):
        for value in config:
            _set_everywhere(value, values)


def drawn_scene(size: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Return an image with three to six objects, of shape (size, size, 3), and their corners in pixels, (N, 4, 2)."""
    from rbox_formats.synthetic import SceneConfig, scene

    image, record = scene(seed, SceneConfig(size, min_objects=3, max_objects=6))
    return image, record.corners


def batch(config: Config, image: NDArray[np.uint8], corners: NDArray[np.floating]) -> dict[str, list[Any]]:
    """Return one image with objects of the first class, as the config's training pipeline gives it.

    Args:
        config: The config: its training pipeline names the forms of boxes.
        image: The image in RGB, of shape (S, S, 3), S a multiple of 32.
        corners: The objects' corners in pixels, of shape (N, 4, 2).

    Returns:
        What the model's `data_preprocessor` takes.
    """
    import torch
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import PolygonMasks
    from mmengine.structures import InstanceData
    from mmrotate.registry import TRANSFORMS
    from mmrotate.structures import QuadriBoxes

    quads = corners.reshape(-1, 8)
    truth = {"gt_bboxes": QuadriBoxes(torch.as_tensor(quads, dtype=torch.float32))}
    for step in _conversions(config):
        truth = TRANSFORMS.build(step)(truth)
    size = image.shape[:2]
    labels = torch.zeros(len(corners), dtype=torch.long)
    masks = {"masks": PolygonMasks([[quad] for quad in quads], *size)} if learns_masks(config) else {}
    sample = DetDataSample(
        gt_instances=InstanceData(bboxes=truth["gt_bboxes"], labels=labels, **masks),
        ignored_instances=InstanceData(bboxes=truth["gt_bboxes"][:0], labels=labels[:0]),
        metainfo={"img_id": 0, "img_shape": size, "ori_shape": size, "scale_factor": (1.0, 1.0)},
    )
    pixels = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)  # blue first, as mmcv reads images
    return {"inputs": [pixels], "data_samples": [sample]}


def _conversions(config: Config) -> Iterator[dict[str, Any]]:
    """Yield the steps of the training pipeline that give boxes another form: all begin with quads."""
    if learns_masks(config):
        yield {"type": "ConvertBoxType", "box_type_mapping": {"gt_bboxes": "hbox"}}
    dataset = config.train_dataloader.dataset
    while "pipeline" not in dataset:  # wrapped, or several joined
        dataset = dataset["dataset"] if "dataset" in dataset else dataset["datasets"][0]
    for step in dataset["pipeline"]:
        kind = getattr(step["type"], "__name__", step["type"]).split(".")[-1]  # a class in configs written as Python
        if kind == "ConvertBoxType":
            yield dict(step)
        elif kind == "ConvertMask2BoxType":
            yield {"type": "ConvertBoxType", "box_type_mapping": {"gt_bboxes": step["box_type"]}}
