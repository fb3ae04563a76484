"""SAM, as small as it gets."""

from __future__ import annotations

from pathlib import Path


def save(folder: Path, patch_size: int, window_size: int) -> Path:
    """Write a whole SamModel as transformers saves it: two layers, 16 channels, images of 64 px, random weights.

    Args:
        folder: Where to.
        patch_size: Side of a patch in pixels.
        window_size: Side of the windows of local attention in patches.
    """
    import torch
    from transformers import SamConfig, SamModel, SamVisionConfig

    vision = SamVisionConfig(
        hidden_size=32,
        output_channels=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=64,
        patch_size=patch_size,
        window_size=window_size,
        global_attn_indexes=[1],
        mlp_dim=64,
        initializer_range=0.2,  # by default next to 0, and the maps would not depend on the image
    )
    torch.manual_seed(0)
    SamModel(SamConfig(vision_config=vision.to_dict())).save_pretrained(folder)
    return folder
