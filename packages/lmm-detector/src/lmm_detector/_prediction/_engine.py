"""What makes the answers to a batch of windows: transformers' own loop, or another program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rbox_formats.typing import Image, LabelsN, ScoresN

from lmm_detector._families import Answer, Decoding
from lmm_detector._prediction._generation import Generation


class Writer(Protocol):
    """What writes answers and says how probable they are; every `Family` does, by transformers' loop."""

    def generate(self, images: Sequence[Image], prompt: str, decoding: Decoding) -> list[Answer]:
        """See `Family.generate`."""
        ...

    def log_probabilities(
        self, images: Sequence[Image], prompt: str, answers: Sequence[Sequence[int] | LabelsN]
    ) -> list[ScoresN]:
        """See `Family.log_probabilities`."""
        ...


class Engine(Writer, Protocol):
    """Another program that runs the model. It plans its own batches, and compiles grammars by itself."""

    @property
    def version(self) -> str:
        """Its name and version, which predictions files have in their header."""
        ...

    def check(self, generation: Generation) -> None:
        """Make sure, before anything is loaded, that it can generate so.

        Raises:
            RboxError: If not.
        """
        ...
