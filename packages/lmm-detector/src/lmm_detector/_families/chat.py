"""Every model with a chat template, through transformers' own classes: Qwen-VL, InternVL, Gemma 3, SmolVLM, others."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from rbox_formats.errors import said
from rbox_formats.typing import Image

from lmm_detector._families import _pixels
from lmm_detector._families._attention import choose_attention
from lmm_detector._families._base import Part, Size
from lmm_detector._families._decoder_only import DecoderOnly
from lmm_detector._families._loading import load_model, load_processor, outline_model, read_config
from lmm_detector._families._sizes import in_a_square, require_multiple, require_side, set_longest_edge, set_pixels
from lmm_detector._model_files import read_object
from lmm_detector.errors import ModelError

if TYPE_CHECKING:
    import torch

logger = logging.getLogger("lmm_detector")

_ANSWER = "the answer"  # stands for one where the template is asked what follows it


def _smart_size(processor: Any, image_size: Size) -> Size:
    """Return Qwen-VL's size: rounded to whole merged patches, and scaled if it has too many or too few pixels."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    settings = processor.image_processor
    width, height = image_size
    rows, columns = smart_resize(
        height,
        width,
        factor=settings.patch_size * settings.merge_size,
        min_pixels=settings.size["shortest_edge"],
        max_pixels=settings.size["longest_edge"],
    )
    return columns, rows


def _framed_size(processor: Any, image_size: Size) -> Size:
    """Return GLM-4V's size: as Qwen-VL's, but pixels are counted over all frames of a patch; an image fills them."""
    from transformers.models.glm4v.image_processing_pil_glm4v import smart_resize

    settings = processor.image_processor
    width, height = image_size
    rows, columns = smart_resize(
        settings.temporal_patch_size,
        height,
        width,
        temporal_factor=settings.temporal_patch_size,
        factor=settings.patch_size * settings.merge_size,
        min_pixels=settings.size["shortest_edge"],
        max_pixels=settings.size["longest_edge"],
    )
    return columns, rows


def _tiled_size(processor: Any, image_size: Size) -> Size:
    """Return InternVL's size: the tiles that the image is stretched to; the thumbnail beside them is not counted."""
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas

    settings = processor.image_processor
    tile = (settings.size["height"], settings.size["width"])
    # The processor's setting takes precedence over the image processor's.
    is_tiled = type(processor).images_kwargs.get("crop_to_patches", settings.crop_to_patches)
    limits = (settings.min_patches, settings.max_patches) if is_tiled else (1, 1)
    columns, rows = get_optimal_tiled_canvas(image_size[::-1], tile, *limits)
    return columns * tile[1], rows * tile[0]


def _best_size(processor: Any, image_size: Size) -> Size:
    """Return LLaVA-OneVision's size: the best grid that the image is padded to; the small view is not counted."""
    from transformers.image_processing_utils import select_best_resolution

    height, width = select_best_resolution(image_size[::-1], processor.image_processor.image_grid_pinpoints)
    return width, height


def _split_size(processor: Any, image_size: Size) -> Size:
    """Return Idefics3's and SmolVLM's size: the tiles that the image, its longer side resized, is stretched to.

    The small view that goes with several tiles is not counted.
    """
    from transformers.models.idefics3.image_processing_pil_idefics3 import get_resize_output_image_size

    settings = processor.image_processor
    tile = settings.max_image_size["longest_edge"]
    if not settings.do_image_splitting:
        return tile, tile
    shape = np.broadcast_to(np.uint8(0), image_size[::-1])
    height, width = get_resize_output_image_size(shape, settings.size["longest_edge"])
    ratio = width / height
    if width >= height:
        width = math.ceil(width / tile) * tile
        height = math.ceil(int(width / ratio) / tile) * tile
    else:
        height = math.ceil(height / tile) * tile
        width = math.ceil(int(height * ratio) / tile) * tile
    return width, height


def _one_size(processor: Any, image_size: Size) -> Size:
    """Return Gemma 3's only size. Its processor leaves pan and scan off, whatever the image processor's file says."""
    size = processor.image_processor.size
    return size["width"], size["height"]


def _set_framed_size(processor: Any, config: Any, side: int) -> None:
    """Set GLM-4V's size as Qwen-VL's; see `_framed_size`."""
    _set_smart_size(processor, config, side, frames=processor.image_processor.temporal_patch_size)


def _set_smart_size(processor: Any, config: Any, side: int, frames: int = 1) -> None:
    """Set Qwen-VL's size: bounds of the number of pixels between which there is one size for squares.

    The side is rounded to whole merged patches; a square has as many on a side or, scaled up or down to the bounds and
    rounded inwards, gets them.
    """
    settings = processor.image_processor
    patch = settings.patch_size * settings.merge_size
    side = max(1, round(side / patch)) * patch
    set_pixels(settings, frames * (side - patch) ** 2 + 1, frames * (side + patch) ** 2 - 1)


def _set_tiled_size(processor: Any, config: Any, side: int) -> None:
    """Set InternVL's size: as many tiles as make up the square; and a thumbnail, if there are several."""
    settings = processor.image_processor
    tile = settings.size["height"]
    require_multiple(side, tile)
    settings.min_patches = settings.max_patches = (side // tile) ** 2


def _set_best_size(processor: Any, config: Any, side: int) -> None:
    """Set LLaVA-OneVision's size: the square as the only grid; and a small view, as always."""
    settings = processor.image_processor
    require_multiple(side, settings.size["height"])
    settings.image_grid_pinpoints = config.image_grid_pinpoints = [[side, side]]


def _set_split_size(processor: Any, config: Any, side: int) -> None:
    """Set Idefics3's and SmolVLM's size: as many tiles as make up the square; and a small view beside several.

    Each tile's row and column is a token of its own, published models have them for six by six.
    """
    settings = processor.image_processor
    tile = settings.max_image_size["longest_edge"]
    require_multiple(side, tile)
    count, known = side // tile, processor.tokenizer.get_vocab()
    if count > 1 and f"<row_{count}_col_{count}>" not in known:
        raise ModelError(
            f"expected an image size whose tiles of {tile} px the model has tokens for, got {side}: there is no "
            f"<row_{count}_col_{count}>"
        )
    set_longest_edge(settings, side)
    settings.do_image_splitting = True


def _set_one_size(processor: Any, config: Any, side: int) -> None:
    """Check Gemma 3's size: its vision model's positions are learnt for one size alone."""
    require_side(side, processor.image_processor.size["height"], "Published Gemma 3 are for 896 px.")


class _Model(NamedTuple):
    """What differs between model types.

    Attributes:
        processor: The name of transformers' class.
        input_size: See `Family.input_size`; of processor and image size.
        set_image_size: See `Family.set_image_size`; of processor, configuration and side.
        prefixes: See `Family.prefixes`.
    """

    processor: str
    input_size: Callable[[Any, Size], Size]
    set_image_size: Callable[[Any, Any, int], None]
    prefixes: Mapping[Part, tuple[str, ...]]


def _prefixes(vision: str, *projection: str, language: str = "model.language_model") -> Mapping[Part, tuple[str, ...]]:
    return {"vision": (vision,), "language": (language, "lm_head"), "projection": projection}


_MERGED = _prefixes("model.visual", "model.visual.merger")
_MERGED_TWICE = _prefixes("model.visual", "model.visual.merger", "model.visual.deepstack_merger_list")
_DOWNSAMPLED = _prefixes("model.visual", "model.visual.merger", "model.visual.downsample")
_PROJECTED = _prefixes("model.vision_tower", "model.multi_modal_projector", "model.image_newline")
_CONNECTED = _prefixes("model.vision_model", "model.connector", language="model.text_model")

MODELS: dict[str, _Model] = {
    "qwen2_vl": _Model("Qwen2VLProcessor", _smart_size, _set_smart_size, _MERGED),
    "qwen2_5_vl": _Model("Qwen2_5_VLProcessor", _smart_size, _set_smart_size, _MERGED),
    "qwen3_vl": _Model("Qwen3VLProcessor", _smart_size, _set_smart_size, _MERGED_TWICE),
    "qwen3_vl_moe": _Model("Qwen3VLProcessor", _smart_size, _set_smart_size, _MERGED_TWICE),
    "glm4v": _Model("Glm4vProcessor", _framed_size, _set_framed_size, _DOWNSAMPLED),
    "internvl": _Model("InternVLProcessor", _tiled_size, _set_tiled_size, _PROJECTED),
    "idefics3": _Model("Idefics3Processor", _split_size, _set_split_size, _CONNECTED),
    # SmolVLM's own processor writes the same of images, but asks for num2words, which it writes of videos with.
    "smolvlm": _Model("Idefics3Processor", _split_size, _set_split_size, _CONNECTED),
    "gemma3": _Model("Gemma3Processor", _one_size, _set_one_size, _PROJECTED),
    "llava_onevision": _Model("LlavaOnevisionProcessor", _best_size, _set_best_size, _PROJECTED),
}

#: Those that see an image as one grid of merged patches, rather than in tiles.
PATCHED = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "glm4v")


class Chat(DecoderOnly):
    """`AutoModelForImageTextToText`, its processor, and the chat template that comes with it.

    A user's turn with the image and the prompt; the answer is the assistant's turn, and what the template puts after
    it is the end that is taught.
    """

    name: ClassVar[str] = "chat"
    ignored_inputs: ClassVar[tuple[str, ...]] = (
        "token_type_ids",
    )  # of tokenizers in BERT's manner, which these models do not take

    @classmethod
    def load(
        cls, source: str, *, dtype: str = "float32", attn_implementation: str | Mapping[Part, str] | None = None
    ) -> Chat:
        """See `Family.load`.

        Raises:
            ModelError: Also if there is no chat template, or it puts no token after an answer.
        """
        from transformers import AutoModelForImageTextToText

        what, processor = cls._read(source, dtype)
        attention = choose_attention(source, attn_implementation, dtype, cls.without_flash)
        return cls._made(load_model(source, AutoModelForImageTextToText, what, dtype, attention), processor, source)

    @classmethod
    def outline(cls, source: str, *, dtype: str = "float32") -> Chat:
        """Return the model without its weights: its prompts, sizes and answers, for another program to run it.

        Args:
            source: A local folder.
            dtype: As in `Family.load`.

        Raises:
            ModelError: As `load`; weights are not looked at.
        """
        from transformers import AutoModelForImageTextToText

        what, processor = cls._read(source, dtype)
        return cls._made(outline_model(source, AutoModelForImageTextToText, what, dtype), processor, source)

    @classmethod
    def _read(cls, source: str, dtype: str) -> tuple[str, Any]:
        """Return how errors call the model, and its processor."""
        cls.require_precision(dtype)
        model_type = read_config(source)["model_type"]
        what = f"a model of type {model_type}"
        processor = load_processor(source, processor_class(model_type, source), what)
        if not (processor.chat_template or processor.tokenizer.chat_template):
            raise ModelError(
                "expected a chat template, found none",
                path=source,
                remedy="A model that was not trained on chats has none; take its instruction-tuned version.",
            )
        return what, processor

    @classmethod
    def _made(cls, model: Any, processor: Any, source: str) -> Chat:
        _leave_out_router_loss(model, source)
        family = cls(model, processor)
        family._settle()
        return family

    @property
    def _kind(self) -> _Model:
        return MODELS[self.base.config.model_type]

    @property
    def prefixes(self) -> Mapping[Part, tuple[str, ...]]:
        """See `Family.prefixes`."""
        return self._kind.prefixes

    def input_size(self, image_size: Size) -> Size:
        """See `Family.input_size`."""
        return self._kind.input_size(self.processor, image_size)

    def resized(self, image: Image) -> Image:
        """Return an image as the model sees it, where it sees one grid; what is seen in tiles is not touched."""
        if not self.has_one_size and self.base.config.model_type not in PATCHED:
            return image
        size = self.input_size((image.shape[1], image.shape[0]))
        return _pixels.resized(image, size, self.processor.image_processor.resample)

    def set_image_size(self, side: int) -> None:
        """See `Family.set_image_size`; Qwen-VL and GLM round to patches, the others but Gemma 3 take whole tiles."""
        if side < 1:
            raise ModelError(f"expected an image size of 1 px or more, got {side}")
        self._kind.set_image_size(self.processor, self.base.config, side)

    def places(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """See `Family.places`: merged patches, of Qwen-VL and GLM."""
        import torch

        config = self.base.config
        if config.model_type not in PATCHED:
            return super().places(batch)
        grids = batch["image_grid_thw"]
        side = config.vision_config.spatial_merge_size
        _, rows, columns = grids[0].tolist()
        found = torch.stack(tuple(self._image_features(batch["pixel_values"], grids)))
        return found.unflatten(1, (rows // side, columns // side))

    def render(self, prompt: str) -> str:
        """See `DecoderOnly.render`."""
        return self._rendered([_turn("user", prompt, with_image=True)], add_generation_prompt=True)

    def _own_ends(self) -> tuple[int, ...]:
        """Return what the template puts after an answer; and the tokenizer's end-of-text, if it is another."""
        question = _turn("user", "?", with_image=True)
        text = self._rendered([question, answer := _turn("assistant", _ANSWER)])
        if repr(answer["content"]) in text:  # GLM-4.1V's writes what it is given, and knows texts alone
            text = self._rendered([question, {"role": "assistant", "content": _ANSWER}])
        behind = self.tokenizer(text.rpartition(_ANSWER)[2].strip(), add_special_tokens=False).input_ids
        ends = [*behind[:1], self.tokenizer.eos_token_id]
        found = tuple(dict.fromkeys(token for token in ends if token is not None))
        if not found:
            raise ModelError("expected a chat template with a token after an answer, found none")
        return found

    def _rendered(self, turns: list[dict[str, Any]], *, add_generation_prompt: bool = False) -> str:
        """Return turns as the checkpoint's template writes them: a program, which transformers runs in Jinja's sandbox.

        Raises:
            ModelError: If it fails, or does what the sandbox does not allow.
        """
        try:
            text: str = self.processor.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except Exception as error:  # whatever the template does
            reason = f"{type(error).__name__}: {said(error)}"
            raise ModelError(
                f"expected a chat template that writes turns, got {reason}", path=self.base.name_or_path
            ) from error
        return text


class Gemma3(Chat):
    """Gemma 3: an image's tokens see also those of it that come later, as transformers masks them."""

    ignored_inputs = ()  # its token types say which tokens are an image's
    without_flash: ClassVar[Mapping[Part, str]] = {
        "language": "an image's tokens see all of each other, which its masks cannot say"
    }
    # huggingface/transformers, issue 36822.
    without_float16 = "Gemma 3's activations are larger than its largest number, 65,504, and answers come out empty"
    has_one_size = True

    def places(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """See `Family.places`."""
        return in_a_square(self._image_features(batch["pixel_values"]))


def _leave_out_router_loss(model: Any, source: str) -> None:
    """Turn off the auxiliary loss of a mixture of experts (Fedus et al., arXiv 2101.03961, section 2.2), and say so.

    It holds the experts' shares of a batch's tokens even: a product of two means over the batch, which is another where
    a step is divided otherwise. Ours is one mean over the step, and of answers alone, as published configurations have
    it.
    """
    config = model.config.get_text_config()
    if getattr(config, "output_router_logits", False):
        logger.warning("%s: training leaves out the router's auxiliary loss (output_router_logits)", source)
        config.output_router_logits = False


def _turn(role: str, text: str, *, with_image: bool = False) -> dict[str, Any]:
    content = [{"type": "text", "text": text}]
    return {"role": role, "content": [{"type": "image"}, *content] if with_image else content}


# What published files call their processors.
_PROCESSORS = (*{each.processor for each in MODELS.values()}, "SmolVLMProcessor")
# Where transformers looks for the name of a processor's class, and for what it has of videos, in this order.
_NAMING = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")
_OF_VIDEOS = ("video_preprocessor_config.json", "preprocessor_config.json")


def processor_class(model_type: str, source: str | Path | None = None) -> type:
    """Return the processor of a model type without its part for videos, which only works where torchvision is.

    Args:
        model_type: A key of `MODELS`.
        source: A model's folder. What its files say of videos, and the name that they give the processor, is written
            into saved ones again: transformers' own `transformers.AutoProcessor` and what stands on it need both.
    """
    import transformers

    complete: Any = getattr(transformers, MODELS[model_type].processor)
    published, videos = (complete, None) if source is None else _published(Path(source), complete)

    class WithoutVideo(complete):
        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in super().get_attributes() if "video" not in name]

        def to_dict(self) -> dict[str, Any]:
            found: dict[str, Any] = super().to_dict()
            return found if videos is None else {**found, "video_processor": videos}

    WithoutVideo.__name__ = published.__name__  # which is written into saved processors
    return WithoutVideo


def _published(folder: Path, default: type) -> tuple[type, dict[str, Any] | None]:
    """The class that a model's files name as its processor, and what they say of videos, if the class has such a part.

    Args:
        folder: The model's.
        default: The class where they name none.
    """
    import transformers

    files = {name: read_object(folder / name) for name in {*_NAMING, *_OF_VIDEOS} if (folder / name).is_file()}
    named = (files.get(name, {}).get("processor_class") for name in _NAMING)
    name = next((each for each in named if each in _PROCESSORS), default.__name__)
    found: Any = getattr(transformers, name)
    if "video_processor" not in found.get_attributes():
        return found, None
    nested = files.get("processor_config.json", {}).get("video_processor")
    candidates = (nested, *(files.get(each) for each in _OF_VIDEOS))
    videos = next((each for each in candidates if isinstance(each, dict)), None)
    # Code from elsewhere is not carried over.
    return found, None if videos is None else {name: value for name, value in videos.items() if name != "auto_map"}
