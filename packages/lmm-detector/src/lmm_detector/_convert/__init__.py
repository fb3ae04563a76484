"""Microsoft's and LMMRotate's published Florence-2 checkpoints in the layout that transformers loads by itself."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rbox_formats import ClassNames, codecs, tiling

from lmm_detector._convert._assembly import assemble
from lmm_detector._convert._processors import make_processor
from lmm_detector._convert._settings import check_source, generation_config, start_tokens
from lmm_detector._convert._weights import read_weights
from lmm_detector._families import FAMILIES
from lmm_detector._families._loading import DTYPES
from lmm_detector._model_files import read_object, weight_files
from lmm_detector._runtime._folders import appearing, check_new
from lmm_detector._spec import DetectorSpec
from lmm_detector.errors import ModelError

__all__ = ["Conversion", "convert_checkpoint"]

logger = logging.getLogger("lmm_detector")


@dataclass(frozen=True)
class Conversion:
    """What a conversion made.

    Attributes:
        folder: Where it is.
        weights: How many tensors were taken over.
        left_over: Keys of the source that transformers' layout has no place for; () unless `strict` was off.
        missing: Names of transformers' layout that the source has no weights for; () unless `strict` was off.
        is_detector: Whether the folder holds a detector, with its classes and codec, or a model to train one from.
    """

    folder: Path
    weights: int
    left_over: tuple[str, ...]
    missing: tuple[str, ...]
    is_detector: bool


def convert_checkpoint(
    source: str | Path,
    out: str | Path,
    *,
    class_names: Iterable[str] | None = None,
    codec: str = "florence2",
    codec_options: Mapping[str, Any] | None = None,
    prompt: str | None = None,
    window: int | None = None,
    gap: int | None = None,
    processor: str | Path | None = None,
    image_size: int | None = None,
    dtype: str | None = None,
    strict: bool = True,
) -> Conversion:
    """Convert a Florence-2 of Microsoft's remote code, or one that LMMRotate trained, to transformers' layout.

    No code of the source is run: weights come from safetensors, or from pickles as tensors only. The weights stay
    unchanged, except for their names, the transposed image projection, the dtype if one is asked for, and new rows of
    the word embeddings: one for `<image>`, and more up to a multiple of 64. The new rows are the mean of the old, so
    their logits are the mean of the others' and never the highest. (`convert_florence2_original_pytorch_to_hf.py` of
    transformers draws them at random around that mean, and runs the remote code to get at the weights.)

    Args:
        source: The checkpoint's folder.
        out: The folder to make; it may exist if it is empty. It appears when all is written, or not at all.
        class_names: The classes that the checkpoint was taught. With them the folder becomes a detector for
            `lmm_detector.Detector.from_pretrained`; without, a model to train one from.
        codec: The text format that it was taught.
        codec_options: The codec's options: LMMRotate's releases are version 2, the default of `florence2`.
        prompt: What asks it for boxes. None: LMMRotate's sentence, which is the codec's own.
        window: Side of the windows in which it saw images, in pixels. None: the size that images are resized to.
        gap: How far windows overlap, in pixels. None: DOTA's 200 at 1024, and in proportion.
        processor: A folder with tokenizer.json and preprocessor_config.json. None: the source.
        image_size: Side of the square that images are resized to, in pixels (LMMRotate's `image_square_length`). None:
            what the processor's files say.
        dtype: "float32", "bfloat16" or "float16". None: as stored.
        strict: Whether a key that is left over, or a weight that is missing, is refused. If not, the first is dropped
            and the second drawn at random, from a fixed seed; both are logged by name.

    Raises:
        ModelError: If the source is no such checkpoint, a file is broken, keys are left over or missing, a shape does
            not fit, a weight cannot be held in the dtype, or the folder to make is the source or not empty.
        CodecError: If there is no such codec, or it has no such option.
    """
    source, out = Path(source), Path(out)
    if dtype is not None and dtype not in DTYPES:
        raise ModelError(f"expected a dtype among {', '.join(DTYPES)}, got {dtype!r}")
    if not source.is_dir():
        remedy = f"Fetch a model of the hub first: hf download {source} --local-dir FOLDER."
        raise ModelError("expected a checkpoint's folder, found none", path=source, remedy=remedy)
    check_new(out, source)
    config = read_object(source / "config.json")
    check_source(config, source / "config.json")
    weight_files(source)
    made_processor = make_processor(source if processor is None else Path(processor), config["text_config"], image_size)
    is_lmmrotates = config.get("response_format") is not None  # which its trainer writes
    spec = None
    if class_names is not None:
        side = made_processor.image_processor.size["height"]
        spec = _spec(ClassNames(class_names), codecs.get(codec, **(codec_options or {})), prompt, side, window, gap)
    elif is_lmmrotates:
        logger.info("%s: LMMRotate trained it; without class names it becomes a model to train, no detector", source)

    assembly = assemble(config, read_weights(source), made_processor, source, dtype=dtype, strict=strict)
    assembly.model.generation_config = generation_config(config)
    if spec is not None:
        # Tokens for the codec, and positions for image and prompt.
        FAMILIES["florence2"](assembly.model, made_processor).check(spec.make_codec(), spec.prompt)
    if spec is not None or is_lmmrotates:
        assembly.model.config.decoder_start_tokens = start_tokens(config)
    with appearing(out) as folder:
        assembly.model.save_pretrained(folder)
        made_processor.save_pretrained(folder)
        if spec is not None:
            spec.save(folder)
    return Conversion(out, assembly.weights, assembly.left_over, assembly.missing, spec is not None)


def _spec(
    class_names: ClassNames, codec: codecs.Codec, prompt: str | None, side: int, window: int | None, gap: int | None
) -> DetectorSpec:
    """Return what the detector was taught; `side` is that of the square that images are resized to."""
    window = side if window is None else window
    gap = tiling.default_gap(window) if gap is None else gap
    tiling.windows(window, window, window, gap)  # says what is wrong with them
    return DetectorSpec(
        class_names=class_names,
        codec=codec.to_dict(),
        prompt=codec.question(class_names) if prompt is None else prompt,
        window=window,
        gap=gap,
    )
