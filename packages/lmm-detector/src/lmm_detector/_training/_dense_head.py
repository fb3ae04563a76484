"""A dense head: what teaches a vision tower where objects are, and is thrown away once it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from rbox_formats import ImageRecord
from torch import Tensor, nn
from torch.nn import functional

_THINNEST = 0.1  # px; the logarithm of a side of nothing has no bounds


@dataclass(frozen=True)
class Objects:
    """The objects of a batch.

    Attributes:
        image: (N,) int64, the image that each is in.
        boxes: (N, 5) float32 in `le90`, px and radians.
        labels: (N,) int64.
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor

    @classmethod
    def of(cls, records: Sequence[ImageRecord]) -> Objects:
        """Collect those of some images, which are numbered from 0."""
        image = np.repeat(np.arange(len(records)), [len(record) for record in records])
        boxes = np.concatenate([record.boxes for record in records]) if records else np.zeros((0, 5))
        labels = np.concatenate([record.labels for record in records]) if records else np.zeros(0)
        return cls(
            torch.from_numpy(image.astype(np.int64)),
            torch.from_numpy(boxes.astype(np.float32)).reshape(-1, 5),
            torch.from_numpy(labels.astype(np.int64)),
        )

    def to(self, device: torch.device | str) -> Objects:
        """Return the same on a device."""
        return Objects(self.image.to(device), self.boxes.to(device), self.labels.to(device))

    def __len__(self) -> int:
        return len(self.image)


def cells_of(boxes: Tensor, cells: int, side: int) -> Tensor:
    """Return the column and row (N, 2) int64 of the place in which each box has its centre.

    Args:
        boxes: (N, 5) px; a centre outside of the image belongs to the nearest place.
        cells: Places along a side.
        side: Of the image, px.
    """
    return (boxes[:, :2] * (cells / side)).floor().clamp(0, cells - 1).long()


def box_targets(boxes: Tensor, cells: int, side: int) -> Tensor:
    """Return what the head is to say of boxes (N, 5), at their places: (N, 6) float32.

    The centre from the place's own, in places; the logarithms of the sides over two places; cosine and sine of the
    double angle, since a box that is turned by half a circle is the same.

    Args:
        boxes: In `le90`, px and radians.
        cells: Places along a side.
        side: Of the image, px.
    """
    cell = side / cells
    centre = boxes[:, :2] / cell - cells_of(boxes, cells, side) - 0.5
    sides = torch.log(boxes[:, 2:4].clamp(min=_THINNEST) / (2 * cell))
    double = 2 * boxes[:, 4:]
    return torch.cat([centre, sides, torch.cos(double), torch.sin(double)], dim=1)


class DenseHead(nn.Module):
    """Predict for each place of the image whether an object has its centre there, the object's class and its box.

    Args:
        width: Number of channels of the features.
        classes: Number of classes.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.norm, self.hidden = nn.LayerNorm(width), nn.Linear(width, width)
        self.found = nn.Linear(width, 1 + classes + 6)
        nn.init.constant_(self.found.bias[0], -3.0)  # most places have none

    def described(self, features: Tensor) -> Tensor:
        """Return what the head's last layer gets, of the shape of the features."""
        return functional.gelu(self.hidden(self.norm(features)))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits of objects (B, R, R) and of classes (B, R, R, C), and boxes (B, R, R, 6), of (B, R, R, width).

        Boxes as in `box_targets`.
        """
        there, classes, boxes = self.found(self.described(features)).split([1, self.classes, 6], dim=-1)
        return there.squeeze(-1), classes, boxes

    def loss(self, features: Tensor, objects: Objects, side: int, count: int | None = None) -> dict[str, Tensor]:
        """Return the losses by what they are of: "there", "class", "box"; what is learnt from is their sum.

        Where two objects have their centre in one place, both are asked of it.

        Args:
            features: (B, R, R, width) float32.
            objects: The objects of the batch, on the same device.
            side: The side of the images, in pixels.
            count: What the sums are divided by: the number of objects of a whole step, where this batch is only a part
                of it. None: the number of `objects`.
        """
        there, classes, boxes = self(features)
        cells = features.shape[1]
        count = max(1, len(objects) if count is None else count)
        column, row = cells_of(objects.boxes, cells, side).T
        at = (objects.image, row, column)
        wanted = torch.zeros_like(there)
        wanted[at] = 1
        # As the focal loss: what is clear already counts for little; the few objects count more than the many others.
        probability = torch.sigmoid(there.detach())
        weight = torch.where(wanted > 0, 4 * (1 - probability) ** 2, probability**2)
        entropy = functional.binary_cross_entropy_with_logits(there, wanted, reduction="none")
        off = functional.smooth_l1_loss(boxes[at], box_targets(objects.boxes, cells, side), reduction="sum", beta=0.1)
        return {
            "there": (entropy * weight).sum() / count,
            "class": functional.cross_entropy(classes[at], objects.labels, reduction="sum") / count,
            "box": 2 * off / count,
        }
