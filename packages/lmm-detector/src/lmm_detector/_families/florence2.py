"""Florence-2, on transformers' own classes: an image encoder (DaViT) in front of a BART encoder and decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from rbox_formats.codecs import Codec

from lmm_detector._families._base import Family, Sample
from lmm_detector.errors import ModelError

_IGNORED_LABEL = -100  # what PyTorch's cross entropy leaves out


class Florence2(Family):
    """`Florence2ForConditionalGeneration` and its processor.

    The prompt goes to the encoder behind the image's tokens, the answer to the decoder as `<s> answer </s>`, the way
    BART was trained.
    """

    name: ClassVar[str] = "florence2"

    @classmethod
    def load(cls, source: str) -> Florence2:
        """Loads weights in transformers' layout from a local folder or the hub; runs no code from there."""
        from safetensors import SafetensorError
        from transformers import Florence2ForConditionalGeneration, Florence2Processor, GenerationConfig

        try:
            # Always Pillow's resizing: torchvision's, which transformers prefers where it is, gives other pixels.
            processor = Florence2Processor.from_pretrained(source, trust_remote_code=False, backend="pil")
            # With loading info two things come back, which transformers' annotations do not know.
            loaded: Any = Florence2ForConditionalGeneration.from_pretrained(
                source, trust_remote_code=False, output_loading_info=True, dtype="float32"
            )
            model, found = loaded
        except (OSError, KeyError, ValueError, TypeError, AttributeError, SafetensorError) as error:
            # What transformers raises for files that are missing, broken or of another layout.
            reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            raise ModelError(f"expected a Florence-2 in transformers' layout, got {reason}", path=source) from error
        # Weights that were not found are drawn at random, which nothing but the scores would show.
        left_out = sorted({*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])})
        if left_out:
            raise ModelError(
                f"expected all weights of a Florence-2 in transformers' layout, got none for {len(left_out)} of them, "
                f"such as {left_out[0]!r}",
                path=source,
                remedy="A checkpoint of Microsoft's remote code has other names; take florence-community/Florence-2-*.",
            )
        # Only what the answers' form needs: Florence-2's own settings forbid repeated triples of tokens, which
        # coordinates have, and put </s> where an answer is cut, which would hide that it is.
        text_config = model.config.text_config
        model.generation_config = GenerationConfig(
            bos_token_id=text_config.bos_token_id,
            pad_token_id=text_config.pad_token_id,
            eos_token_id=text_config.eos_token_id,
            decoder_start_token_id=text_config.decoder_start_token_id,
        )
        return cls(model, processor)

    def check(self, codec: Codec, prompt: str) -> None:
        """See `Family.check`."""
        tokenizer = self.processor.tokenizer
        known = tokenizer.get_vocab()
        absent = [token for token in codec.added_tokens if token not in known]
        if absent:
            raise ModelError(
                f"expected a tokenizer with the tokens of codec {codec.name!r}, got one without {absent[0]!r}"
                + (f" and {len(absent) - 1} more" if len(absent) > 1 else ""),
                path=self.model.name_or_path,
            )
        inputs = self.processor.num_image_tokens + len(tokenizer(prompt).input_ids)
        positions = self.model.config.text_config.max_position_embeddings
        if inputs > positions:
            raise ModelError(f"expected at most {positions} tokens of image and prompt, got {inputs}")

    @property
    def max_target_tokens(self) -> int:
        """The decoder's positions."""
        return int(self.model.config.text_config.max_position_embeddings)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """See `Family.count_tokens`; `<s>` counts as well."""
        return [len(ids) for ids in self.processor.tokenizer(list(texts)).input_ids] if texts else []

    def collate(self, samples: Sequence[Sample], prompt: str) -> dict[str, Any]:
        """See `Family.collate`."""
        batch = self._inputs([sample.image for sample in samples], prompt)
        answers = self.processor.tokenizer([sample.text for sample in samples], padding=True, return_tensors="pt")
        labels = answers.input_ids.masked_fill(answers.attention_mask == 0, _IGNORED_LABEL)
        incomplete = [not sample.complete for sample in samples]
        labels[incomplete] = labels[incomplete].masked_fill(
            labels[incomplete] == self.processor.tokenizer.eos_token_id, _IGNORED_LABEL
        )
        # The model shifts the labels itself, and takes -100 for padding there.
        return {**batch, "labels": labels}

    def _inputs(self, images: Sequence[np.ndarray], prompt: str) -> dict[str, Any]:
        return dict(self.processor(images=list(images), text=[prompt] * len(images), return_tensors="pt", padding=True))

    def generate(self, images: Sequence[np.ndarray], prompt: str, *, num_beams: int, max_new_tokens: int) -> list[str]:
        """See `Family.generate`."""
        import torch

        inputs = {
            name: value.to(self.model.device, self.model.dtype if value.is_floating_point() else None)
            for name, value in self._inputs(images, prompt).items()
        }
        with torch.inference_mode():
            tokens = self.model.generate(
                **inputs,
                do_sample=False,
                num_beams=num_beams,
                max_new_tokens=max_new_tokens,
                early_stopping=num_beams > 1,
            )
        # The first token is the decoder's start, which in BART is </s>.
        texts = self.processor.tokenizer.batch_decode(
            tokens[:, 1:], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return [text.replace(self.processor.tokenizer.pad_token, "") for text in texts]

    def is_finished(self, text: str) -> bool:
        """See `Family.is_finished`."""
        return text.endswith(self.processor.tokenizer.eos_token)
