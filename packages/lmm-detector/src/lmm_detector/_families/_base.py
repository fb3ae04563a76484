"""What training and prediction ask of a model family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
from rbox_formats._typing import Image, LabelsN, ScoresN, SpansN
from rbox_formats.codecs import Codec

from lmm_detector._families._tokens import Initialisation, add_tokens
from lmm_detector._vocabulary import Vocabulary
from lmm_detector.errors import ModelError

if TYPE_CHECKING:
    from lmm_detector._token_automaton import TokenAutomaton

Part = Literal["vision", "language", "projection"]
PARTS: tuple[Part, ...] = ("vision", "language", "projection")

Size = tuple[int, int]  # (width, height) in pixels

IGNORED_LABEL = -100  # what PyTorch's cross entropy leaves out


class Sample(NamedTuple):
    """One window to train on.

    Attributes:
        image: (size, size, 3) uint8.
        text: The answer.
        complete: Whether the answer says all; one that was cut to the length limit is not followed by end-of-text.
    """

    image: Image
    text: str
    complete: bool


class Answer(NamedTuple):
    """What a model wrote about one image.

    Attributes:
        text: With special tokens, without prompt, start and padding.
        tokens: (T,) int64, the ids of that text's tokens.
        finished: Whether it came to its end, rather than to the length limit.
    """

    text: str
    tokens: LabelsN
    finished: bool


@dataclass(frozen=True)
class Decoding:
    """How one batch of answers is generated.

    Attributes:
        max_new_tokens: The longest answer, end-of-text included.
        min_new_tokens: The shortest one; with both equal, speed is measured whatever the weights.
        num_beams: 1 is greedy.
        temperature: Of sampling; None: the likeliest token, or beams.
        top_p: Sampling leaves out the least likely tokens beyond this probability.
        automaton: What may be written (`lmm_detector._constrained.compile_grammar`); None: anything.
    """

    max_new_tokens: int
    min_new_tokens: int = 0
    num_beams: int = 1
    temperature: float | None = None
    top_p: float = 1.0
    automaton: TokenAutomaton | None = None

    def __post_init__(self) -> None:
        for name, low in (("max_new_tokens", 1), ("min_new_tokens", 0), ("num_beams", 1)):
            if getattr(self, name) < low:
                raise ModelError(f"expected {name} of {low} or more, got {getattr(self, name)}")
        if self.temperature is not None and not self.temperature > 0:
            raise ModelError(f"expected a temperature above 0, or none for the likeliest token, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ModelError(f"expected top_p above 0 and up to 1, got {self.top_p}")


@dataclass(frozen=True)
class Family(ABC):
    """A loaded model and its processor.

    Attributes:
        model: A transformers model, or a peft model around one.
        processor: Its processor: tokenizer and image processor.
    """

    model: Any
    processor: Any

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def load(
        cls, source: str, *, dtype: str = "float32", attn_implementation: str | Mapping[Part, str] | None = None
    ) -> Family:
        """Loads weights and processor from a local folder or the hub; runs no code from there.

        Args:
            source: A local folder, or a model's name on the hub.
            dtype: What the weights are held in: "float32", "bfloat16" or "float16".
            attn_implementation: Such as "sdpa" or "flash_attention_2", for all of the model or for its parts "vision"
                and "language". None: what transformers chooses.

        Raises:
            ModelError: If it cannot be found, weights are missing, or the model has no such attention.
        """

    def save(self, folder: str | Path) -> None:
        """Writes weights (of a peft model the adapter's) and processor into a folder, from which `load` takes them."""
        self.model.save_pretrained(folder)
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
        """The part to which a parameter or module of `base` belongs.

        Args:
            name: As `named_parameters` and `named_modules` give it.

        Raises:
            ModelError: If it belongs to none: transformers has changed the model.
        """
        found = [
            (len(prefix), part)
            for part, prefixes in self.prefixes.items()
            for prefix in prefixes
            if name == prefix or name.startswith(f"{prefix}.")
        ]
        if not found:
            known = ", ".join(prefix for prefixes in self.prefixes.values() for prefix in prefixes)
            raise ModelError(f"expected a name within {known}, got {name!r}")
        return max(found)[1]

    @property
    def parts(self) -> dict[Part, dict[str, Any]]:
        """The parameters of each part by their names within `base`; each parameter is in exactly one."""
        parts: dict[Part, dict[str, Any]] = {part: {} for part in PARTS}
        for name, parameter in self.base.named_parameters():
            parts[self.part_of(name)][name] = parameter
        return parts

    def linear_layers(self, part: Part) -> list[str]:
        """The names within `base` of a part's linear layers, which adapters are put on; the output head is not one."""
        from torch.nn import Linear

        head = self.base.get_output_embeddings()
        return [
            name
            for name, module in self.base.named_modules()
            if isinstance(module, Linear) and module is not head and self.part_of(name) == part
        ]

    # Lengths and sizes.

    @property
    def positions(self) -> int:
        """How many positions the text model has."""
        return int(self.base.config.get_text_config().max_position_embeddings)

    @property
    def max_target_tokens(self) -> int:
        """How many tokens an answer may have, end-of-text included, where the prompt takes none of the positions.

        `answer_room` says how many are left where it does.
        """
        return self.positions

    @abstractmethod
    def prompt_tokens(self, prompt: str, image_size: Size | None = None) -> int:
        """The length of image and prompt in tokens.

        Args:
            prompt: What asks for the boxes.
            image_size: Of the windows. None: the image counts as one token where the number depends on its size.
        """

    @abstractmethod
    def answer_room(self, prompt: str, image_size: Size) -> int:
        """How many tokens an answer to this prompt may have, end-of-text included."""

    @abstractmethod
    def input_size(self, image_size: Size) -> Size:
        """What the model sees of an image of this size, after resizing and padding; codecs in its pixels need it."""

    @abstractmethod
    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """The length of each answer in tokens, end-of-text included."""

    def check(self, codec: Codec, prompt: str, image_size: Size | None = None) -> None:
        """Makes sure, before any long work, that the model can write the codec's texts.

        Args:
            codec: The codec.
            prompt: What asks for the boxes.
            image_size: Of the windows; None: see `prompt_tokens`.

        Raises:
            ModelError: If a token is missing, or image and prompt are longer than the model takes.
        """
        known = self.tokenizer.get_vocab()
        absent = [token for token in codec.added_tokens if token not in known]
        if absent:
            raise ModelError(
                f"expected a tokenizer with the tokens of codec {codec.name!r}, got one without {absent[0]!r}"
                + (f" and {len(absent) - 1} more" if len(absent) > 1 else ""),
                path=self.base.name_or_path,
            )
        length = self.prompt_tokens(prompt, image_size)
        if length > self.positions:
            raise ModelError(f"expected at most {self.positions} tokens of image and prompt, got {length}")

    # Tokens and their texts.

    @property
    @abstractmethod
    def end_tokens(self) -> tuple[int, ...]:
        """The ids of the tokens that end an answer; the first is the one that is taught."""

    def add_tokens(self, tokens: Sequence[str], initialisation: Initialisation = "digits") -> list[int]:
        """Adds tokens that the tokenizer lacks, with a row each in the embeddings and in an untied output head.

        Before adapters are put on the model. `save` and `load` keep them.

        Args:
            tokens: Such as a codec's `added_tokens`; those that are there stay as they are.
            initialisation: "digits": near the text that they stand for; "mean": all alike, as LMMRotate does.

        Returns:
            The ids of the new ones.
        """
        return add_tokens(self.model, self.tokenizer, tokens, initialisation)

    def read(self, tokens: Sequence[int] | LabelsN) -> tuple[str, SpansN]:
        """The text of tokens, special ones included, and the place of each in it.

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

    def token_spans(self, tokens: Sequence[int] | LabelsN) -> SpansN:
        """The place of each token in their text: (T, 2), first character and one past the last; see `read`."""
        return self.read(tokens)[1]

    # Training and prediction.

    @abstractmethod
    def collate(self, samples: Sequence[Sample], prompt: str) -> dict[str, Any]:
        """A batch for a training step: tensors on the CPU, labels included."""

    @abstractmethod
    def generate(self, images: Sequence[Image], prompt: str, decoding: Decoding) -> list[Answer]:
        """The model's answers to a batch of images (height, width, 3) uint8.

        Raises:
            ModelError: If the longest answer does not fit behind the prompt.
        """

    @abstractmethod
    def log_probabilities(
        self, images: Sequence[Image], prompt: str, answers: Sequence[Sequence[int] | LabelsN]
    ) -> list[ScoresN]:
        """The logarithm of the probability that the model gives to each token of finished answers.

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
        """Answers to inputs: those behind the first `prompt_length` tokens of what transformers gives back."""
        import torch
        from transformers import LogitsProcessorList

        options: dict[str, Any] = {
            "max_new_tokens": decoding.max_new_tokens,
            "num_beams": decoding.num_beams,
            "early_stopping": decoding.num_beams > 1,
            "do_sample": decoding.temperature is not None,
        }
        if decoding.min_new_tokens:
            options["min_new_tokens"] = decoding.min_new_tokens
        if decoding.temperature is not None:
            # Of all tokens: top_p alone says which are left out.
            options |= {"temperature": decoding.temperature, "top_p": decoding.top_p, "top_k": 0}
        if decoding.automaton is not None:
            from lmm_detector._constrained import GrammarProcessor

            grammar = GrammarProcessor(
                decoding.automaton, prompt_length=prompt_length, max_new_tokens=decoding.max_new_tokens, begin=begin
            )
            options["logits_processor"] = LogitsProcessorList([grammar])
        with torch.inference_mode():
            tokens = self.model.generate(**self._on_device(inputs), **options)
        return [self._answer(row) for row in tokens[:, prompt_length:].tolist()]

    def _answer(self, tokens: list[int]) -> Answer:
        """An answer out of a row of generated tokens: up to the first one that ends it; behind it is padding."""
        end = next((place for place, token in enumerate(tokens) if token in self.end_tokens), None)
        tokens = tokens if end is None else tokens[: end + 1]
        return Answer(self.read(tokens)[0], np.array(tokens, dtype=np.int64), end is not None)

    def _on_device(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs where the model is, and in its precision."""
        model = self.model
        return {
            name: value.to(model.device, model.dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }


@lru_cache(maxsize=4)
def _vocabulary(tokenizer: Any, _size: int, end: int) -> Vocabulary:
    """What the tokenizer's tokens write; worked out again when it has grown."""
    return Vocabulary.of(tokenizer, end=end)
