"""What training and prediction ask of a model family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from rbox_formats.codecs import Codec


class Sample(NamedTuple):
    """One window to train on.

    Attributes:
        image: (size, size, 3) uint8.
        text: The answer.
        complete: Whether the answer says all; one that was cut to the length limit is not followed by end-of-text.
    """

    image: np.ndarray
    text: str
    complete: bool


@dataclass(frozen=True)
class Family(ABC):
    """A loaded model and its processor.

    Attributes:
        model: A transformers model.
        processor: Its processor: tokenizer and image processor.
    """

    model: Any
    processor: Any

    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def load(cls, source: str) -> Family:
        """Loads weights and processor from a local folder or the hub."""

    @abstractmethod
    def check(self, codec: Codec, prompt: str) -> None:
        """Makes sure, before any long work, that the model can write the codec's texts.

        Raises:
            ModelError: If a token is missing, or image and prompt are longer than the model takes.
        """

    @property
    @abstractmethod
    def max_target_tokens(self) -> int:
        """How many tokens an answer may have, end-of-text included."""

    @abstractmethod
    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """The length of each answer in tokens, end-of-text included."""

    @abstractmethod
    def collate(self, samples: Sequence[Sample], prompt: str) -> dict[str, Any]:
        """A batch for a training step: tensors on the CPU, labels included."""

    @abstractmethod
    def generate(self, images: Sequence[np.ndarray], prompt: str, *, num_beams: int, max_new_tokens: int) -> list[str]:
        """The model's answers to a batch of images (size, size, 3), special tokens included, start and padding not."""

    @abstractmethod
    def is_finished(self, text: str) -> bool:
        """Whether an answer came to its end, rather than to the length limit."""
