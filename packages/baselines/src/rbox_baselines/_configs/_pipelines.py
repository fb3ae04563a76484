"""The transforms of a config: found, resized, made to read quads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rbox_baselines.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config

# Transforms with sizes of their own, which `resize` does not know how to change.
_SIZED = ("RandomResize", "RandomChoiceResize", "RandomCrop", "CachedMosaic", "CachedMixUp", "Mosaic", "MixUp")

# mmcv's names for pixels in colour: turned by OpenCV as the file notes, or not turned. Here both are turned.
_COLOUR = ("color", "color_ignore_orientation")


def pipelines(config: Config) -> Iterator[list[Any]]:
    """Yield the transforms of the three data loaders, and those that a hook puts in their place, each list once."""
    loaders = [config.get(f"{kind}_dataloader") or {} for kind in ("train", "val", "test")]
    lists = [innermost(loader.get("dataset", {})).get("pipeline") for loader in loaders]
    lists += [hook.get("switch_pipeline") for hook in config.get("custom_hooks") or []]
    yield from {id(each): each for each in lists if each is not None}.values()


def innermost(dataset: Any) -> Any:
    """Return the dataset inside wrappers, the first of several: all of a loader have one pipeline and classes."""
    while "dataset" in dataset or "datasets" in dataset:
        dataset = dataset["dataset"] if "dataset" in dataset else dataset["datasets"][0]
    return dataset


def kind_of(step: Any) -> str:
    """Return the name of a transform's class, without the package that it is of."""
    kind = step["type"]
    return kind.rpartition(".")[2] if isinstance(kind, str) else kind.__name__


def learns_masks(config: Config) -> bool:
    """Return whether a config's training pipeline reads masks, and does not turn them into boxes as MMRotate's do."""
    kinds = _training_steps(config)
    return bool(kinds.get("LoadAnnotations", {}).get("with_mask")) and "ConvertMask2BoxType" not in kinds


def mask_form(config: Config) -> str | None:
    """Return the form in which a config's training pipeline takes masks (`RBoxDataset`); None where it learns boxes.

    Raises:
        ConfigError: If it reads semantic maps too, which no dataset here has.
    """
    if not learns_masks(config):
        return None
    annotations = _training_steps(config)["LoadAnnotations"]
    if annotations.get("with_seg"):
        raise ConfigError(
            "expected a config that learns from masks or boxes for --data, got one that learns from semantic maps too",
            remedy="Choose one of its models without them, such as htc-without-semantic_r50_fpn_1x_coco.",
        )
    return "pixels" if annotations.get("poly2mask", True) else "outlines"


def without_annotations(pipeline: list[Any]) -> list[Any]:
    """Return the transforms except those that read annotations."""
    return [step for step in pipeline if not kind_of(step).startswith("LoadAnnotations")]


def _training_steps(config: Config) -> dict[str, Any]:
    """Return the transforms of the training pipeline by their kind."""
    pipeline = innermost((config.get("train_dataloader") or {}).get("dataset", {})).get("pipeline") or ()
    return {kind_of(step): step for step in pipeline}


def resize(config: Config, side: int, *, pad: bool = False) -> None:
    """Make every pipeline resize images to a longer side, and pad them to a square where asked.

    H2RBox learns from a square window in the middle of the image, which must not be larger than the image: it gets that
    side, and its images are padded.

    Raises:
        ConfigError: If a pipeline has transforms with sizes of their own.
    """
    size = (side, side)
    pad = _set_crop_size(config.model, size) or pad
    for pipeline in pipelines(config):
        sized = [kind for kind in map(kind_of, pipeline) if kind in _SIZED]
        if sized:
            raise ConfigError(
                f"expected a config whose images are resized by Resize alone, got one with {', '.join(sized)}",
                remedy="Do not set an image size, or set the size of each of these steps by --cfg-options.",
            )
        for place, step in reversed(list(enumerate(pipeline))):
            if kind_of(step) == "Pad" and step.get("size"):
                step["size"] = size
            if kind_of(step) == "Resize":
                step["scale"] = size
                if pad:
                    pipeline.insert(place + 1, {"type": "mmdet.Pad", "size": size, "pad_val": {"img": (0, 0, 0)}})


def _set_crop_size(model: Any, size: tuple[int, int]) -> bool:
    """Set each `crop_size` of a model, and return whether there is one."""
    inner = list(model.values()) if isinstance(model, dict) else list(model) if isinstance(model, list | tuple) else []
    found = [_set_crop_size(value, size) for value in inner]
    if isinstance(model, dict) and "crop_size" in model:
        model["crop_size"] = size
        return True
    return any(found)


def read_quads(config: Config) -> None:
    """Make every pipeline read annotations that are quads, as those of `RBoxDataset` are."""
    for pipeline in pipelines(config):
        pipeline[:] = [_reading_quads(step) for step in pipeline]


def read_images(config: Config) -> None:
    """Make every pipeline read image files by rbox_formats, which turns them as they note, whatever their format.

    What reads other pixels than mmcv's default (grey ones, another decoder, another place than a file) stays.
    """
    for pipeline in pipelines(config):
        pipeline[:] = [_reading_images(step) for step in pipeline]


def _reading_images(step: Any) -> Any:
    if kind_of(step) != "LoadImageFromFile" or not _is_usual(step):
        return step
    return {"type": "LoadRBoxImage", "to_float32": step.get("to_float32", False)}


def _is_usual(step: Any) -> bool:
    colour = step.get("color_type", "color") in _COLOUR and step.get("imdecode_backend", "cv2") == "cv2"
    return colour and not step.get("backend_args") and not step.get("ignore_empty")


def _reading_quads(step: Any) -> Any:
    kind = kind_of(step)
    if kind == "LoadAnnotations":
        return {"type": "mmdet.LoadAnnotations", "with_bbox": True, "box_type": "qbox"}
    if kind == "ConvertMask2BoxType":
        return {"type": "ConvertBoxType", "box_type_mapping": {"gt_bboxes": "rbox"}}
    return step
