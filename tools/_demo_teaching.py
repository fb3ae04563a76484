"""What the small detector is taught by beside the plain loss of its texts: a dense head, and targets that are spread.

Both know nothing of the script, so that they can move into lmm-detector.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

RANKS = 8  # places in the answer that are told apart; later objects count as the last


@dataclass(frozen=True)
class Objects:
    """The objects of a batch.

    Attributes:
        image: (N,) int64, the image that each is in.
        boxes: (N, 5) float32 in `le90`, px and radians.
        labels: (N,) int64.
        ranks: (N,) int64, which of its image's objects it is in the answer.
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor
    ranks: Tensor


class DenseHead(nn.Module):
    """Says of each place of the image what object has its centre there; thrown away when training is over.

    For each place: whether there is one, its class, its place in the answer, and its box: the centre from the place's
    own in cells, the sides as logarithms, the angle as cosine and sine of its double (turned by half a circle a box is
    the same). And, at the places of objects, the tokens of its five numbers and of its upper end, by which objects are
    put in order, by the model's own table of embeddings.

    Args:
        width: Of the features.
        classes: How many there are.
        cells: Places along a side.
        side: Of the image, px.
    """

    def __init__(self, width: int, classes: int, cells: int, side: int) -> None:
        super().__init__()
        self.classes, self.cells, self.side = classes, cells, side
        self.norm, self.hidden = nn.LayerNorm(width), nn.Linear(width, width)
        self.found = nn.Linear(width, 1 + classes + 6 + RANKS)
        self.numbers = nn.Linear(width, 6 * width)
        nn.init.constant_(self.found.bias[0], -3.0)  # most places have none

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits (B, P), classes (B, P, C), boxes (B, P, 6) and ranks (B, P, R) of features (B, P, width)."""
        hidden = functional.gelu(self.hidden(self.norm(features)))
        there, classes, boxes, ranks = self.found(hidden).split([1, self.classes, 6, RANKS], dim=-1)
        return there.squeeze(-1), classes, boxes, ranks

    def places(self, objects: Objects) -> tuple[Tensor, Tensor]:
        """The number (N,) of each object's place, row by row, and its column and row (N, 2)."""
        inside = (objects.boxes[:, :2] * (self.cells / self.side)).floor().clamp(0, self.cells - 1)
        return (inside[:, 1] * self.cells + inside[:, 0]).long(), inside

    def loss(self, features: Tensor, objects: Objects, spread: SpreadTargets, table: Tensor) -> dict[str, Tensor]:
        """The losses by what they are of."""
        there, classes, boxes, ranks = self(features)
        cell = self.side / self.cells
        place, inside = self.places(objects)
        wanted = torch.zeros_like(there)
        wanted[objects.image, place] = 1
        # As the focal loss: what is clear already counts for little; the few objects count more than the many others.
        probability = torch.sigmoid(there.detach())
        weight = torch.where(wanted > 0, 4 * (1 - probability) ** 2, probability**2)
        entropy = functional.binary_cross_entropy_with_logits(there, wanted, reduction="none")
        count = max(1, len(place))
        losses = {"there": (entropy * weight).sum() / count}
        if len(place):
            at = (objects.image, place)
            angle = 2 * objects.boxes[:, 4]
            turned = torch.stack([torch.cos(angle), torch.sin(angle)], dim=1)
            sides = torch.log(objects.boxes[:, 2:4] / (2 * cell))
            off = functional.smooth_l1_loss(
                boxes[at],
                torch.cat([objects.boxes[:, :2] / cell - inside - 0.5, sides, turned], dim=1),
                reduction="none",
                beta=0.1,
            )
            losses["class"] = functional.cross_entropy(classes[at], objects.labels)
            losses["box"] = 2 * off.sum(dim=1).mean()
            losses["rank"] = functional.cross_entropy(ranks[at], objects.ranks.clamp(max=RANKS - 1))
            rows = self.numbers(functional.layer_norm(features[at], features.shape[-1:])).unflatten(1, (6, -1))
            boxes = objects.boxes
            halves = boxes[:, 2] * torch.sin(boxes[:, 4]).abs() + boxes[:, 3] * torch.cos(boxes[:, 4]).abs()
            top = spread.token_of((boxes[:, 1] - halves / 2) / self.side)
            tokens = torch.cat([spread.tokens_of(boxes, self.side), top[:, None]], dim=1)
            losses["numbers"] = spread.loss(rows.flatten(0, 1) @ table.T, tokens.flatten())
        return losses

    def detect(self, features: Tensor, threshold: float = 0.4) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Of each image the boxes (N, 5), labels (N,) and scores (N,), the highest first."""
        there, classes, boxes, _ = self(features)
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


class SpreadTargets:
    """Cross-entropy in which a number that is a little off is a little wrong.

    The target of a token that stands for a number is a normal distribution over the tokens of its neighbours; that of
    an angle one that goes on from the last degree to the first. All other tokens have the usual target.

    Args:
        numbers: Ids of the tokens of 0, 1, ... thousandths of the side.
        angles: Ids of those of -90, -89, ... degrees.
        vocabulary: How many tokens there are.
        number_deviation: Of the distribution, in thousandths.
        angle_deviation: In degrees.
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
        self.value = torch.full((vocabulary,), -1)
        for ids in (self.numbers, self.angles):
            self.value[ids] = torch.arange(len(ids))
        self.is_number, self.is_angle = torch.zeros(2, vocabulary, dtype=torch.bool)
        self.is_number[self.numbers] = self.is_angle[self.angles] = True
        steps = torch.arange(len(numbers), dtype=torch.float32)
        self.number_rows = torch.softmax(-((steps[:, None] - steps) ** 2) / (2 * number_deviation**2), dim=1)
        around = torch.arange(len(angles), dtype=torch.float32)
        away = (around[:, None] - around).abs()
        away = torch.minimum(away, len(angles) - away)
        self.angle_rows = torch.softmax(-(away**2) / (2 * angle_deviation**2), dim=1)

    def tokens_of(self, boxes: Tensor, side: int) -> Tensor:
        """The tokens (N, 5) of boxes' numbers, as the codec "plain" writes them."""
        degrees = (boxes[:, 4] * (180 / math.pi)).round().long() + 90
        return torch.cat([self.token_of(boxes[:, :4] / side), self.angles[degrees % len(self.angles)][:, None]], dim=1)

    def token_of(self, shares: Tensor) -> Tensor:
        """The tokens of shares of the side, of the same shape."""
        return self.numbers[(shares * 1000).round().clamp(0, len(self.numbers) - 1).long()]

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The mean over those of the targets (N,) that are not negative, of logits (N, vocabulary)."""
        kept = targets >= 0
        logits, targets = logits[kept], targets[kept]
        likely = torch.log_softmax(logits.float(), dim=1)
        total = torch.zeros(())
        plain = torch.ones(len(targets), dtype=torch.bool)
        for which, ids, rows in (
            (self.is_number, self.numbers, self.number_rows),
            (self.is_angle, self.angles, self.angle_rows),
        ):
            chosen = which[targets]
            plain &= ~chosen
            of_them = likely[chosen][:, ids]
            total = total - (of_them * rows[self.value[targets[chosen]]]).sum()
        total = total - likely[plain].gather(1, targets[plain][:, None]).sum()
        return total / max(1, len(targets))


class Pointing:
    """Shows the decoder where to look: one head of each of its last layers, at the place of the object that it writes.

    Which of the image's tokens an answer is about is otherwise found out last of all: until it is, nothing else of the
    answer can be learnt. What the attention computes is not changed.

    Args:
        decoder: Of BART's kind.
        layers: How many of its last layers are shown it.
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
        """The mean cross-entropy of the first head's attention.

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


def whereabouts(labels: Tensor, is_last: Tensor, objects: Objects, places: Tensor) -> Tensor:
    """Which object's place each token of the answers is about: (B, T), -1 behind the last object.

    Args:
        labels: (B, T) ids, negative where there is none.
        is_last: (vocabulary,) whether a token ends an object.
        objects: The batch's.
        places: (N,) where each has its centre.
    """
    ends = is_last[labels.clamp(min=0)] & (labels >= 0)
    number = ends.cumsum(dim=1) - ends.long()  # of objects that were finished before this token
    table = torch.full((len(labels), labels.shape[1] + 1), -1)
    table[objects.image, objects.ranks] = places
    return table.gather(1, number).masked_fill(labels < 0, -1)


def encoded(model: Any, inputs: dict[str, Any]) -> Tensor:
    """What the text model's encoder makes of image and prompt: (B, tokens, width); the image's come first."""
    inner = model.model
    rows = inner.get_input_embeddings()(inputs["input_ids"])
    image = inner.get_image_features(inputs["pixel_values"]).pooler_output.to(rows.dtype)
    mask = inner.get_placeholder_mask(inputs["input_ids"], inputs_embeds=rows, image_features=image)
    rows = rows.masked_scatter(mask, image)
    hidden: Tensor = inner.language_model.encoder(
        attention_mask=inputs.get("attention_mask"), inputs_embeds=rows
    ).last_hidden_state
    return hidden
