"""SAM, as small as it gets."""

from __future__ import annotations

from pathlib import Path


def save(folder: Path, patch_size: int, window_size: int, *, with_decoder: bool = False) -> Path:
    """Write a whole SamModel as transformers saves it: two layers, 16 channels, images of 64 px, random weights.

    Args:
        folder: Where to.
        patch_size: Side of a patch in pixels.
        window_size: Side of the windows of local attention in patches.
        with_decoder: Whether the decoder has the encoder's channels, so that both work together. Else it is SAM's.
    """
    import torch
    from transformers import SamConfig, SamMaskDecoderConfig, SamModel, SamPromptEncoderConfig, SamVisionConfig

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
    parts = {"vision_config": vision.to_dict()}
    if with_decoder:
        prompts = SamPromptEncoderConfig(hidden_size=16, image_size=64, patch_size=patch_size)
        decoder = SamMaskDecoderConfig(hidden_size=16, num_attention_heads=2, mlp_dim=32)
        parts["vision_config"]["num_pos_feats"] = 8
        parts |= {"prompt_encoder_config": prompts.to_dict(), "mask_decoder_config": decoder.to_dict()}
    torch.manual_seed(0)
    SamModel(SamConfig(**parts)).save_pretrained(folder)
    return folder
