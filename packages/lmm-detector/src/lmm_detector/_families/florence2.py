"""Florence-2, on transformers' own classes: an image encoder (DaViT) in front of a BART encoder and decoder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from rbox_formats.typing import Image, LabelsN, ScoresN

from lmm_detector._families._attention import choose_attention
from lmm_detector._families._base import IGNORED_LABEL, Answer, Decoding, Family, Part, Sample, Size
from lmm_detector._families._checkpointing import checkpoint_block
from lmm_detector._families._likelihood import log_probabilities
from lmm_detector._families._loading import load_model, load_processor, settle_generation
from lmm_detector._families._loss import summed_loss
from lmm_detector._families._sizes import in_a_square, interpolate, require_multiple, resize_positions, set_square
from lmm_detector.errors import ModelError

if TYPE_CHECKING:
    import torch

    from lmm_detector._families._soft_targets import SoftTargets


class Florence2(Family):
    """`Florence2ForConditionalGeneration` and its processor.

    The prompt goes to the encoder after the image's tokens, the answer to the decoder as `<s> answer </s>`, the way
    BART was trained.
    """

    name: ClassVar[str] = "florence2"
    without_flash: ClassVar[Mapping[Part, str]] = {
        "vision": "in half of its blocks channels attend to each other, with heads as wide as the image has places"
    }
    has_one_size = True

    @classmethod
    def load(
        cls, source: str, *, dtype: str = "float32", attn_implementation: str | Mapping[Part, str] | None = None
    ) -> Florence2:
        """See `Family.load`."""
        from transformers import Florence2ForConditionalGeneration, Florence2Processor

        what = "a Florence-2"
        processor = load_processor(source, Florence2Processor, what)
        attention = choose_attention(source, attn_implementation, dtype, cls.without_flash)
        model = load_model(source, Florence2ForConditionalGeneration, what, dtype, attention)
        text_config = model.config.text_config
        settle_generation(
            model,
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

    def prompt_tokens(self, prompt: str, image_size: Size | None = None) -> int:
        """See `Family.prompt_tokens`; the image's tokens are as many whatever its size."""
        return int(self.processor.num_image_tokens) + len(self.tokenizer(prompt).input_ids)

    def answer_room(self, prompt: str, image_size: Size) -> int:
        """See `Family.answer_room`: all of the decoder's positions, as the prompt takes none."""
        return self.positions

    def input_size(self, image_size: Size) -> Size:
        """See `Family.input_size`."""
        size = self.processor.image_processor.size
        return size["width"], size["height"]

    def set_image_size(self, side: int) -> None:
        """See `Family.set_image_size`; a multiple of the 32 px of a cell.

        The tables of rows and columns, of 50 cells in published models, grow where the image has more. `check` says
        whether the encoder's positions, which `set_positions` sets, hold its (side / 32)**2 + 1 tokens and the prompt.
        """
        cell = math.prod(self.base.config.vision_config.patch_stride)
        require_multiple(side, cell)
        cells = side // cell
        vision = self.base.config.vision_config
        if cells > vision.max_position_embeddings:
            places = self.base.model.multi_modal_projector.image_position_embed
            for table in (places.row_embeddings, places.column_embeddings):
                interpolate(table, cells)
            vision.max_position_embeddings = cells
        set_square(self.processor.image_processor, side)
        self.processor.num_image_tokens = self.processor.image_processor.image_seq_length = cells**2 + 1

    def set_positions(self, count: int) -> None:
        """See `Family.set_positions`: of encoder and of decoder, each; `resize_positions` says how their tables grow.

        With fewer positions than there are, those beyond are dropped.
        """
        if count < 1:
            raise ModelError(f"expected 1 position or more, got {count}")
        text = self.base.model.language_model
        resize_positions(text.encoder.embed_positions, count, text.encoder.embed_positions.offset)
        resize_positions(text.decoder.embed_positions, count, text.decoder.embed_positions.offset)
        text.encoder.max_source_positions = text.decoder.max_target_positions = count
        for config in (self.base.config.text_config, text.config):
            config.max_position_embeddings = count
        self.tokenizer.model_max_length = max(count, self.tokenizer.model_max_length)

    def checkpoint_gradients(self) -> None:
        """See `Family.checkpoint_gradients`; DaViT's blocks, which transformers has no checkpoints for, with ours."""
        super().checkpoint_gradients()
        for stage in self.base.model.vision_tower.blocks:
            for block in stage:
                checkpoint_block(block)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `Family.count_tokens`; the tokens that an answer begins with count as well."""
        return [len(self._begin) + len(ids) + 1 for ids in self._encode(texts)]

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False).input_ids if texts else []
        return ids

    @property
    def _begin(self) -> tuple[int, ...]:
        """`<s>`, once, or as often as `decoder_start_tokens` in config.json says.

        The decoder starts with `</s>`, as BART's; then `<s>` comes first in an answer. LMMRotate teaches it as often as
        there are beams above two (`lmmrotate/dataset.py` of VisionXLab/mllm-mmrotate at 9475a93,
        `_collate_fn_florence2`), which `convert` keeps: with Florence-2's three beams that is BART's one.
        """
        return (self.tokenizer.bos_token_id,) * int(getattr(self.base.config, "decoder_start_tokens", 1))

    def collate(self, samples: Sequence[Sample], prompt: str) -> dict[str, Any]:
        """See `Family.collate`."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        begin, end = self._begin, self.end_tokens[:1]
        rows = [
            torch.tensor([*begin, *ids, *(end if sample.complete else ())])
            for ids, sample in zip(self._encode([sample.text for sample in samples]), samples, strict=True)
        ]
        labels = pad_sequence(rows, batch_first=True, padding_value=IGNORED_LABEL)
        inputs = self._inputs([sample.image for sample in samples], prompt)
        return {**inputs, "decoder_input_ids": self._before(rows), "labels": labels}

    def _before(self, rows: Sequence[torch.Tensor]) -> torch.Tensor:
        """What the decoder reads so that it finds the tokens of rows (T,): (B, T), at each place the one before it."""
        import torch
        from torch.nn.utils.rnn import pad_sequence

        config = self.base.config.text_config
        start = rows[0].new_tensor([config.decoder_start_token_id])
        before = [torch.cat([start, row[:-1]]) for row in rows]
        return pad_sequence(before, batch_first=True, padding_value=config.pad_token_id)

    def loss(self, batch: Mapping[str, Any], model: Any = None, soft: SoftTargets | None = None) -> torch.Tensor:
        """See `Family.loss`."""
        inputs = {name: value for name, value in batch.items() if name != "labels"}
        return summed_loss(self.model if model is None else model, inputs, batch["labels"], soft)

    def places(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """See `Family.places`; the first token is the mean of all places, and none of them."""
        found: torch.Tensor = self._image_features(batch["pixel_values"])[:, 1:]
        return in_a_square(found)

    def _inputs(self, images: Sequence[Image], prompt: str) -> dict[str, Any]:
        return self._processed(images, [prompt] * len(images))

    def generate(self, images: Sequence[Image], prompt: str, decoding: Decoding) -> list[Answer]:
        """See `Family.generate`."""
        if decoding.max_new_tokens > self.positions:
            raise ModelError(
                f"expected answers of at most {self.positions} tokens, got up to {decoding.max_new_tokens}",
                remedy="Allow fewer new tokens.",
            )
        # The first token is the decoder's start.
        return self._generate(self._inputs(images, prompt), decoding, prompt_length=1, begin=self._begin)

    def log_probabilities(
        self, images: Sequence[Image], prompt: str, answers: Sequence[Sequence[int] | LabelsN]
    ) -> list[ScoresN]:
        """See `Family.log_probabilities`; answers as `generate` gives them, with the tokens that they begin with."""
        import torch

        lengths = [len(answer) for answer in answers]
        rows = [torch.tensor([int(token) for token in answer], dtype=torch.int64) for answer in answers]
        # Each token is predicted at the place of the one before it; what follows an answer changes nothing in it.
        inputs = {**self._inputs(images, prompt), "decoder_input_ids": self._before(rows)}
        with torch.inference_mode():
            hidden = self.base.model(**self.on_device(inputs), use_cache=False).last_hidden_state
            places = torch.cat([row[:length] for row, length in zip(hidden, lengths, strict=True)])
            head = self.base.get_output_embeddings()
            found = log_probabilities(places, torch.cat(rows).to(hidden.device), head, head.weight.shape[0])
        return np.split(found.cpu().numpy().astype(np.float64), np.cumsum(lengths)[:-1])
