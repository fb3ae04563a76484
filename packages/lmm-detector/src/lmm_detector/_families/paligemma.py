"""PaliGemma and PaliGemma 2: SigLIP in front of Gemma, which sees image and prompt as a whole, the answer in order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from lmm_detector._families._attention import choose_attention
from lmm_detector._families._base import Part, Size
from lmm_detector._families._decoder_only import DecoderOnly
from lmm_detector._families._loading import load_model, load_processor
from lmm_detector._families._sizes import in_a_square, require_side

if TYPE_CHECKING:
    import torch


class PaliGemma(DecoderOnly):
    """`PaliGemmaForConditionalGeneration` and its processor.

    The prefix is the image's tokens, `<bos>`, the prompt and a line's end; they all see each other. The suffix is the
    answer and `<eos>` (Beyer et al., arXiv 2407.07726, section 3.1).
    """

    name: ClassVar[str] = "paligemma"
    ignored_inputs = ("labels",)  # the processor's own, without an answer
    answer_type = 1  # 0 is the prefix
    without_flash: ClassVar[Mapping[Part, str]] = {
        "language": "image and prompt see all of each other, which its masks cannot say"
    }
    has_one_size = True

    @classmethod
    def load(
        cls, source: str, *, dtype: str = "float32", attn_implementation: str | Mapping[Part, str] | None = None
    ) -> PaliGemma:
        """See `Family.load`."""
        from transformers import PaliGemmaForConditionalGeneration, PaliGemmaProcessor

        what = "a PaliGemma"
        processor = load_processor(source, PaliGemmaProcessor, what)
        attention = choose_attention(source, attn_implementation, dtype, cls.without_flash)
        model = load_model(source, PaliGemmaForConditionalGeneration, what, dtype, attention)
        family = cls(model, processor)
        family._settle()
        return family

    @property
    def prefixes(self) -> Mapping[Part, tuple[str, ...]]:
        """See `Family.prefixes`."""
        return {
            "vision": ("model.vision_tower",),
            "language": ("model.language_model", "lm_head"),
            "projection": ("model.multi_modal_projector",),
        }

    def _own_ends(self) -> tuple[int, ...]:
        return (self.tokenizer.eos_token_id,)

    def input_size(self, image_size: Size) -> Size:
        """See `Family.input_size`."""
        size = self.processor.image_processor.size
        return size["width"], size["height"]

    def set_image_size(self, side: int) -> None:
        """See `Family.set_image_size`; the vision model's positions are learnt for one size alone."""
        require_side(
            side,
            self.processor.image_processor.size["height"],
            remedy="There are PaliGemmas for 224, 448 and 896 px, as their names say.",
        )

    def render(self, prompt: str) -> str:
        """See `DecoderOnly.render`; `<bos>` and the line's end are the processor's to add."""
        return f"{self.processor.image_token}{prompt}"

    def places(self, batch: Mapping[str, Any]) -> torch.Tensor:
        """See `Family.places`."""
        return in_a_square(self._image_features(batch["pixel_values"]))

    def _logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Gemma 2 keeps its logits within bounds (Gemma Team, arXiv 2408.00118, section 2)."""
        logits = super()._logits(hidden)
        bound = getattr(self.base.config.get_text_config(), "final_logit_softcapping", None)
        return logits if bound is None else (logits / bound).tanh() * bound
