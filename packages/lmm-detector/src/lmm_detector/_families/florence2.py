"""Florence-2, on transformers' own classes: an image encoder (DaViT) in front of a BART encoder and decoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from rbox_formats._typing import Image, LabelsN, ScoresN

from lmm_detector._families._base import IGNORED_LABEL, Answer, Decoding, Family, Part, Sample, Size
from lmm_detector._families._likelihood import log_probabilities
from lmm_detector._families._loading import load_model, load_processor, plain_generation
from lmm_detector.errors import ModelError


class Florence2(Family):
    """`Florence2ForConditionalGeneration` and its processor.

    The prompt goes to the encoder behind the image's tokens, the answer to the decoder as `<s> answer </s>`, the way
    BART was trained.
    """

    name: ClassVar[str] = "florence2"

    @classmethod
    def load(
        cls, source: str, *, dtype: str = "float32", attn_implementation: str | Mapping[Part, str] | None = None
    ) -> Florence2:
        """See `Family.load`."""
        from transformers import Florence2ForConditionalGeneration, Florence2Processor

        what = "a Florence-2"
        processor = load_processor(source, Florence2Processor, what)
        model = load_model(source, Florence2ForConditionalGeneration, what, dtype, attn_implementation)
        text_config = model.config.text_config
        model.generation_config = plain_generation(
            begin=text_config.bos_token_id,
            pad=text_config.pad_token_id,
            end=[text_config.eos_token_id],
            start=text_config.decoder_start_token_id,
        )
        return cls(model, processor)

    @property
    def prefixes(self) -> Mapping[Part, tuple[str, ...]]:
        """See `Family.prefixes`."""
        return {
            "vision": ("model.vision_tower",),
            "language": ("model.language_model", "lm_head"),
            "projection": ("model.multi_modal_projector",),
        }

    @property
    def positions(self) -> int:
        """Of the encoder, which holds image and prompt, and as many of the decoder."""
        return int(self.base.config.text_config.max_position_embeddings)

    @property
    def end_tokens(self) -> tuple[int, ...]:
        """See `Family.end_tokens`."""
        return (self.tokenizer.eos_token_id,)

    def prompt_tokens(self, prompt: str, image_size: Size | None = None) -> int:
        """See `Family.prompt_tokens`; the image's tokens are as many whatever its size."""
        return int(self.processor.num_image_tokens) + len(self.tokenizer(prompt).input_ids)

    def answer_room(self, prompt: str, image_size: Size) -> int:
        """See `Family.answer_room`: the decoder's positions, of which the prompt takes none."""
        return self.positions

    def input_size(self, image_size: Size) -> Size:
        """See `Family.input_size`."""
        size = self.processor.image_processor.size
        return size["width"], size["height"]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `Family.count_tokens`; `<s>` counts as well."""
        return [len(ids) for ids in self.tokenizer(list(texts)).input_ids] if texts else []

    def collate(self, samples: Sequence[Sample], prompt: str) -> dict[str, Any]:
        """See `Family.collate`."""
        batch = self._inputs([sample.image for sample in samples], prompt)
        answers = self.tokenizer([sample.text for sample in samples], padding=True, return_tensors="pt")
        labels = answers.input_ids.masked_fill(answers.attention_mask == 0, IGNORED_LABEL)
        incomplete = [not sample.complete for sample in samples]
        labels[incomplete] = labels[incomplete].masked_fill(
            labels[incomplete] == self.tokenizer.eos_token_id, IGNORED_LABEL
        )
        # The model shifts the labels itself, and takes -100 for padding there.
        return {**batch, "labels": labels}

    def _inputs(self, images: Sequence[Image], prompt: str) -> dict[str, Any]:
        return dict(self.processor(images=list(images), text=[prompt] * len(images), return_tensors="pt", padding=True))

    def generate(self, images: Sequence[Image], prompt: str, decoding: Decoding) -> list[Answer]:
        """See `Family.generate`."""
        if decoding.max_new_tokens > self.positions:
            raise ModelError(
                f"expected answers of at most {self.positions} tokens, got up to {decoding.max_new_tokens}",
                remedy="Allow fewer new tokens.",
            )
        # The first token is the decoder's start, which in BART is </s>; then the model writes <s>.
        begin = (self.tokenizer.bos_token_id,)
        return self._generate(self._inputs(images, prompt), decoding, prompt_length=1, begin=begin)

    def log_probabilities(
        self, images: Sequence[Image], prompt: str, answers: Sequence[Sequence[int] | LabelsN]
    ) -> list[ScoresN]:
        """See `Family.log_probabilities`."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        config = self.base.config.text_config
        lengths = [len(answer) for answer in answers]
        rows = [torch.tensor([int(token) for token in answer], dtype=torch.int64) for answer in answers]
        # Each token is predicted at the place of the one before it; what stands behind an answer changes nothing in it.
        start = torch.tensor([config.decoder_start_token_id])
        before = [torch.cat([start, row[:-1]]) for row in rows]
        inputs = self._inputs(images, prompt)
        inputs["decoder_input_ids"] = pad_sequence(before, batch_first=True, padding_value=config.pad_token_id)
        with torch.inference_mode():
            hidden = self.base.model(**self._on_device(inputs), use_cache=False).last_hidden_state
            places = torch.cat([row[:length] for row, length in zip(hidden, lengths, strict=True)])
            head = self.base.get_output_embeddings()
            found = log_probabilities(places, torch.cat(rows).to(hidden.device), head, head.weight.shape[0])
        return np.split(found.cpu().numpy().astype(np.float64), np.cumsum(lengths)[:-1])
