"""The tokenizer and image processor of a remote-code checkpoint, as transformers' Florence-2 has them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lmm_detector._model_files import read_object
from lmm_detector.errors import ModelError

IMAGE_TOKEN = "<image>"
CELL = 32  # pixels of the image to one cell that the vision part gives, along either side

# What Microsoft's processor adds to BART's tokenizer each time that it is loaded, in this order: its files do not hold
# it (`processing_florence2.py` of microsoft/Florence-2-large; "desciption" is its spelling).
_PAIRED = ("cap", "ncap", "dcap", "grounding", "seg")
_PAIRED_LATER = ("region_cap", "region_to_desciption", "proposal", "poly")
ADDED_TOKENS = (
    *("<od>", "</od>", "<ocr>", "</ocr>"),
    *(f"<loc_{place}>" for place in range(1000)),
    *(f"<{slash}{name}>" for name in _PAIRED for slash in ("", "/")),
    "<sep>",
    *(f"<{slash}{name}>" for name in _PAIRED_LATER for slash in ("", "/")),
    "<and>",
)

_NORMALISATION = ("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std", "resample")


def make_processor(folder: Path, text_config: Mapping[str, Any], image_size: int | None) -> Any:
    """Return a `Florence2Processor` from the files of a remote-code checkpoint.

    Args:
        folder: The checkpoint's, or another with its tokenizer.json and preprocessor_config.json.
        text_config: Remote code's, for the ids of special tokens.
        image_size: Side of the square that images are resized to, in pixels; None: what the files say.

    Raises:
        ModelError: If a file is missing or broken, or the images are not resized to a square of whole cells.
    """
    from transformers import Florence2Processor

    return Florence2Processor(
        image_processor=_image_processor(folder, image_size), tokenizer=_tokenizer(folder, text_config)
    )


def _tokenizer(folder: Path, text_config: Mapping[str, Any]) -> Any:
    """Load the tokenizer from tokenizer.json alone: this file holds all of it, and no code."""
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerFast

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ModelError(
            "expected a tokenizer (tokenizer.json), found none",
            path=folder,
            remedy="A checkpoint that was saved without it has that of the model it was fine-tuned from: "
            "give that model's folder as the processor's (--processor).",
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # tokenizers raises nothing narrower
        raise ModelError(f"expected a tokenizer, got: {error}", path=path) from error
    # A padding that was in force when the file was written is no property of the vocabulary.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    names = {
        name: _token(tokenizer, text_config[f"{name}_id"], path) for name in ("bos_token", "pad_token", "eos_token")
    }
    unknown = "<unk>" if tokenizer.token_to_id("<unk>") is not None else None
    # Tokens that are there already keep their ids.
    added = [AddedToken(token, special=True, normalized=False) for token in (*ADDED_TOKENS, IMAGE_TOKEN)]
    tokenizer.add_special_tokens(added)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token=unknown, extra_special_tokens={"image_token": IMAGE_TOKEN}, **names
    )


def _token(tokenizer: Any, number: int, path: Path) -> str:
    token = tokenizer.id_to_token(number)
    if token is None:
        raise ModelError(f"expected a token of id {number}, found none", path=path)
    return str(token)


def _image_processor(folder: Path, image_size: int | None) -> Any:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    path = folder / "preprocessor_config.json"
    settings = read_object(path)
    found = settings.get("size") or {}
    height, width = (found.get("height"), found.get("width")) if isinstance(found, dict) else (None, None)
    side = image_size if image_size is not None else height
    if not isinstance(side, int) or side < CELL or side % CELL or (image_size is None and height != width):
        got = f"{width}x{height}" if image_size is None else str(image_size)
        raise ModelError(f"expected images of a square of a multiple of {CELL} px, got {got}", path=path)
    size = {"height": side, "width": side}
    return CLIPImageProcessorPil(
        size=size,
        crop_size=size,
        do_center_crop=False,
        image_seq_length=(side // CELL) ** 2 + 1,
        **{key: settings[key] for key in _NORMALISATION if settings.get(key) is not None},
    )
