"""A detector from pixels to boxes as one program of PyTorch (`torch.export`)."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from rbox_formats.errors import said
from torch import Tensor, nn
from torch.nn import functional

from rbox_baselines._export._traceable import traceable
from rbox_baselines.errors import ExportError

#: What sides are multiples of where the network pads nothing itself: the largest stride of these networks.
STRIDE = 32


class Program(nn.Module):
    """Detects the objects on one image.

    Attributes:
        pads: Whether the program pads images to whole strides; else their sides are multiples of `STRIDE`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        preprocessor = model.data_preprocessor
        self.divisor = int(preprocessor.pad_size_divisor)
        self.pads = self.divisor > 1
        # The config's order is the one that the network sees; images come as RGB here, and as BGR in mmdet.
        self.is_reversed = not preprocessor._channel_conversion
        self.register_buffer("mean", preprocessor.mean.detach().clone())
        self.register_buffer("std", preprocessor.std.detach().clone())

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the boxes on an image (1, 3, height, width), RGB from 0 to 255, in its pixels.

        Returns:
            boxes (N, 5) as cx, cy, w, h, angle in radians, clockwise on the screen, w >= h, from -pi/2 up to but not
            including pi/2; or the corners of quads (N, 8). scores (N,), and labels (N,) int64, by falling score where
            they were suppressed.
        """
        height, width = image.shape[2:]
        seen = ((image.flip(1) if self.is_reversed else image) - self.mean) / self.std
        below, right = -height % self.divisor, -width % self.divisor
        found = self.model.predict(functional.pad(seen, (0, right, 0, below)), [_Sample(height, width)], rescale=False)
        boxes = found[0].bboxes
        return (_le90(boxes) if boxes.shape[1] == 5 else boxes), found[0].scores, found[0].labels


class _Sample:
    """What a detector asks of a `DetDataSample`."""

    def __init__(self, height: Any, width: Any) -> None:
        self.metainfo = {"img_shape": (height, width), "ori_shape": (height, width), "pad_shape": (height, width)}

    def get(self, name: str, default: Any = None) -> Any:
        return self.metainfo.get(name, default)


def _le90(boxes: Tensor) -> Tensor:
    """Return the same rectangles with w >= h and angles from -pi/2 up to but not including pi/2."""
    centre, w, h, angle = boxes[:, :2], boxes[:, 2], boxes[:, 3], boxes[:, 4]
    angle = torch.where(w < h, angle + math.pi / 2, angle)
    angle = angle - torch.floor((angle + math.pi / 2) / math.pi) * math.pi
    return torch.cat([centre, torch.stack([torch.maximum(w, h), torch.minimum(w, h), angle], dim=1)], dim=1)


def program_of(model: Any, side: int, nms: bool) -> torch.export.ExportedProgram:
    """Trace a model for images of any size.

    Args:
        model: A detector of mmdet or MMRotate.
        side: Of the image that is traced, px: sizes that the model is meant for.
        nms: Whether the program suppresses its last boxes.

    Raises:
        ExportError: If the model does what cannot be traced.
    """
    program = Program(model).eval().cpu()
    height, width = (STRIDE * max(side // STRIDE, 2) + (STRIDE * 2 * part) for part in (0, 1))
    dim = torch.export.Dim
    sizes = {2: dim.DYNAMIC, 3: dim.DYNAMIC} if program.pads else {2: STRIDE * dim("h"), 3: STRIDE * dim("w")}
    image = torch.zeros(1, 3, height, width)
    try:
        with torch.no_grad(), traceable(nms), quiet():
            return torch.export.export(program, (image,), dynamic_shapes=(sizes,), strict=False)
    except ExportError:
        raise
    except Exception as error:  # of any class: it is the model's own code that stumbles
        raise ExportError(
            f"expected a model that can be traced, got {type(error).__name__}: {said(error)}",
            remedy="docs/baselines-export.md lists the detectors that can be exported.",
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what PyTorch says of its own parts while it exports."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
