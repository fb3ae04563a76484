"""RSMamba, the backbone of RS4D (Yang et al., IEEE TGRS 2026): Mamba layers over the patches of an image.

It is plain, as a ViT is: each layer has all patches of 16 x 16 pixels, 4,096 of them for 1,024 px. The layers scan them
in rows from the first to the last, and in the base setting from the last to the first as well, with the same weights.
Its 256 channels are those of SAM's image embedding, from which RS4D distils it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from rbox_baselines._parts._both import registered
from rbox_baselines._parts._mamba import MambaMixer
from rbox_baselines._scan import ScanBackend
from rbox_baselines.errors import ConfigError

Path = Literal[
    "forward",
    "forward_reverse_mean",
    "forward_reverse_gate",
    "forward_reverse_shuffle_mean",
    "forward_reverse_shuffle_gate",
]

#: Layers and channels of the scan; all have 256 channels.
SIZES = {"small": (16, 512), "base": (24, 512), "large": (28, 640), "huge": (32, 640), "uhuge2": (48, 640)}
CHANNELS = 256

#: For each way: how many sequences are scanned, and whether they are weighed by a gate. Else their mean is taken.
_PATHS: dict[str, tuple[int, bool]] = {
    "forward": (1, False),
    "forward_reverse_mean": (2, False),
    "forward_reverse_gate": (2, True),
    "forward_reverse_shuffle_mean": (3, False),
    "forward_reverse_shuffle_gate": (3, True),
}


@registered
class RSMamba(BaseModule):
    """The backbone RSMamba.

    Weights are drawn when it is made, and `init_weights` loads what `init_cfg` names and draws nothing: weights that
    were loaded before stay. A checkpoint of another image size is loaded with its position embedding interpolated.

    Args:
        arch: A name in `SIZES`, or a dict with the numbers `layers`, `inner` (channels of the scan) and `channels`.
        img_size: The side of images, in pixels, that the position embedding is made for. Others are interpolated.
        patch_size: The side of a patch, in pixels, which is the stride of the features.
        path_type: In which orders patches are scanned: "forward", their own; "reverse", from the last to the first;
            "shuffle", in a random order. Their mean is taken ("mean"), or a sum whose weights are learnt ("gate").
        out_indices: The layers whose features are given, from 0; negative ones count from the end. None: all.
        frozen_stages: How many layers do not learn, with patch and position embedding and the shared norm. 0: none.
        final_norm: Whether the last layer's features are normalised.
        shuffle_seed: Seed of the random orders in prediction. In training torch's own generator draws them.
        scan_backend: What computes the scan, as for `selective_scan`.
        with_cp: Whether layers are computed again for gradients, which needs less memory and more time.
        init_cfg: How mmengine initialises the weights.

    Raises:
        ConfigError: If an argument is none of those.
    """

    def __init__(
        self,
        arch: str | Mapping[str, int] = "base",
        img_size: int = 1024,
        patch_size: int = 16,
        path_type: Path = "forward_reverse_mean",
        out_indices: Sequence[int] | None = None,
        frozen_stages: int = 0,
        final_norm: bool = True,
        shuffle_seed: int = 0,
        scan_backend: ScanBackend = "auto",
        with_cp: bool = False,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg)
        count, inner, channels = _sizes(arch)
        if path_type not in _PATHS:
            raise ConfigError(f"expected path_type to be one of {', '.join(_PATHS)}, got {path_type!r}")
        self._sequences, gated = _PATHS[path_type]
        given = range(count) if out_indices is None else out_indices
        self.out_indices = tuple(index + count if index < 0 else index for index in given)
        if not all(0 <= index < count for index in self.out_indices):
            raise ConfigError(f"expected out_indices from {-count} to {count - 1}, got {tuple(given)}")
        if not 0 <= frozen_stages <= count:
            raise ConfigError(f"expected frozen_stages from 0 to {count}, got {frozen_stages}")
        self.patch_size, self.frozen_stages, self.shuffle_seed, self.with_cp = (
            patch_size,
            frozen_stages,
            shuffle_seed,
            with_cp,
        )
        self._side = -(-img_size // patch_size)
        patches = nn.Conv2d(3, channels, patch_size, patch_size, bias=False)
        self.patch_embed = nn.Sequential(OrderedDict(projection=patches))
        self.pos_embed = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, self._side**2, channels), std=0.02))
        self.pre_norm = nn.LayerNorm(channels, eps=1e-6)
        self.layers = nn.ModuleList(MambaMixer(channels, inner, backend=scan_backend) for _ in range(count))
        self.gate_layers = nn.ModuleList(
            nn.Sequential(nn.Linear(self._sequences * channels, self._sequences, bias=False), nn.Softmax(dim=-1))
            for _ in range(count if gated else 0)
        )
        self.ln1 = nn.LayerNorm(channels, eps=1e-6) if final_norm else None
        self._register_load_state_dict_pre_hook(self._fit_positions)
        self._freeze()

    @property
    def stem(self) -> tuple[int, int]:
        """How many channels a patch has, and its stride in pixels."""
        return self.pos_embed.shape[2], self.patch_size

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return a map (N, channels, H / patch size, W / patch size) of each chosen layer, for images (N, 3, H, W).

        Images whose sides are no multiples of the patch size are padded with zeros, at the right and at the bottom.
        """
        tokens, height, width = self.embed(images)
        return self.encode(tokens, height, width)

    def embed(self, images: Tensor) -> tuple[Tensor, int, int]:
        """Return patches (N, H * W, channels) without their positions, and how many there are downwards and across."""
        down, across = (-size % self.patch_size for size in images.shape[2:])
        patches = self.patch_embed(functional.pad(images, (0, across, 0, down)))
        return patches.flatten(2).transpose(1, 2), patches.shape[2], patches.shape[3]

    def encode(self, tokens: Tensor, height: int, width: int) -> tuple[Tensor, ...]:
        """Return the maps of `forward` for patches as `embed` gives them."""
        tokens = tokens + self._positions(height, width).to(tokens.dtype)
        given = []
        for index in range(len(self.layers)):
            orders = self._orders(tokens.shape[1], index, tokens.device)
            if self.with_cp and tokens.requires_grad:
                tokens = checkpoint(self._layer, tokens, index, *orders, use_reentrant=False)
            else:
                tokens = self._layer(tokens, index, *orders)
            last = index == len(self.layers) - 1
            if last and self.ln1 is not None:
                tokens = self.ln1(tokens)
            if index in self.out_indices:
                given.append(tokens.transpose(1, 2).unflatten(2, (height, width)).contiguous())
        return tuple(given)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation; what is frozen stays in evaluation."""
        super().train(mode)
        self._freeze()
        return self

    def _layer(self, tokens: Tensor, index: int, *orders: Tensor) -> Tensor:
        """Return what a layer makes of tokens: they are scanned in their own order, and in the others."""
        normal = self.pre_norm(tokens)
        scanned = self.layers[index](torch.cat([normal, *(normal[:, order] for order in orders)]))
        back = [scanned[: len(tokens)]]
        for order, part in zip(orders, scanned.split(len(tokens))[1:], strict=True):
            back.append(part[:, torch.argsort(order)])
        if not self.gate_layers:
            return tokens + sum(back[1:], back[0]) / len(back)
        weights = self.gate_layers[index](torch.cat([part.mean(1) for part in back], dim=-1))
        return tokens + sum(weights[:, k, None, None] * part for k, part in enumerate(back))

    def _orders(self, count: int, index: int, device: torch.device) -> list[Tensor]:
        """Return the orders in which a layer scans tokens beside their own: the reverse, and a random one."""
        orders = []
        if self._sequences > 1:
            orders.append(torch.arange(count - 1, -1, -1, device=device))
        if self._sequences > 2:
            generator = None if self.training else torch.Generator().manual_seed(self.shuffle_seed + index)
            orders.append(torch.randperm(count, generator=generator).to(device))
        return orders

    def _positions(self, height: int, width: int) -> Tensor:
        if (height, width) == (self._side, self._side):
            return self.pos_embed
        return _interpolated(self.pos_embed, (self._side, self._side), (height, width))

    def _fit_positions(self, weights: dict[str, Tensor], prefix: str, *_: Any) -> None:
        """Interpolate the position embedding of a checkpoint that was made for another image size."""
        found = weights.get(f"{prefix}pos_embed")
        if found is None or found.ndim != 3 or found.shape == self.pos_embed.shape:
            return
        side = round(found.shape[1] ** 0.5)
        if side * side == found.shape[1] and found.shape[2] == self.pos_embed.shape[2]:
            weights[f"{prefix}pos_embed"] = _interpolated(found, (side, side), (self._side, self._side))

    def _freeze(self) -> None:
        """Freeze what `frozen_stages` says."""
        if self.frozen_stages == 0:
            return
        self.pos_embed.requires_grad_(False)
        frozen: list[nn.Module] = [self.patch_embed, self.pre_norm, *self.layers[: self.frozen_stages]]
        frozen += self.gate_layers[: self.frozen_stages]
        if self.frozen_stages == len(self.layers) and self.ln1 is not None:
            frozen.append(self.ln1)
        for module in frozen:
            module.eval().requires_grad_(False)


def _sizes(arch: str | Mapping[str, int]) -> tuple[int, int, int]:
    """Return the number of layers, the channels of the scan, and those of the patches.

    Raises:
        ConfigError: If there is no such size.
    """
    if isinstance(arch, str) and arch in SIZES:
        return (*SIZES[arch], CHANNELS)
    keys = ("layers", "inner", "channels")
    if isinstance(arch, str) or set(arch) != set(keys):
        names = ", ".join(SIZES)
        raise ConfigError(f"expected arch to be one of {names}, or a dict with {', '.join(keys)}, got {arch!r}")
    layers, inner, channels = (arch[key] for key in keys)
    return layers, inner, channels


def _interpolated(positions: Tensor, before: tuple[int, int], after: tuple[int, int]) -> Tensor:
    """Return (1, rows * columns, channels) for another number of rows and columns."""
    grid = positions.transpose(1, 2).unflatten(2, before)
    return functional.interpolate(grid.float(), after, mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
