"""The settings of a split."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rbox_formats.errors import FormatsError, quoted
from rbox_formats.tiling import Below, Border, default_gap, windows


@dataclass(frozen=True)
class SplitSettings:
    """How images are cut into windows, and what is stored of each.

    >>> from rbox_formats.splitting import SplitSettings
    >>> SplitSettings(size=512).overlap
    100

    Attributes:
        size: The side of the shown windows, in their own pixels.
        gap: The overlap of neighbouring windows, in pixels of the shown windows; None: `tiling.default_gap`. DOTA's
            recipe at several scales uses 500 at 1024.
        scales: The scales at which the images are shown; see `tiling.windows`.
        iof_threshold: The share of an object that must be inside a window; see `tiling.clip_to_window`.
        border: What to do with outlines that a window cuts; see `tiling.clip_to_window`.
        below: What to do with objects below the threshold; see `tiling.clip_to_window`.
        min_image_share: The share of a window that must be on the image; see `tiling.windows`.
        padding: Whether windows that reach beyond the image are filled up to their size, or stored smaller.
        resize: Whether windows of scales other than 1 are stored at `size`, or with the image's own pixels, as
            MMRotate stores them, to be resized when they are loaded.
        keep_empty: Whether windows without objects are stored, as MMRotate does.
        image_format: "png", which keeps every pixel, or "jpg".
        quality: The quality of JPEG, 1 to 100.

    Raises:
        FormatsError: If a value is not in its range.
    """

    size: int = 1024
    gap: int | None = None
    scales: tuple[float, ...] = (1.0,)
    iof_threshold: float = 0.7
    border: Border = "keep"
    below: Below = "drop"
    min_image_share: float = 0.6
    padding: bool = True
    resize: bool = True
    keep_empty: bool = True
    image_format: Literal["png", "jpg"] = "png"
    quality: int = 95

    def __post_init__(self) -> None:
        choices = {"border": ("keep", "clip"), "below": ("drop", "difficult"), "image_format": ("png", "jpg")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise FormatsError(f"expected {name} among {', '.join(allowed)}, got {quoted(getattr(self, name))}")
        if not 0 <= self.iof_threshold <= 1:
            raise FormatsError(f"expected an IoF threshold from 0 to 1, got {self.iof_threshold}")
        if not 1 <= self.quality <= 100:
            raise FormatsError(f"expected a JPEG quality from 1 to 100, got {self.quality}")
        windows(1, 1, self.size, self.overlap, scales=self.scales, min_image_share=self.min_image_share)

    @property
    def overlap(self) -> int:
        """The gap, or its default."""
        return default_gap(self.size) if self.gap is None else self.gap
