"""A checkpoint in memory, with what it was taught."""

from __future__ import annotations

from dataclasses import dataclass

from rbox_formats import ClassNames, codecs

from lmm_detector._families import Family
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
    """

    family: Family
    spec: DetectorSpec
    codec: codecs.Codec
    fingerprint: str
    views: tuple[int, int] | None = None

    @property
    def class_names(self) -> ClassNames:
        """The classes that it was taught; a label is an index into them."""
        return self.spec.class_names
