"""What families have in common that write the answer after the prompt: one sequence of image, prompt and answer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from rbox_formats.codecs import Codec
from rbox_formats.errors import quoted
from rbox_formats.typing import Image, LabelsN, ScoresN

from lmm_detector._families._base import IGNORED_LABEL, Answer, Decoding, Family, Sample, Size
from lmm_detector._families._likelihood import log_probabilities
from lmm_detector._families._loading import settle_generation
from lmm_detector._families._loss import summed_loss
from lmm_detector.errors import ModelError

if TYPE_CHECKING:
    import torch

    from lmm_detector._families._soft_targets import SoftTargets


class DecoderOnly(Family):
    """A decoder that reads image and prompt and continues with the answer.

    Training: prompt, answer and end, padded on the right, with labels for the last two. Generation: prompts, padded on
    the left, so that all answers begin at the same place.
    """

    ignored_inputs: ClassVar[tuple[str, ...]] = ()
    #: What answers have in `token_type_ids`: other than the tokens that see all of each other.
    answer_type: ClassVar[int] = 0

    @abstractmethod
    def render(self, prompt: str) -> str:
        """Return the text of a whole prompt, with a token that stands for the image."""

    @abstractmethod
    def _own_ends(self) -> tuple[int, ...]:
        """Return what ends an answer by prompt and tokenizer; the first is the one that is taught."""

    def _settle(self) -> None:
        """Give the model the generation settings that the answers' form needs."""
        config = self.base.config
        # A placeholder that the model writes itself has no image to stand for, and could not be read again.
        placeholders = [getattr(config, f"{kind}_token_id", None) for kind in ("image", "video")]
        ends = self._own_ends()
        settle_generation(
            self.model,
            begin=self.tokenizer.bos_token_id,
            # The mask hides it, so that any token will do where the tokenizer names none.
            pad=ends[0] if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id,
            end=ends,
            never=[token for token in placeholders if token is not None],
        )

    def _check_words(self, codec: Codec, prompt: str, class_names: Sequence[str]) -> None:
        """Make sure also that the rendered prompt has a place for the image."""
        super()._check_words(codec, prompt, class_names)
        token = str(self.processor.image_token)
        if (count := self.render(prompt).count(token)) != 1:
            raise ModelError(
                f"expected a chat template that writes {quoted(token)} once for an image, got it {count} times",
                path=self.base.name_or_path,
                remedy="Put the template that the model was published with into its folder (chat_template.jinja).",
            )

    # Lengths.

    def prompt_tokens(self, prompt: str, image_size: Size | None = None) -> int:
        """See `Family.prompt_tokens`."""
        return len(self.prompt_ids(prompt, image_size))

    def prompt_ids(self, prompt: str, image_size: Size | None = None) -> list[int]:
        """Return the ids of a whole prompt, as the model reads it.

        Args:
            prompt: What asks for the boxes.
            image_size: Of the window. None: with one token, or what the processor asks for, in the image's place.
        """
        if image_size is None:
            return self._encode([self.render(prompt)])[0]
        # Of a black image: what each processor makes of a size is its own affair.
        width, height = image_size
        found = self._process([np.zeros((height, width, 3), dtype=np.uint8)], prompt)
        ids: list[int] = found["input_ids"][found["attention_mask"].bool()].tolist()
        return ids

    def answer_room(self, prompt: str, image_size: Size) -> int:
        """See `Family.answer_room`."""
        return self.positions - self.prompt_tokens(prompt, image_size)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `Family.count_tokens`."""
        return [len(ids) + 1 for ids in self._encode(texts)]

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False).input_ids if texts else []
        return ids

    # Batches.

    def _process(self, images: Sequence[Image], prompt: str) -> dict[str, Any]:
        """Return what the processor makes of images and prompts; shorter prompts are padded on the right."""
        found = self._processed(
            images,
            [self.render(prompt)] * len(images),
            padding_side="right",
            add_special_tokens=False,  # the rendered prompt has them
        )
        return {name: value for name, value in found.items() if name not in self.ignored_inputs}

    def _sequences(
        self,
        images: Sequence[Image],
        prompt: str,
        answers: Sequence[Sequence[int]],
        side: Literal["left", "right"],
    ) -> tuple[dict[str, Any], list[int]]:
        """Return prompts, each followed by its answer, as a batch, and how many tokens each prompt has."""
        import torch

        inputs = self._process(images, prompt)
        mask = inputs["attention_mask"].bool()
        lengths = mask.sum(dim=1).tolist()
        # Inputs with a value for each token: what answers (None: their ids) and padding have there.
        by_token = {
            "input_ids": (None, self._pad_token),
            "attention_mask": (1, 0),
            "mm_token_type_ids": (0, 0),  # 1 are an image's tokens, which M-RoPE places
            "token_type_ids": (self.answer_type, 0),
        }
        for name in by_token.keys() & inputs.keys():
            answer_value, padding = by_token[name]
            rows = [
                torch.cat([row[kept], row.new_tensor(ids if answer_value is None else [answer_value] * len(ids))])
                for row, kept, ids in zip(inputs[name], mask, answers, strict=True)
            ]
            inputs[name] = _padded(rows, padding, side)
        return inputs, lengths

    @property
    def _pad_token(self) -> int:
        """What fills sequences up."""
        return int(self.base.generation_config.pad_token_id)

    def collate(self, samples: Sequence[Sample], prompt: str) -> dict[str, Any]:
        """See `Family.collate`."""
        import torch

        answers = self._encode([sample.text for sample in samples])
        for ids, sample in zip(answers, samples, strict=True):
            if sample.complete:
                ids.append(self.end_tokens[0])
        inputs, lengths = self._sequences([sample.image for sample in samples], prompt, answers, "right")
        labels = torch.full_like(inputs["input_ids"], IGNORED_LABEL)
        for row, (start, ids) in enumerate(zip(lengths, answers, strict=True)):
            labels[row, start : start + len(ids)] = torch.tensor(ids)
        return {**inputs, "labels": labels}

    def loss(self, batch: Mapping[str, Any], model: Any = None, soft: SoftTargets | None = None) -> torch.Tensor:
        """See `Family.loss`; each token is found at the place of the one before it."""
        from torch.nn.functional import pad

        inputs = {name: value for name, value in batch.items() if name != "labels"}
        targets = pad(batch["labels"], (0, 1), value=IGNORED_LABEL)[:, 1:]
        return summed_loss(self.model if model is None else model, inputs, targets, soft)

    # Prediction.

    def generate(self, images: Sequence[Image], prompt: str, decoding: Decoding) -> list[Answer]:
        """See `Family.generate`."""
        inputs, _ = self._sequences(images, prompt, [[]] * len(images), "left")
        length = inputs["input_ids"].shape[1]
        if length + decoding.max_new_tokens > self.positions:
            raise ModelError(
                f"expected at most {self.positions} tokens of image, prompt and answer, got {length} and up to "
                f"{decoding.max_new_tokens}",
                remedy="Allow fewer new tokens, or take smaller windows.",
            )
        return self._generate(inputs, decoding, prompt_length=length)

    def log_probabilities(
        self, images: Sequence[Image], prompt: str, answers: Sequence[Sequence[int] | LabelsN]
    ) -> list[ScoresN]:
        """See `Family.log_probabilities`."""
        import torch

        ids = [[int(token) for token in answer] for answer in answers]
        inputs, lengths = self._sequences(images, prompt, ids, "right")
        with torch.inference_mode():
            hidden = self.base.model(**self.on_device(inputs), use_cache=False).last_hidden_state
            # What stands before a token predicts it.
            before = [row[start - 1 : start - 1 + len(i)] for row, start, i in zip(hidden, lengths, ids, strict=True)]
            wanted = torch.tensor([token for answer in ids for token in answer], device=hidden.device)
            vocabulary = self.base.get_output_embeddings().weight.shape[0]
            found = log_probabilities(torch.cat(before), wanted, self._logits, vocabulary)
        return np.split(found.cpu().numpy().astype(np.float64), np.cumsum([len(answer) for answer in ids])[:-1])

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the output head: what the model makes of the last layer's output."""
        return self.base.get_output_embeddings()(hidden)


def _padded(rows: Sequence[torch.Tensor], value: int, side: Literal["left", "right"]) -> torch.Tensor:
    from torch.nn.utils.rnn import pad_sequence

    return pad_sequence(list(rows), batch_first=True, padding_value=value, padding_side=side)
