"""Training on images of random sizes, cut or padded to a square, as RSPrompter and RS4D do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rbox_baselines._configs._pipelines import innermost, resize

if TYPE_CHECKING:
    from mmengine.config import Config


def jitter(config: Config, side: int) -> None:
    """Make a config of masks learn from images of 0.1 to 2 times a side, cut or padded to a square of that side.

    In prediction images are resized to that longer side. Doing it again sets another side.

    Args:
        config: A config whose training pipeline reads masks.
        side: Of the square, in pixels.
    """
    size = (side, side)
    training = innermost(config.train_dataloader.dataset)
    training.pipeline = []
    resize(config, side)
    training.pipeline = [
        {"type": "LoadRBoxImage", "to_float32": True},
        {"type": "mmdet.LoadAnnotations", "with_bbox": True, "with_mask": True},
        {"type": "mmdet.RandomFlip", "prob": 0.5},
        {"type": "mmdet.RandomResize", "scale": size, "ratio_range": (0.1, 2.0), "keep_ratio": True,
         "resize_type": "mmdet.Resize"},
        {"type": "mmdet.RandomCrop", "crop_size": size, "crop_type": "absolute", "recompute_bbox": True,
         "allow_negative_crop": True},
        {"type": "mmdet.FilterAnnotations", "min_gt_bbox_wh": (1e-5, 1e-5), "by_mask": True},
        {"type": "mmdet.PackDetInputs"},
    ]  # fmt: skip
    # SAM has seen images padded to squares: smaller ones are not given to it unpadded.
    padding: dict[str, Any] = {"size": size, "img_pad_value": 0, "pad_mask": True, "mask_pad_value": 0}
    config.model.data_preprocessor.batch_augments = [{"type": "mmdet.BatchFixedSizePad", **padding, "pad_seg": False}]
