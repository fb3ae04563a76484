"""What training and prediction ask of a model family."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from rbox_formats.codecs import Codec
from rbox_formats.errors import quoted, said
from rbox_formats.typing import Image, LabelsN, ScoresN, SpansN

from lmm_detector._decoding._vocabulary import Vocabulary
from lmm_detector._families import _attention, _pixels
from lmm_detector._families._checkpointing import checkpoint_layers
from lmm_detector._families._generation import options_of
from lmm_detector._families._preparation import Preparation
from lmm_detector._families._soft_targets import Axis, SoftTargets
from lmm_detector._families._tokens import Initialisation, add_tokens
from lmm_detector._families._types import IGNORED_LABEL, PARTS, Answer, Decoding, Part, Sample, Size
from lmm_detector.errors import ModelError

if TYPE_CHECKING:
    import torch

__all__ = ["IGNORED_LABEL", "PARTS", "Answer", "Decoding", "Family", "Part", "Sample", "Size"]

_LIMIT = "language_model_max_length"  # what config.json calls the limit of `set_positions`


@dataclass(frozen=True)
class Family(ABC):
    """A loaded model and its processor.

    Attributes:
        model: A transformers model, or a peft model around one.
        processor: Its processor: tokenizer and image processor.
        preparation: Of a model with adapters: what its base was made of, and how.
    """

    model: Any
    processor: Any
    preparation: Preparation | None = None

    name: ClassVar[str]
    #: Parts whose attention flash-attn cannot compute whatever the size of its heads, and why.
    without_flash: ClassVar[Mapping[Part, str]] = {}
    #: Why float16 does not hold what the model computes, if it does not.
    without_float16: ClassVar[str | None] = None
    #: Whether all images become one of the same size, whose tokens are as many.
    has_one_size: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def load(
        cls, source: str, *, dtype: str = "float32", attn_implementation: str | Mapping[Part, str] | None = None
    ) -> Family:
        """Load weights and processor from a local folder or the hub, without running code from there.

        Args:
            source: A local folder, or a model's name on the hub.
            dtype: What the weights are held in: "float32", "bfloat16" or "float16".
            attn_implementation: Such as "sdpa" or "flash_attention_2", for all of the model or for its parts "vision"
                and "language". None or "auto": flash attention where flash-attn is installed, the weights are of half
                precision and the part allows it, what transformers chooses (sdpa) else; `attention` says which.

        Raises:
            ModelError: If it cannot be found, weights are missing, or the model has no such attention or precision.
        """

    def save(self, folder: str | Path, state_dict: Mapping[str, Any] | None = None) -> None:
        """Write weights and processor into a folder, from which `load` takes them; of adapters only those, no base.

        Args:
            folder: Where to.
            state_dict: The weights, where they are not the model's own: of a model in pieces, gathered.
        """
        options: dict[str, Any] = {}
        if self.preparation is not None:
            self.preparation.save(folder)
            options["save_embedding_layers"] = False  # peft would ask the hub whether the vocabulary has grown
        self.model.save_pretrained(folder, state_dict=state_dict, **options)
        self.processor.save_pretrained(folder)

    # The model and its parts.

    @property
    def base(self) -> Any:
        """The transformers model, also where adapters of peft are around it."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    @property
    @abstractmethod
    def prefixes(self) -> Mapping[Part, tuple[str, ...]]:
        """The names, within `base`, of the modules (or lone parameters) of each part; a longer name goes first."""

    def part_of(self, name: str) -> Part:
        """Return the part to which a parameter or module of `base` belongs.

        Args:
            name: As `named_parameters` and `named_modules` give it.

        Raises:
            ModelError: If it belongs to none: transformers has changed the model.
        """
        plain = name.replace(".modules_to_save.default", "")  # the same name if adapters have no copy of the module
        found = [
            (len(prefix), part)
            for part, prefixes in self.prefixes.items()
            for prefix in prefixes
            if plain == prefix or plain.startswith(f"{prefix}.")
        ]
        if not found:
            known = ", ".join(prefix for prefixes in self.prefixes.values() for prefix in prefixes)
            raise ModelError(f"expected a name within {known}, got {quoted(name)}")
        return max(found)[1]

    @property
    def parts(self) -> dict[Part, dict[str, Any]]:
        """The parameters of each part by their names within `base`; each parameter is in exactly one.

        Where adapters have a copy of a module that is trained in full, the copy's.
        """
        parts: dict[Part, dict[str, Any]] = {part: {} for part in PARTS}
        for name, parameter in self.base.named_parameters():
            if ".original_module." not in name:
                parts[self.part_of(name)][name] = parameter
        return parts

    def linear_layers(self, part: Part) -> list[str]:
        """Return the names within `base` of a part's linear layers, which get adapters; without the output head."""
        from torch.nn import Linear

        head = self.base.get_output_embeddings()
        return [
            name
            for name, module in self.base.named_modules()
            if isinstance(module, Linear) and module is not head and self.part_of(name) == part
        ]

    # How the model computes.

    @property
    def attention(self) -> dict[Part, str]:
        """The implementation of attention that each part uses, such as "sdpa"; a projection has none."""
        found: dict[Part, str] = {}
        for part in _attention.CONFIGS:
            section: Any = self.base.get_submodule(self.prefixes[part][0]).config
            found[part] = str(section._attn_implementation)
        return found

    @property
    def dtype(self) -> torch.dtype:
        """What the model computes in: the widest precision of its weights, as some may be held in fewer bits."""
        found: set[torch.dtype] = {each.dtype for each in self.model.parameters() if each.is_floating_point()}
        return max(found, key=lambda dtype: dtype.itemsize)

    def use_attention(self, wanted: str | Mapping[Part, str] | None, dtype: str) -> None:
        """Change the implementation of attention.

        For training in half precision by autocast: the weights, by whose precision `load` chooses, are float32 there.

        Args:
            wanted: See `attn_implementation` of `load`.
            dtype: What attention is computed in.

        Raises:
            ModelError: If the model has no such attention.
        """
        config = self.base.config
        chosen = _attention.choose(lambda: config, wanted, dtype, self.without_flash)
        if chosen is None:
            return
        named = chosen if isinstance(chosen, str) else {_attention.CONFIGS[part]: name for part, name in chosen.items()}
        try:
            self.base.set_attn_implementation(named)
        except (ValueError, ImportError) as error:
            raise ModelError(f"expected an attention that the model has, got: {said(error)}") from error

    @classmethod
    def require_precision(cls, dtype: str) -> None:
        """Make sure that a precision holds what the model computes, in weights or by autocast.

        Raises:
            ModelError: If it does not.
        """
        if dtype == "float16" and cls.without_float16:
            raise ModelError(
                f"expected float32 or bfloat16, got float16: {cls.without_float16}",
                remedy="Take bfloat16, which takes as much memory.",
            )

    def checkpoint_gradients(self) -> None:
        """Make training compute activations again in the backward pass, not keep them: less memory, more time.

        Of each layer of the text model and of the vision model only the inputs are kept. Gradients are the same,
        prediction does not change, and saved models are the same.
        """
        checkpoint_layers(self.base)

    # Lengths and sizes.

    @property
    def positions(self) -> int:
        """How many positions the text model has, or may use."""
        most = int(self.base.config.get_text_config().max_position_embeddings)
        return min(most, self.position_limit or most)

    @property
    def position_limit(self) -> int | None:
        """How many positions the text model may use, as `set_positions` set it; None: all."""
        limit: int | None = getattr(self.base.config, _LIMIT, None)
        return limit

    def set_positions(self, count: int) -> None:
        """Set how many tokens a text may have: image, prompt and answer together, or either of the two sequences.

        Before adapters are put on the model. `save` and `load` keep it. With rotary positions it is a limit and nothing
        else: there is no table, and what lies beyond the length that a model was trained at it has not learnt.

        Args:
            count: LMMRotate's `language_model_max_length`.

        Raises:
            ModelError: If the model cannot have as many.
        """
        most = int(self.base.config.get_text_config().max_position_embeddings)
        if not 1 <= count <= most:
            raise ModelError(
                f"expected a length from 1 to {most} tokens, which the model was made for, got {count}",
                remedy="Take a model for longer texts, smaller images, or smaller windows, which hold fewer objects.",
            )
        setattr(self.base.config, _LIMIT, count)

    @abstractmethod
    def set_image_size(self, side: int) -> None:
        """Set the size at which the model sees square windows, whatever theirs is.

        Before adapters are put on the model. `save` and `load` keep it.

        Args:
            side: In pixels; LMMRotate's `image_square_length`.

        Raises:
            ModelError: If the model cannot see images of that size.
        """

    @abstractmethod
    def prompt_tokens(self, prompt: str, image_size: Size | None = None) -> int:
        """Return the length of image and prompt in tokens.

        Args:
            prompt: What asks for the boxes.
            image_size: Of the windows. None: the image counts as one token where the number depends on its size.
        """

    @abstractmethod
    def answer_room(self, prompt: str, image_size: Size) -> int:
        """Return how many tokens an answer to this prompt may have, end-of-text included."""

    @abstractmethod
    def input_size(self, image_size: Size) -> Size:
        """Return the size at which the model sees such an image, resized and padded; codecs in its pixels need it."""

    @abstractmethod
    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the length of each answer in tokens, end-of-text included."""

    @property
    def placeholders(self) -> tuple[str, ...]:
        """The tokens that stand for an image or a video in what processor and model read."""
        found = [getattr(self.processor, name, None) for name in ("image_token", "video_token")]
        ids = [getattr(self.base.config, name, None) for name in ("image_token_id", "video_token_id")]
        found += self._spelled(ids)
        return tuple(dict.fromkeys(str(token) for token in found if token))

    def _spelled(self, ids: Iterable[Any]) -> list[str]:
        """Return the tokens of ids out of files; what is the id of none is left out."""
        known = [each for each in ids if isinstance(each, int) and 0 <= each < len(self.tokenizer)]
        tokens: list[str] = self.tokenizer.convert_ids_to_tokens(known)
        return tokens

    def check(self, codec: Codec, prompt: str, image_size: Size | None = None, class_names: Sequence[str] = ()) -> None:
        """Make sure, before any long work, that the model can write the codec's texts.

        Args:
            codec: The codec.
            prompt: What asks for the boxes.
            image_size: Of the windows; None: see `prompt_tokens`.
            class_names: What is written of.

        Raises:
            ModelError: If a token is missing, image and prompt are longer than the model takes, or prompt or names hold
                tokens that mean something else to it.
        """
        self._check_words(codec, prompt, class_names)
        known = self.tokenizer.get_vocab()
        absent = [token for token in codec.added_tokens if token not in known]
        if absent:
            raise ModelError(
                f"expected a tokenizer with the tokens of codec {codec.name!r}, got one without {quoted(absent[0])}"
                + (f" and {len(absent) - 1} more" if len(absent) > 1 else ""),
                path=self.base.name_or_path,
            )
        length = self.prompt_tokens(prompt, image_size)
        if length > self.positions:
            raise ModelError(
                f"expected at most {self.positions} tokens of image and prompt, got {length}",
                remedy="Give the model more positions (language_model_max_length), where they are learnt, or smaller "
                "images (image_square_length), or shorten the prompt.",
            )

    def _check_words(self, codec: Codec, prompt: str, class_names: Sequence[str]) -> None:
        """Make sure that no placeholder is in prompt or names, and no end of an answer in names."""
        images = dict.fromkeys(self.placeholders, "stands for an image or a video")
        end_tokens = list(self.end_tokens) if class_names else []  # of a model that was loaded; `convert` makes one
        ends = dict.fromkeys(self._spelled(end_tokens), "ends an answer")
        written = dict.fromkeys(form for name in class_names for form in (name, codec.syntax.spell(name)))
        for what, texts, tokens, remedy in (
            ("class names", written, {**ends, **images}, "Give the class another name (--class-names)."),
            ("a prompt", [prompt], images, "Leave it out of the prompt: the image gets its place by itself."),
        ):
            for text, (token, meaning) in itertools.product(texts, tokens.items()):
                if token in text:
                    raise ModelError(
                        f"expected {what} without {quoted(token)}, which {meaning}, got {quoted(text)}",
                        path=self.base.name_or_path,
                        remedy=remedy,
                    )

    # Tokens and their texts.

    @property
    def end_tokens(self) -> tuple[int, ...]:
        """The ids of the tokens that end an answer; the first is the one that is taught.

        After it come those that the checkpoint's own generation settings name.
        """
        return tuple(self.base.generation_config.eos_token_id)

    @property
    def never_written(self) -> list[str]:
        """The tokens that no answer has: those that stand for an image or a video."""
        return self._spelled(self.base.generation_config.suppress_tokens or ())

    def add_tokens(self, tokens: Sequence[str], initialisation: Initialisation = "digits") -> list[int]:
        """Add tokens that the tokenizer lacks, with a row each in the embeddings and in an untied output head.

        Before adapters are put on the model. `save` and `load` keep them.

        Args:
            tokens: The tokens to add, such as a codec's `added_tokens`; those that exist already stay unchanged.
            initialisation: "digits": near the text that they stand for; "mean": all alike, as LMMRotate does.

        Returns:
            The ids of the new ones.
        """
        return add_tokens(self.model, self.tokenizer, tokens, initialisation)

    def read(self, tokens: Sequence[int] | LabelsN) -> tuple[str, SpansN]:
        """Return the text of tokens, special ones included, and the place of each in it.

        A character of several tokens, as byte-level tokenizers have them, belongs to the last; those before stand,
        empty, where it begins. An id that no token has, which the model's table may have a row for, writes nothing.

        Args:
            tokens: (T,) ids.

        Returns:
            The text, and (T, 2) int64: first character of each token and one past the last.
        """
        vocabulary = _vocabulary(self.tokenizer, len(self.tokenizer), self.end_tokens[0])
        ids = np.asarray(tokens, dtype=np.int64)
        known = ids < len(vocabulary.spellings)
        text, found = vocabulary.read(ids[known].tolist())
        spans = np.zeros((len(ids), 2), dtype=np.int64)
        spans[known] = found
        spans[~known] = np.maximum.accumulate(spans[:, 1])[~known, None]
        return text, spans

    def soft_targets(self, codec: Codec, deviation: float) -> SoftTargets | None:
        """Make what spreads the targets of a codec's coordinates over their neighbours.

        Args:
            codec: Its tokens are the tokenizer's (`check`).
            deviation: The standard deviation of the spread, in values of a coordinate, from 0.

        Returns:
            None where the deviation is 0: each token is its own target.

        Raises:
            ModelError: If the codec's coordinates are not one token each.
        """
        if deviation == 0:
            return None
        if not codec.coordinate_tokens:
            raise ModelError(f"expected a codec whose coordinates are one token each, got {quoted(codec.name)}")
        tokens: list[int] = self.tokenizer.convert_tokens_to_ids(list(codec.coordinate_tokens))
        return SoftTargets([Axis(tokens, deviation)])

    def token_spans(self, tokens: Sequence[int] | LabelsN) -> SpansN:
        """Return the place of each token in their text: (T, 2), first character and one past the last; see `read`."""
        return self.read(tokens)[1]

    # Training and prediction.

    @abstractmethod
    def collate(self, samples: Sequence[Sample], prompt: str) -> dict[str, Any]:
        """Return a batch for a training step: tensors on the CPU, labels included, pixels as bytes; see `on_device`."""

    @abstractmethod
    def loss(self, batch: Mapping[str, Any], model: Any = None, soft: SoftTargets | None = None) -> torch.Tensor:
        """Return the sum of the negative log-probabilities of a batch's labels; divided by their number, the loss.

        Args:
            batch: Of `collate`, where the model is (`on_device`).
            model: What is around `self.model` in training, such as PyTorch's for several processes. None: nothing.
            soft: What spreads the targets of coordinates over their neighbours; the sum is then of cross entropies.
                None: nothing does.

        Returns:
            () float32.
        """

    def places(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """Compute the features of images, place by place: what the projection hands to the language model.

        Args:
            batch: Of `collate`, where the model is (`on_device`), of images of one size.

        Returns:
            (B, rows, columns, width), with its gradient; the first row is the upper one.

        Raises:
            ModelError: If the model sees images in tiles: model types of `WITH_GRID` do not.
        """
        raise ModelError(f"expected a model that sees an image as one grid, got {quoted(self.base.config.model_type)}")

    def _image_features(self, *inputs: torch.Tensor) -> Any:
        """Compute what transformers' model calls the features of images, projected."""
        return self.base.model.get_image_features(*inputs).pooler_output

    @abstractmethod
    def generate(self, images: Sequence[Image], prompt: str, decoding: Decoding) -> list[Answer]:
        """Return the model's answers to a batch of images (height, width, 3) uint8.

        Raises:
            ModelError: If the longest answer does not fit after the prompt.
        """

    @abstractmethod
    def log_probabilities(
        self, images: Sequence[Image], prompt: str, answers: Sequence[Sequence[int] | LabelsN]
    ) -> list[ScoresN]:
        """Return the logarithm of the probability that the model gives to each token of finished answers.

        One pass over all tokens of the batch, without any constraint on the text. Of the probabilities over the
        vocabulary only a few tokens' are held at a time.

        Args:
            images: B images (height, width, 3) uint8.
            prompt: What asked for the boxes.
            answers: Of each image the ids of its answer, such as `Answer.tokens`.

        Returns:
            Of each image (T,) float64.
        """

    # What families share.

    def _generate(
        self, inputs: Mapping[str, Any], decoding: Decoding, *, prompt_length: int, begin: Sequence[int] = ()
    ) -> list[Answer]:
        """Return answers to inputs: what transformers returns after the first `prompt_length` tokens."""
        import torch

        options = options_of(decoding, prompt_length=prompt_length, begin=begin)
        with torch.inference_mode():
            tokens = self.model.generate(**self.on_device(inputs), **options)
        return [self.answer(row, decoding) for row in tokens[:, prompt_length:].cpu().numpy()]

    def answer(self, tokens: LabelsN, decoding: Decoding) -> Answer:
        """Return the answer in a row of generated tokens: up to the token that ended it; the rest is padding."""
        (ends,) = np.nonzero(np.isin(tokens, self.end_tokens))
        before = tokens[: ends[0]] if len(ends) else tokens
        stopped = None if decoding.circle is None else decoding.circle.stops_at(before)
        if stopped is not None:
            return Answer(self.read(tokens[:stopped])[0], tokens[:stopped], finished=False, repeated=True)
        tokens = tokens[: len(before) + bool(len(ends))]
        return Answer(self.read(tokens)[0], tokens, finished=bool(len(ends)))

    def on_device(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return inputs, such as `collate` makes, on the model's device and in its precision.

        Pixels, bytes until then, become there what the image processor would have made of them on the CPU.
        """
        device, dtype, found = self.model.device, self.dtype, {}
        for name, given in inputs.items():
            value = given.to(device, non_blocking=True)
            if name == "pixel_values" and not value.is_floating_point():
                value = _pixels.normalised(value, self.processor.image_processor, inputs.get("pixel_attention_mask"))
            found[name] = value.to(dtype) if value.is_floating_point() else value
        return found

    def _processed(self, images: Sequence[Image], texts: Sequence[str], **options: Any) -> dict[str, Any]:
        """Return what the processor makes of images and texts, without normalising the pixels, which stay bytes."""
        sizes = [(image.shape[1], image.shape[0]) for image in images]
        if self.has_one_size:
            return _pixels.of_one_size(self.processor, images, self.input_size(sizes[0]), text=texts, **options)
        do_resize = any(self.input_size(size) != size for size in sizes)
        return _pixels.processed(self.processor, images, do_resize=do_resize, text=list(texts), **options)


@lru_cache(maxsize=4)
def _vocabulary(tokenizer: Any, _size: int, end: int) -> Vocabulary:
    """Return what the tokenizer's tokens write; worked out again when it has grown."""
    return Vocabulary.of(tokenizer, end=end)
