"""Pixels: bytes on the way to the device, and what image processors make of them once they are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rbox_formats.typing import Image

if TYPE_CHECKING:
    import torch

# What is left to `normalised`: a byte takes a quarter of the room, between processes and to the device, of a float.
_AS_BYTES = {"do_rescale": False, "do_normalize": False}


def processed(processor: Any, images: Sequence[Image], *, do_resize: bool, **options: Any) -> dict[str, torch.Tensor]:
    """Return what a processor makes of images and texts, without the normalisation of pixels.

    Args:
        processor: transformers', with an image processor.
        images: (height, width, 3) uint8.
        do_resize: Whether any of them needs it.
        options: Of the processor; the texts among them.

    Returns:
        Its tensors, `pixel_values` in uint8.
    """
    import torch

    found = processor(
        images=[[image] for image in images],  # one to a text, which Gemma 3's would not know by itself
        padding=True,
        return_tensors="np",  # PaliGemma's warns of NumPy 2 where it gets torch's
        input_data_format="channels_last",  # an image of three rows would be taken for three channels
        do_resize=do_resize and processor.image_processor.do_resize,
        **_AS_BYTES,
        **options,
    )
    tensors = {name: torch.from_numpy(value) for name, value in found.items()}
    # Image processors that cut patches make floats of whole numbers; Idefics3's mask has eight bytes for each pixel.
    kinds = {"pixel_values": torch.uint8, "pixel_attention_mask": torch.bool}
    return tensors | {name: tensors[name].to(kind) for name, kind in kinds.items() if name in tensors}


def of_one_size(
    processor: Any, images: Sequence[Image], size: tuple[int, int], *, text: Sequence[str], **options: Any
) -> dict[str, torch.Tensor]:
    """`processed` for a model that sees all images at one size, (width, height), and none in pieces.

    Images of that size are not touched; others are resized as the processor does, on fewer ways from layout to layout.
    The processor sees the smallest image that it takes in their place, for the texts around them; and each text once: a
    thousand tokens of an image take it milliseconds.
    """
    import torch

    settings = processor.image_processor
    if settings.do_center_crop or settings.do_pad or not settings.do_resize:
        return processed(processor, images, do_resize=True, text=text, **options)
    distinct = list(dict.fromkeys(text))
    stand_ins = [np.zeros((2, 2, 3), dtype=np.uint8)] * len(distinct)
    found = processed(processor, stand_ins, do_resize=False, text=distinct, **options)
    of_each = torch.tensor([distinct.index(each) for each in text])
    seen = [resized(image, size, settings.resample) for image in images]
    # A view: the channels stay side by side in memory until the pixels are on the device.
    pixels = torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2)
    return {name: values[of_each] for name, values in found.items()} | {"pixel_values": pixels}


def resized(image: Image, size: tuple[int, int], resample: int) -> Image:
    """Return an image at another size, (width, height), by Pillow's resampling of that number."""
    if image.shape[1::-1] == size:
        return image
    from PIL import Image as PillowImage

    return np.asarray(PillowImage.fromarray(np.ascontiguousarray(image)).resize(size, resample))


def normalised(pixels: torch.Tensor, image_processor: Any, mask: torch.Tensor | None = None) -> torch.Tensor:
    """Return what the image processor makes of bytes: (value * rescale_factor - mean) / standard deviation by channel.

    One thing differs. LLaVA-OneVision pads images that have fewer tiles than others of the batch with tiles that its
    model ignores: they are zero before this step here, and zero after it in transformers.

    Args:
        pixels: uint8, (..., 3, height, width); or (N, 3 * n) of Qwen-VL: flattened patches, channel by channel.
        image_processor: It has the factor, mean and deviation, and says which of the two steps are taken.
        mask: (..., height, width) bool of Idefics3: what is not padding; padding is returned as zeros. None: all.

    Returns:
        float32 of the same shape, where the pixels are.
    """
    import torch

    values = pixels.to(torch.float32, memory_format=torch.contiguous_format)
    scale = image_processor.rescale_factor if image_processor.do_rescale else 1.0
    if not image_processor.do_normalize:
        return values.mul_(scale)
    # The numbers in double precision; the pixels are gone through twice.
    mean, deviation = (
        torch.tensor(np.broadcast_to(np.asarray(value, dtype=np.float64), 3))
        for value in (image_processor.image_mean, image_processor.image_std)
    )
    is_flat = values.ndim == 2
    by_channel = values.view(len(values), len(mean), -1, 1) if is_flat else values

    def everywhere(value: torch.Tensor) -> torch.Tensor:
        return value.to(values.device, torch.float32).view(-1, 1, 1)

    by_channel.mul_(everywhere(scale / deviation)).sub_(everywhere(mean / deviation))
    return values if mask is None else values.mul_(mask.to(values.device).unsqueeze(-3))
