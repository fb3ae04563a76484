"""What the small detector is taught by beside its texts: lmm-detector's dense head and soft targets, and more.

The head also says where an object stands in the answer and which tokens write it, and the decoder is shown where to
look.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from lmm_detector._families import Axis, SoftTargets
from lmm_detector._training._dense_head import DenseHead, Objects, cells_of
from torch import Tensor, nn
from torch.nn import functional

RANKS = 8  # places in the answer with a number of their own; later objects count as the last of them


@dataclass(frozen=True)
class Answered(Objects):
    """The objects of a batch, with their places in the answers.

    Attributes:
        ranks: (N,) int64, which of its image's objects it is in the answer.
    """

    ranks: Tensor

    def places(self, cells: int, side: int) -> Tensor:
        """Return the number (N,) of each object's place, row by row."""
        column, row = cells_of(self.boxes, cells, side).T
        return row * cells + column


class Numbers:
    """The tokens of the codec "plain", in which a number and the sign after it are one token, and their soft targets.

    Args:
        numbers: Ids of the tokens of 0, 1, ... thousandths of the side.
        angles: Ids of the tokens of -90, -89, ... degrees.
        vocabulary: How many tokens there are.
        number_deviation: Standard deviation of a target's distribution, in thousandths of the side.
        angle_deviation: Standard deviation of an angle's distribution, in degrees.
    """

    def __init__(
        self,
        numbers: list[int],
        angles: list[int],
        vocabulary: int,
        number_deviation: float = 6.0,
        angle_deviation: float = 3.0,
    ) -> None:
        self.numbers, self.angles = torch.tensor(numbers), torch.tensor(angles)
        self.is_angle = torch.zeros(vocabulary, dtype=torch.bool)
        self.is_angle[self.angles] = True
        self.soft = SoftTargets([Axis(numbers, number_deviation), Axis(angles, angle_deviation, is_circle=True)])

    def tokens_of(self, boxes: Tensor, side: int) -> Tensor:
        """Return the tokens (N, 5) of boxes' numbers, as the codec "plain" writes them."""
        degrees = (boxes[:, 4] * (180 / math.pi)).round().long() + 90
        return torch.cat([self.token_of(boxes[:, :4] / side), self.angles[degrees % len(self.angles)][:, None]], dim=1)

    def token_of(self, shares: Tensor) -> Tensor:
        """Return the tokens of numbers, given as shares of the image's side, in the same shape."""
        return self.numbers[(shares * 1000).round().clamp(0, len(self.numbers) - 1).long()]

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross entropy of the targets (N,), of logits (N, vocabulary)."""
        return self.soft.cross_entropy(logits.float(), targets) / max(1, len(targets))


class AnswerHead(DenseHead):
    """A dense head that says of each object, beside its class and box, how the answer writes it.

    That is its place in the answer; and, by the model's own table of embeddings, the tokens of its five numbers and of
    its upper end, by which objects are put in order.

    Args:
        width: Length of a feature vector.
        classes: Number of classes.
        cells: Places along a side.
        side: Side of the image in pixels.
    """

    def __init__(self, width: int, classes: int, cells: int, side: int) -> None:
        super().__init__(width, classes)
        self.cells, self.side = cells, side
        self.ranks, self.numbers = nn.Linear(width, RANKS), nn.Linear(width, 6 * width)

    def losses(self, features: Tensor, objects: Answered, numbers: Numbers, table: Tensor) -> dict[str, Tensor]:
        """Return the losses for features (B, P, width), by name."""
        losses = self.loss(features.unflatten(1, (self.cells, self.cells)), objects, self.side)
        if not len(objects):
            return {"there": losses["there"]}
        found = features[objects.image, objects.places(self.cells, self.side)]
        losses["rank"] = functional.cross_entropy(self.ranks(self.described(found)), objects.ranks.clamp(max=RANKS - 1))
        rows = self.numbers(functional.layer_norm(found, found.shape[-1:])).unflatten(1, (6, -1))
        boxes = objects.boxes
        halves = boxes[:, 2] * torch.sin(boxes[:, 4]).abs() + boxes[:, 3] * torch.cos(boxes[:, 4]).abs()
        top = numbers.token_of((boxes[:, 1] - halves / 2) / self.side)
        tokens = torch.cat([numbers.tokens_of(boxes, self.side), top[:, None]], dim=1)
        losses["numbers"] = numbers.loss(rows.flatten(0, 1) @ table.T, tokens.flatten())
        return losses

    def detect(self, features: Tensor, threshold: float = 0.4) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Return each image's boxes (N, 5), labels (N,), scores (N,), highest first, of features (B, P, width)."""
        there, classes, boxes = self(features)
        cell, found = self.side / self.cells, []
        for scores, kinds, values in zip(torch.sigmoid(there), classes, boxes, strict=True):
            places = torch.nonzero(scores > threshold).flatten()
            places = places[scores[places].argsort(descending=True)]
            own = torch.stack([places % self.cells, places // self.cells], dim=1) + 0.5
            box = values[places]
            angle = torch.atan2(box[:, 5], box[:, 4]) / 2
            shaped = torch.cat([(box[:, :2] + own) * cell, 2 * cell * box[:, 2:4].exp(), angle[:, None]], dim=1)
            found.append((shaped, kinds[places].argmax(dim=1), scores[places]))
        return found


class Pointing:
    """Shows the decoder where to look: one head of each of its last layers, at the place of the object that it writes.

    Without this, the model learns last which of the image's tokens an answer is about, and until then it can learn
    nothing else of the answer. The result of the attention is not changed.

    Args:
        decoder: A decoder of BART's kind.
        layers: How many of the decoder's last layers are taught.
    """

    def __init__(self, decoder: Any, layers: int = 2) -> None:
        self.seen: list[tuple[Any, Tensor, Tensor]] = []
        self.layers = [layer.encoder_attn for layer in decoder.layers[-layers:]]

    def __enter__(self) -> Pointing:
        def keep(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            hidden = args[0] if args else kwargs["hidden_states"]
            self.seen.append((module, hidden, kwargs["key_value_states"]))

        self.hooks = [layer.register_forward_pre_hook(keep, with_kwargs=True) for layer in self.layers]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def loss(self, where: Tensor) -> Tensor:
        """Return the mean cross-entropy of the first head's attention.

        Args:
            where: (B, T) the encoder's token that each of the answer's is about, negative where it is about none.
        """
        kept = where >= 0
        total = torch.zeros(())
        for module, hidden, source in self.seen:
            width = module.head_dim
            asked = module.q_proj(hidden)[..., :width] * module.scaling
            scores = asked @ module.k_proj(source)[..., :width].transpose(1, 2)
            total = total + functional.cross_entropy(scores[kept], where[kept])
        self.seen.clear()
        return total / len(self.layers)


def whereabouts(labels: Tensor, is_last: Tensor, objects: Answered, places: Tensor) -> Tensor:
    """Return the place of the object that each token of the answers is about: (B, T), -1 after the last object.

    Args:
        labels: (B, T) ids, negative where there is none.
        is_last: (vocabulary,) whether a token ends an object.
        objects: The objects of the batch.
        places: (N,) the place of each object's centre.
    """
    ends = is_last[labels.clamp(min=0)] & (labels >= 0)
    number = ends.cumsum(dim=1) - ends.long()  # of objects that were finished before this token
    table = torch.full((len(labels), labels.shape[1] + 1), -1)
    table[objects.image, objects.ranks] = places
    return table.gather(1, number).masked_fill(labels < 0, -1)


def encoded(model: Any, inputs: dict[str, Any]) -> Tensor:
    """Return what the text model's encoder makes of image and prompt: (B, tokens, width); the image's come first."""
    inner = model.model
    rows = inner.get_input_embeddings()(inputs["input_ids"])
    image = inner.get_image_features(inputs["pixel_values"]).pooler_output.to(rows.dtype)
    mask = inner.get_placeholder_mask(inputs["input_ids"], inputs_embeds=rows, image_features=image)
    rows = rows.masked_scatter(mask, image)
    hidden: Tensor = inner.language_model.encoder(
        attention_mask=inputs.get("attention_mask"), inputs_embeds=rows
    ).last_hidden_state
    return hidden
