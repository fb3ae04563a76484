"""A checkpoint in memory, with what it was taught."""

from __future__ import annotations

from dataclasses import dataclass

from rbox_formats import ClassNames, codecs

from lmm_detector._families import Family
from lmm_detector._prediction._engine import Engine, Writer
from lmm_detector._spec import DetectorSpec


@dataclass(frozen=True, repr=False)
class Loaded:
    """A checkpoint in memory.

    Attributes:
        family: The model with its processor.
        spec: What it was taught.
        codec: The codec of its texts.
        fingerprint: A hash of the checkpoint's weights, settings, tokenizer and processor.
        views: (window, gap) in pixels where they are others than it was taught; (0, 0): whole images.
        engine: What runs the model in place of transformers; the family is then without weights. None: nothing does.
    """

    family: Family
    spec: DetectorSpec
    codec: codecs.Codec
    fingerprint: str
    views: tuple[int, int] | None = None
    engine: Engine | None = None

    @property
    def writer(self) -> Writer:
        """What makes its answers."""
        return self.family if self.engine is None else self.engine

    @property
    def class_names(self) -> ClassNames:
        """The classes that it was taught; a label is an index into them."""
        return self.spec.class_names
