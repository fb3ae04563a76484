"""SAM (Kirillov et al., "Segment Anything", ICCV 2023) in two parts of a detector: its image encoder, its mask decoder.

Layers and weights are transformers' (extra `segmentation`), which is imported when a part is made. A config says what
the parts are by numbers alone: making one reads no file and fetches nothing. Weights come by `init_cfg`, of type
"Pretrained", whose `checkpoint` is a folder or hub name of transformers' SAM, or a file as mmengine writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import torch
from mmengine.model import BaseModule, initialize
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from rbox_baselines._parts._both import registered
from rbox_baselines.errors import ConfigError, StackError

Learns = Literal["nothing", "lora", "all"]

#: The published encoders: layers, channels, heads, and the layers that attend to the whole image (others to windows).
SIZES: dict[str, dict[str, Any]] = {
    "base": {"layers": 12, "channels": 768, "heads": 12, "global_layers": (2, 5, 8, 11)},
    "large": {"layers": 24, "channels": 1024, "heads": 16, "global_layers": (5, 11, 17, 23)},
    "huge": {"layers": 32, "channels": 1280, "heads": 16, "global_layers": (7, 15, 23, 31)},
}

#: What the published encoders have in common. `mlp` is 4 times the channels.
_COMMON: dict[str, Any] = {"mlp": None, "window": 14, "patch_size": 16, "embedding_channels": 256}

#: RSPrompter's LoRA.
LORA = {"r": 16, "alpha": 32, "dropout": 0.05}


@registered
class SAMEncoder(BaseModule):
    """SAM's image encoder as a backbone: the patches, and what each layer makes of them.

    Nothing is drawn by `init_weights`: weights that were loaded before stay. Checkpoints of another image size are
    loaded with their position embeddings interpolated. What does not learn stays in evaluation through `train()`.

    Args:
        arch: A name in `SIZES`, or a dict with `layers`, `channels`, `heads`, `global_layers`, and where they differ
            from the published ones `mlp`, `window`, `patch_size`, `embedding_channels`.
        img_size: The side of images, in pixels, that position embeddings are made for. Others are interpolated.
        out_indices: The maps that are given: 0 is the patches, 1 the first layer's. None: all.
        embedding: Whether SAM's image embedding, which its decoder takes, is given as well, as the last map.
        learns: "nothing"; "lora", adapters of the attention (by peft); or "all".
        lora: The adapters' `r`, `alpha` and `dropout`, where they are not 16, 32 and 0.05.
        with_cp: Whether layers are computed again for gradients, which needs less memory and more time.
        init_cfg: The weights, as in this module's docstring.

    Raises:
        ConfigError: If an argument is none of those.
        StackError: If transformers, or for "lora" peft, is not installed.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] = "base",
        img_size: int = 1024,
        out_indices: Any = None,
        embedding: bool = False,
        learns: Learns = "nothing",
        lora: Mapping[str, float] | None = None,
        with_cp: bool = False,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        sizes = _sizes(arch)
        if learns not in ("nothing", "lora", "all"):
            raise ConfigError(f"expected learns to be nothing, lora or all, got {learns!r}")
        count = sizes["layers"] + 1
        given = range(count) if out_indices is None else out_indices
        self.out_indices = tuple(index + count if index < 0 else index for index in given)
        if not all(0 <= index < count for index in self.out_indices):
            raise ConfigError(f"expected out_indices from {-count} to {count - 1}, got {tuple(given)}")
        self.patch_size, self.learns, self.embedding, self.with_cp = sizes["patch_size"], learns, embedding, with_cp
        self.vision_encoder = library().SamVisionEncoder(_vision_config(sizes, img_size))
        if learns == "lora":
            _add_lora(self.vision_encoder, lora)
        self._register_load_state_dict_pre_hook(self._fit)
        self._freeze()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return a map (N, C, H / patch size, W / patch size) of each chosen layer, for images (N, 3, H, W).

        Images are padded with zeros to a square, at the right and at the bottom, as SAM has them; the maps are those of
        the image's own patches.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.learns != "nothing"):
            encoder = self.vision_encoder
            height, width = (-(-size // self.patch_size) for size in images.shape[2:])
            side = max(height, width) * self.patch_size
            square = functional.pad(images, (0, side - images.shape[3], 0, side - images.shape[2]))
            patches = encoder.patch_embed.projection(square)
            tokens = (patches + self._positions(patches.shape[2]).to(patches.dtype)).permute(0, 2, 3, 1)
            given = [tokens] if 0 in self.out_indices else []
            for index, layer in enumerate(encoder.layers, start=1):
                again = self.with_cp and tokens.requires_grad
                tokens = checkpoint(layer, tokens, use_reentrant=False) if again else layer(tokens)
                if index in self.out_indices:
                    given.append(tokens)
            maps = [each.permute(0, 3, 1, 2) for each in given]
            maps += [encoder.neck(tokens)] if self.embedding else []
            return tuple(each[..., :height, :width] for each in maps)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation; what does not learn stays in evaluation."""
        super().train(mode)
        self._freeze()
        return self

    def init_weights(self) -> None:
        """Load what `init_cfg` names."""
        _begin(self, lambda source: from_pretrained(library().SamVisionModel, source).state_dict())

    def _positions(self, side: int) -> Tensor:
        """Return (1, C, side, side)."""
        grid = self.vision_encoder.pos_embed.permute(0, 3, 1, 2)
        return grid if grid.shape[2] == side else _resized(grid, (side, side))

    def _fit(self, weights: dict[str, Tensor], prefix: str, *_: Any) -> None:
        """Interpolate position embeddings of another image size, and name weights as layers with LoRA do."""
        for name, own in self.state_dict().items():
            if ".base_layer." in name:
                plain = prefix + name.replace(".base_layer.", ".")
                if plain in weights:
                    weights[prefix + name] = weights.pop(plain)
            found = weights.get(prefix + name)
            if found is None or found.shape == own.shape:
                continue
            if name.endswith("pos_embed") and found.ndim == 4 and found.shape[3] == own.shape[3]:
                grid = _resized(found.permute(0, 3, 1, 2), (own.shape[1], own.shape[2]))
                weights[prefix + name] = grid.permute(0, 2, 3, 1)
            elif name.endswith(("rel_pos_h", "rel_pos_w")) and found.shape[1:] == own.shape[1:]:
                # As transformers interpolates them for images of another size.
                line = functional.interpolate(found.float().T[None], own.shape[0], mode="linear")
                weights[prefix + name] = line[0].T.to(found.dtype)

    def _freeze(self) -> None:
        for name, each in self.vision_encoder.named_parameters():
            used = self.embedding or not name.startswith("neck.")
            each.requires_grad_(used and (self.learns == "all" or (self.learns == "lora" and "lora_" in name)))
        if self.learns == "nothing":
            self.vision_encoder.eval()


@registered
class SAMDecoder(BaseModule):
    """SAM's mask decoder, with the parts of its prompt encoder that prompts of a network, and masks, need.

    What makes several masks for one prompt, and tells their quality, is not used, and does not learn. Nor do SAM's
    frequencies of positions, which SAM itself never learnt. As for `SAMEncoder`, `init_weights` draws nothing.

    Args:
        channels: Of the image embedding and of the prompts.
        heads: Of the attention.
        layers: How many times prompts and image attend to each other.
        mlp: Channels of the MLP of each layer.
        masks: Whether a prompt has a mask as well. Else SAM's embedding of no mask takes its place.
        boxes: Whether it has the parts of `of_boxes`.
        frozen: Whether nothing of it learns.
        chunk: How many prompts are decoded at once. Others wait, and where gradients are asked for each chunk is
            computed again, which bounds memory. 0: all at once.
        init_cfg: The weights, as in this module's docstring.

    Raises:
        StackError: If transformers is not installed.
    """

    def __init__(
        self,
        channels: int = 256,
        heads: int = 8,
        layers: int = 2,
        mlp: int = 2048,
        masks: bool = False,
        boxes: bool = False,
        frozen: bool = False,
        chunk: int = 16,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        sam = library()
        self.masks, self.frozen, self.chunk = masks, frozen, chunk
        prompts = sam.SamPromptEncoderConfig(hidden_size=channels)
        decoder = sam.SamMaskDecoderConfig(
            hidden_size=channels, num_attention_heads=heads, num_hidden_layers=layers, mlp_dim=mlp
        )
        decoder._attn_implementation = "sdpa"
        # SAM's own scale. By transformers' default, half an encoder's channels, next places have nothing in common.
        vision = sam.SamVisionConfig(num_pos_feats=channels // 2, scale=1)
        self.shared_image_embedding = sam.SamPositionalEmbedding(vision)
        if masks:
            self.mask_embed = sam.SamMaskEmbedding(prompts)
        else:
            self.no_mask_embed = nn.Embedding(1, channels)
        if boxes:  # what points outside and inside an object have in common, and the two corners of a box
            self.point_embed = nn.ModuleList(nn.Embedding(1, channels) for _ in range(4))
        self.mask_decoder = sam.SamMaskDecoder(decoder)
        self._freeze()

    def forward(self, embeddings: Tensor, prompts: Tensor, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Return the logits (N, 4 h, 4 w) of a mask for each prompt.

        Args:
            embeddings: (B, channels, h, w), of the images.
            prompts: (N, tokens, channels).
            images: (N,), which image each prompt is of.
            masks: (N, 4 h, 4 w), the logits of a mask for each prompt, if the decoder was made for them.
        """
        height, width = embeddings.shape[2:]
        if not len(prompts):
            return embeddings.new_zeros(0, 4 * height, 4 * width)
        places = self.positions(height, width).to(embeddings.dtype)
        size = self.chunk or len(prompts)
        found = []
        for start in range(0, len(prompts), size):
            part = slice(start, start + size)
            given = (embeddings, places, prompts[part], images[part], None if masks is None else masks[part])
            again = torch.is_grad_enabled() and len(prompts) > size
            found.append(checkpoint(self._decode, *given, use_reentrant=False) if again else self._decode(*given))
        return torch.cat(found)

    def _decode(
        self, embeddings: Tensor, places: Tensor, prompts: Tensor, images: Tensor, masks: Tensor | None
    ) -> Tensor:
        chosen = embeddings[images]
        dense = self.mask_embed(masks[:, None]) if masks is not None else self.no_mask_embed.weight[:, :, None, None]
        found, _ = self.mask_decoder(
            image_embeddings=chosen,
            image_positional_embeddings=places.expand(len(chosen), -1, -1, -1),
            sparse_prompt_embeddings=prompts[:, None],
            dense_prompt_embeddings=dense,
            multimask_output=False,
        )
        return found[:, 0, 0]

    def of_boxes(self, boxes: Tensor, side: int) -> Tensor:
        """Return SAM's own prompts (N, 3, channels) of boxes: a point in the middle, and two corners.

        Args:
            boxes: (N, 4), upright: left, top, right, bottom in pixels.
            side: The longer side of the images in pixels, which `positions` are parts of.
        """
        corners = boxes.view(-1, 2, 2)
        points = torch.cat([corners.mean(1, keepdim=True), corners], dim=1)
        kinds: list[Tensor] = [*self.point_embed.parameters()]
        return self.shared_image_embedding((points + 0.5) / side) + torch.cat(kinds[1:])

    def positions(self, height: int, width: int) -> Tensor:
        """Return the embedding (1, channels, height, width) of places, as parts of the longer side."""
        device, longer = self.shared_image_embedding.positional_embedding.device, max(height, width)
        down, across = ((torch.arange(size, device=device) + 0.5) / longer for size in (height, width))
        grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)
        return self.shared_image_embedding(grid).permute(2, 0, 1)[None]

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation; what is frozen stays in evaluation."""
        super().train(mode and not self.frozen)
        return self

    def init_weights(self) -> None:
        """Load what `init_cfg` names."""
        _begin(self, self._weights_in)

    def _weights_in(self, source: str) -> dict[str, Tensor]:
        found = from_pretrained(_decoder_class(), source).state_dict()
        weights = {name.removeprefix("prompt_encoder."): value for name, value in found.items()}
        return {name: weights[name] for name in self.state_dict() if name in weights}

    def _freeze(self) -> None:
        decoder = self.mask_decoder
        unused = [decoder.iou_prediction_head, *decoder.output_hypernetworks_mlps[1:], self.shared_image_embedding]
        if hasattr(self, "point_embed"):
            unused += self.point_embed[:1]
        for module in [self] if self.frozen else unused:
            module.requires_grad_(False)


def from_pretrained(kind: Any, source: str) -> Any:
    """Load a class of transformers from a folder or a hub name of SAM, in float32.

    Raises:
        ConfigError: If there is no such model, or weights of the class are missing there.
    """
    try:
        # A whole SamModel's weights, too: what is not of the class is passed over.
        model, report = kind.from_pretrained(source, output_loading_info=True)
    except Exception as error:  # what is wrong with a folder or a name shows in any way
        raise ConfigError(
            f"expected transformers' SAM in {source}, got {type(error).__name__}: {str(error).splitlines()[0]}"
        ) from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise ConfigError(f"expected all weights of SAM in {source}, but {len(missing)} are missing: {missing[0]}")
    return model.float()


def is_hub_name(source: str) -> bool:
    """Return whether a text may be a name on the hub, such as facebook/sam-vit-base, and is not that of a file."""
    owner, slash, name = source.partition("/")
    return bool(slash and owner and name) and "/" not in name and Path(name).suffix not in (".pth", ".pt", ".bin")


def _begin(part: BaseModule, weights_in: Callable[[str], Mapping[str, Tensor]]) -> None:
    """Load what `init_cfg` of a part names: a file as mmengine writes it, or a folder or hub name of SAM.

    Args:
        part: The part.
        weights_in: Returns the part's weights in a folder or under a hub name.
    """
    part._is_init = True
    source = _source(part.init_cfg)
    if source is None:
        return
    if Path(source).is_file():
        initialize(part, part.init_cfg)
    else:
        _load(part, weights_in(source), source)


def _load(module: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Load all weights of a module.

    Raises:
        ConfigError: If one is missing, too many, or of another shape. Adapters are not of SAM.
    """
    try:
        report = module.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ConfigError(f"expected weights of {source} in this size of SAM, got {error}") from error
    missing = [name for name in report.missing_keys if "lora_" not in name]
    if missing or report.unexpected_keys:
        wrong = [*missing, *report.unexpected_keys]
        raise ConfigError(
            f"expected {source} to be SAM of this size, but {len(wrong)} weights do not fit, such as {wrong[0]}",
            remedy="`arch` must be that of the weights: base, large or huge.",
        )


def _source(init_cfg: Any) -> str | None:
    """Return where weights come from.

    Raises:
        ConfigError: If they come in another way than "Pretrained".
    """
    if init_cfg is None:
        return None
    if not isinstance(init_cfg, dict) or init_cfg.get("type") != "Pretrained" or "checkpoint" not in init_cfg:
        raise ConfigError(f"expected init_cfg of SAM with the type Pretrained and a checkpoint, got {init_cfg!r}")
    return str(init_cfg["checkpoint"])


def library() -> Any:
    """Return transformers' module of SAM.

    Raises:
        StackError: If transformers is not installed.
    """
    try:
        from transformers.models.sam import modeling_sam
    except ModuleNotFoundError as error:
        remedy = "pip install 'rbox-baselines[segmentation]'"
        raise StackError("expected transformers for SAM, found none", remedy=remedy) from error
    return modeling_sam


def _decoder_class() -> Any:
    """Return a SamModel without its encoder."""
    sam = library()

    class Decoder(sam.SamModel):  # type: ignore[name-defined]
        def __init__(self, config: Any) -> None:
            sam.SamPreTrainedModel.__init__(self, config)
            self.shared_image_embedding = sam.SamPositionalEmbedding(config.vision_config)
            self.prompt_encoder = sam.SamPromptEncoder(config)
            config.mask_decoder_config._attn_implementation = config._attn_implementation
            self.mask_decoder = sam.SamMaskDecoder(config.mask_decoder_config)
            self.post_init()

    return Decoder


def _sizes(arch: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of an encoder, by the names of `SIZES` and `_COMMON`.

    Raises:
        ConfigError: If there is no such size.
    """
    if isinstance(arch, str) and arch in SIZES:
        return {**_COMMON, **SIZES[arch], "mlp": 4 * SIZES[arch]["channels"]}
    needed = list(SIZES["base"])
    if isinstance(arch, str) or not set(needed) <= set(arch) <= {*needed, *_COMMON}:
        raise ConfigError(
            f"expected arch to be one of {', '.join(SIZES)}, or a dict with {', '.join(needed)} and perhaps "
            f"{', '.join(_COMMON)}, got {arch!r}"
        )
    found = {**_COMMON, **arch}
    return {**found, "mlp": found["mlp"] or 4 * found["channels"]}


def _vision_config(sizes: Mapping[str, Any], img_size: int) -> Any:
    return library().SamVisionConfig(
        hidden_size=sizes["channels"],
        output_channels=sizes["embedding_channels"],
        num_hidden_layers=sizes["layers"],
        num_attention_heads=sizes["heads"],
        image_size=img_size,
        patch_size=sizes["patch_size"],
        window_size=sizes["window"],
        global_attn_indexes=list(sizes["global_layers"]),
        mlp_dim=sizes["mlp"],
    )


def _add_lora(encoder: nn.Module, given: Mapping[str, float] | None) -> None:
    settings = {**LORA, **(given or {})}
    if set(settings) != set(LORA):
        raise ConfigError(f"expected lora with {', '.join(LORA)}, got {dict(given or {})!r}")
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError as error:
        remedy = "pip install 'rbox-baselines[segmentation]'"
        raise StackError("expected peft for SAM with LoRA, found none", remedy=remedy) from error
    inject_adapter_in_model(
        LoraConfig(
            r=int(settings["r"]),
            lora_alpha=settings["alpha"],  # type: ignore[arg-type]  # a number that is divided by r
            lora_dropout=settings["dropout"],
            target_modules=["qkv"],
            bias="none",
        ),
        encoder,
    )


def _resized(grid: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(grid.float(), size, mode="bicubic", align_corners=False)
