"""The teacher, which is frozen, and the student, whose input is corrupted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rbox_baselines._distillation._settings import Distillation
from rbox_baselines.errors import ConfigError

if TYPE_CHECKING:
    from mmengine.config import Config
else:
    Config = Any  # mmengine is imported where a config is read

_SAM_MEAN, _SAM_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


@dataclass(frozen=True)
class Pixels:
    """How a model has its images: normalised, red first or blue first.

    Attributes:
        mean: Of each channel, in the model's order.
        std: Of each channel.
        blue_first: Whether blue is the first.
    """

    mean: Sequence[float]
    std: Sequence[float]
    blue_first: bool = False

    @classmethod
    def of(cls, config: Config) -> Pixels:
        """Return those of a detector's config."""
        given = config.model.get("data_preprocessor") or {}
        return cls(given.get("mean") or (0, 0, 0), given.get("std") or (1, 1, 1), not given.get("bgr_to_rgb", False))

    def __call__(self, images: Tensor, valid: Tensor) -> Tensor:
        """Return what the model sees of images.

        Args:
            images: (N, 3, H, W) from 0 to 255, red first.
            valid: (N, 1, H, W), 1 where the image is and 0 where it is padded, which the model sees as 0.
        """
        mean, std = (images.new_tensor(each)[:, None, None] for each in (self.mean, self.std))
        return ((images.flip(1) if self.blue_first else images) - mean) / std * valid


@dataclass(frozen=True)
class Teacher:
    """A frozen model.

    Attributes:
        module: The model.
        maps: Gives its maps (N, C, h, w) of its input, the last one last.
        pixels: How it has its images.
        fingerprint: Names its weights.
        side: The side of its images in pixels. None: any.
    """

    module: nn.Module
    maps: Callable[[Tensor], Sequence[Tensor]]
    pixels: Pixels
    fingerprint: str
    side: int | None

    @torch.no_grad()
    def __call__(self, images: Tensor, valid: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """Return the last map and those of chosen layers."""
        maps = self.maps(self.pixels(images, valid))
        if layers and max(layers) >= len(maps):
            raise ConfigError(f"expected layers of the teacher from 0 to {len(maps) - 1}, got {max(layers)}")
        return [maps[-1], *(maps[layer] for layer in layers)]


def load_teacher(source: str | Path, device: str) -> Teacher:
    """Load a teacher.

    Args:
        source: A folder or a hub name of transformers' SAM, whose vision encoder is taken; or a checkpoint of a
            detector, whose backbone is taken.
        device: Where it is to be.

    Raises:
        RboxError: If there is no such model.
    """
    path = Path(source)
    if path.is_file():
        from rbox_baselines._prediction._detector import Detector

        detector = Detector.from_checkpoint(path, device=device)
        backbone = detector.model.backbone.requires_grad_(False)
        return Teacher(backbone, backbone, Pixels.of(detector.config), detector.fingerprint, None)
    if path.suffix == ".pth" or (path.is_dir() and not (path / "config.json").is_file()):
        raise ConfigError("expected a teacher: a folder of transformers' SAM, or a detector's checkpoint", path=path)
    return _sam_teacher(str(source), device)


def _sam_teacher(source: str, device: str) -> Teacher:
    from rbox_baselines._parts import _sam

    model = _sam.from_pretrained(_sam.library().SamVisionModel, source)
    encoder = model.vision_encoder.to(device).eval().requires_grad_(False)

    def maps(images: Tensor) -> list[Tensor]:
        found = encoder(images, output_hidden_states=True)
        return [*(each.permute(0, 3, 1, 2) for each in found.hidden_states), found.last_hidden_state]

    digest = hashlib.sha256()
    for name, weight in sorted(encoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(weight.cpu().contiguous().numpy().tobytes())
    pixels = Pixels(_SAM_MEAN, _SAM_STD)
    return Teacher(encoder, maps, pixels, f"sha256:{digest.hexdigest()}", encoder.config.image_size)


class Student(nn.Module):
    """A backbone that learns, with what only the distillation needs.

    Args:
        backbone: The backbone.
        pixels: How it has its images.
        settings: Those of the run.
        teacher_maps: The teacher's maps of one batch, for their channels.
        side: The side of the images.
    """

    def __init__(
        self, backbone: Any, pixels: Pixels, settings: Distillation, teacher_maps: Sequence[Tensor], side: int
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pixels, self.settings = pixels, settings
        if settings.place == "tokens" and not hasattr(backbone, "embed"):
            raise ConfigError(
                f"expected RSMamba for a corruption of tokens, got {type(backbone).__name__}",
                remedy="Corrupt its images instead: --corrupt image.",
            )
        device = teacher_maps[0].device
        backbone.to(device)
        self._chosen = [layer for layer, _ in settings.layers]
        training = backbone.training
        with torch.no_grad():
            found = self._maps(backbone.eval()(torch.zeros(1, 3, side, side, device=device)))
        backbone.train(training)
        widths = [(own.shape[1], other.shape[1]) for own, other in zip(found, teacher_maps, strict=True)]
        # The last map needs none where channels are equal, as those of RSMamba and SAM are: heads on it know it then.
        self.projections = nn.ModuleList(
            nn.Identity() if number == 0 and own == other else nn.Conv2d(own, other, 1)
            for number, (own, other) in enumerate(widths)
        ).to(device)
        channels = backbone.stem[0] if settings.place == "tokens" else 0
        self.mask_token = nn.Parameter(torch.zeros(channels, device=device))

    def forward(
        self,
        images: Tensor,
        valid: Tensor,
        mask: float = 0.0,
        noise: float = 0.0,
        generators: Sequence[torch.Generator] | None = None,
    ) -> list[Tensor]:
        """Return the maps that are compared, the last first, in the teacher's channels.

        Args:
            images: (N, 3, H, W) from 0 to 255, red first.
            valid: (N, 1, H, W), 0 where the image is padded.
            mask: Share of the patches that are replaced.
            noise: Standard deviation of the noise, as a share of that of the image's patches.
            generators: Draw both, on the CPU, each for an image. None: PyTorch's own does.
        """
        given = self.pixels(images, valid)
        if self.settings.place == "image":
            side = getattr(self.backbone, "patch_size", 16)
            rows, columns = (-(-size // side) for size in given.shape[2:])
            hidden = _drawn(torch.rand, (len(given), 1, rows, columns), generators, given) < mask
            hidden = functional.interpolate(hidden.float(), scale_factor=side)[..., : given.shape[2], : given.shape[3]]
            spread = noise * _deviations(given) * _drawn(torch.randn, given.shape, generators, given)
            maps = self.backbone((given * (1 - hidden) + spread) * valid)
        else:
            tokens, rows, columns = self.backbone.embed(given)
            hidden = _drawn(torch.rand, (*tokens.shape[:2], 1), generators, tokens) < mask
            spread = noise * _deviations(tokens.detach()) * _drawn(torch.randn, tokens.shape, generators, tokens)
            tokens = torch.where(hidden, self.mask_token.to(tokens.dtype), tokens) + spread
            maps = self.backbone.encode(tokens, rows, columns)
        return [project(each) for project, each in zip(self.projections, self._maps(maps), strict=True)]

    def _maps(self, maps: Sequence[Tensor]) -> list[Tensor]:
        if self._chosen and max(self._chosen) >= len(maps):
            raise ConfigError(f"expected layers of the student from 0 to {len(maps) - 1}, got {max(self._chosen)}")
        return [maps[-1], *(maps[layer] for layer in self._chosen)]


def _drawn(
    draw: Callable[..., Tensor], shape: Sequence[int], generators: Sequence[torch.Generator] | None, like: Tensor
) -> Tensor:
    """Return random numbers that depend neither on the device nor on what else is in the batch."""
    if generators is None:
        return draw(*shape).to(like.device, like.dtype)
    return torch.stack([draw(*shape[1:], generator=each) for each in generators]).to(like.device, like.dtype)


def _deviations(values: Tensor) -> Tensor:
    """Return the standard deviation of each image's values, in a shape that can be multiplied with them."""
    return values.std(tuple(range(1, values.ndim)), keepdim=True)


def difference(own: Sequence[Tensor], other: Sequence[Tensor], valid: Tensor, settings: Distillation) -> Tensor:
    """Return the loss of the student's maps beside the teacher's: the mean of each image's, where it is not padded.

    Args:
        own: Maps (N, C, h, w), the last first.
        other: The teacher's maps; they are resized to the student's.
        valid: (N, 1, H, W), 0 where the image is padded.
        settings: Those of the run.
    """
    total = own[0].new_zeros((), dtype=torch.float32)
    for number, (found, wanted) in enumerate(zip(own, other, strict=True)):
        found, wanted = found.float(), wanted.float()
        if found.shape[2:] != wanted.shape[2:]:
            wanted = functional.interpolate(wanted, found.shape[2:], mode="bilinear", align_corners=False)
        if settings.loss == "cosine":
            each = 1 - functional.cosine_similarity(found, wanted, dim=1)
        else:
            apart = found - wanted
            each = (apart.abs() if settings.loss == "l1" else apart.square()).mean(1)
        places = functional.interpolate(valid, found.shape[2:], mode="nearest")[:, 0]
        of_images = (each * places).sum((1, 2)) / places.sum((1, 2))
        total = total + (1.0 if number == 0 else settings.layer_weight) * of_images.mean()
    return total
